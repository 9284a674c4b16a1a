#include "nn/network.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "cpu/buffer.h"
#include "cpu/parallel.h"

namespace fastdeblur::nn {
namespace {

enum class Margin { none, zeros, reflect };

Range clipped(Range r, int64_t n) {
  return {std::clamp<int64_t>(r.lo, 0, n), std::clamp<int64_t>(r.hi, 0, n)};
}

Range hull(Range a, Range b) {
  if (a.size() <= 0) return b;
  if (b.size() <= 0) return a;
  return {std::min(a.lo, b.lo), std::max(a.hi, b.hi)};
}

// What a layer reads inside the frame; reflection reads on the frame's side of the border.
Range reads_inside(const Layer& layer, int i, int axis, Range out, int64_t n) {
  Range r = layer.reads(i, axis, out, n);
  if (i == 0 && layer.reflects()) {
    const int64_t lo = r.lo, hi = r.hi;
    if (lo < 0) r.hi = std::max(r.hi, 1 - lo);
    if (hi > n) r.lo = std::min(r.lo, 2 * (n - 1) - (hi - 1));
  }
  return clipped(r, n);
}

constexpr int64_t kMostStages = 4096;

// Whether it reads rows of an input, or only sums over all of it.
bool reads_rows(const Layer& layer, int i) { return layer.reads(i, 0, {0, 4096}, 1 << 20).size() > 0; }

void fill_margins(const Rows& rows, int64_t y, Range columns, int64_t n, int64_t left, int64_t right,
                  Margin margin) {
  if (margin == Margin::none) return;
  const int64_t lanes = rows.lanes;
  for (int64_t b = 0; b < rows.blocks; ++b) {
    if (columns.lo == 0)
      for (int64_t i = 1; i <= left; ++i) {
        float* to = rows.at(y, -i, b);
        if (margin == Margin::zeros) {
          std::fill_n(to, lanes, 0.0f);
        } else {
          std::copy_n(rows.at(y, i, b), lanes, to);
        }
      }
    if (columns.hi == n)
      for (int64_t i = 1; i <= right; ++i) {
        float* to = rows.at(y, n - 1 + i, b);
        if (margin == Margin::zeros) {
          std::fill_n(to, lanes, 0.0f);
        } else {
          std::copy_n(rows.at(y, n - 1 - i, b), lanes, to);
        }
      }
  }
}

std::vector<Range> divided(int64_t n, int64_t parts, int64_t unit) {
  std::vector<Range> ranges;
  const int64_t units = ceil_div(n, unit);
  parts = std::clamp<int64_t>(parts, 1, units);
  for (int64_t k = 0; k < parts; ++k)
    ranges.push_back({std::min(n, units * k / parts * unit), std::min(n, units * (k + 1) / parts * unit)});
  return ranges;
}

}  // namespace

// One pass over the frame: what can be made before the next sums over all of it are needed.
struct Network::Stage {
  int number = 0;
  std::vector<std::size_t> steps;           // that run
  std::vector<int64_t> sinks;               // values that are kept, summed or the result
  std::vector<Range> bands, strips;         // of the image
  std::vector<std::vector<Range>> columns;  // for each strip, of each value
  std::vector<std::vector<int64_t>> rings;  // for each band, of each value
  int64_t worker_floats = 0;
};

// The plan for a frame.
struct Network::Frame {
  int64_t h = 0, w = 0;  // padded
  int64_t inner_h = 0, inner_w = 0;
  std::vector<Shape> shapes;
  bool keeps = true;          // values that several stages need; else they are made again in each
  std::vector<int> stage_of;  // of each value
  std::vector<char> kept;
  // When it comes to be and when it is read last (-1: never), in halves of stages: a stage makes what needs
  // all of a value first, and then its rows.
  std::vector<int> begin, end_of_use;
  static int time_of(int stage, bool whole) { return 2 * stage + (whole ? 0 : 1); }
  int last(std::size_t v) const { return end_of_use[v] >> 1; }  // stage that reads it
  std::vector<int64_t> left, right;
  std::vector<Margin> margins;
  std::vector<int64_t> lanes, blocks, spill;
  int64_t end = 0;  // floats past a value's end that may be read
  std::vector<Stage> stages;
  std::vector<int64_t> offset;  // of each kept value, in the run's arena
  int64_t arena = 0;            // floats
  int64_t bytes = 0;            // with what the workers take

  Rows layout(std::size_t v, Range columns, int64_t ring) const {
    Rows rows;
    rows.ring = ring;
    rows.lanes = lanes[v];
    rows.blocks = blocks[v];
    rows.x0 = columns.lo - left[v];
    rows.block = (columns.size() + left[v] + std::max(right[v], spill[v])) * lanes[v];
    rows.stride = rows.block * blocks[v];
    return rows;
  }
  int64_t floats(std::size_t v, Range columns, int64_t ring) const {
    const Rows rows = layout(v, columns, ring);
    return (rows.stride * ring + end + 15) / 16 * 16;
  }
  int64_t floats(std::size_t v) const { return floats(v, {0, shapes[v].w}, shapes[v].h); }
  // Gives each kept value its place: the largest ones first, each in the lowest gap that those which are
  // needed beside it leave.
  void place() {
    std::vector<std::size_t> order;
    for (std::size_t v = 0; v < kept.size(); ++v)
      if (kept[v]) order.push_back(v);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return floats(a) > floats(b); });
    offset.assign(kept.size(), 0);
    arena = 0;
    for (std::size_t n = 0; n < order.size(); ++n) {
      const std::size_t v = order[n];
      std::vector<Range> taken;
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t u = order[i];
        if (begin[u] <= std::max(end_of_use[v], begin[v]) && begin[v] <= std::max(end_of_use[u], begin[u]))
          taken.push_back({offset[u], offset[u] + floats(u)});
      }
      std::sort(taken.begin(), taken.end(), [](const Range& a, const Range& b) { return a.lo < b.lo; });
      for (const Range& t : taken) {
        if (t.lo - offset[v] >= floats(v)) break;
        offset[v] = std::max(offset[v], t.hi);
      }
      arena = std::max(arena, offset[v] + floats(v));
    }
  }
};

Network::~Network() = default;

Network::Network(const NetworkSpec& given)
    : channels_(given.channels),
      scale_(given.scale),
      offset_(given.offset),
      out_scale_(given.out_scale),
      out_offset_(given.out_offset),
      multiple_of_(given.multiple_of) {
  std::vector<int64_t> origin;
  const NetworkSpec spec = expanded(given, origin);
  const auto count = static_cast<int64_t>(spec.nodes.size());
  std::vector<int> uses(static_cast<std::size_t>(count + 1), 0);
  std::vector<char> wanted(static_cast<std::size_t>(count + 1), 0);
  wanted[static_cast<std::size_t>(spec.output)] = 1;
  ++uses[static_cast<std::size_t>(spec.output)];
  for (int64_t k = count; k >= 1; --k)
    if (wanted[static_cast<std::size_t>(k)])
      for (const int64_t i : spec.nodes[static_cast<std::size_t>(k - 1)].inputs) {
        wanted[static_cast<std::size_t>(i)] = 1;
        ++uses[static_cast<std::size_t>(i)];
      }

  // Shapes for one frame, to tell an addition of like values from one that repeats a value: the former joins
  // the convolution before it.
  std::vector<std::unique_ptr<Layer>> layers(static_cast<std::size_t>(count));
  for (int64_t k = 0; k < count; ++k)
    if (wanted[static_cast<std::size_t>(k + 1)])
      layers[static_cast<std::size_t>(k)] = make_layer(parse(spec.nodes[static_cast<std::size_t>(k)]));
  std::vector<Shape> probe(static_cast<std::size_t>(count + 1));
  bool probed = true;
  try {
    probe[0] = {channels_, ceil_div(512, multiple_of_[0]) * multiple_of_[0],
                ceil_div(640, multiple_of_[1]) * multiple_of_[1]};
    for (int64_t k = 0; k < count; ++k) {
      if (!layers[static_cast<std::size_t>(k)]) continue;
      std::vector<Shape> in;
      for (const int64_t i : spec.nodes[static_cast<std::size_t>(k)].inputs)
        in.push_back(probe[static_cast<std::size_t>(i)]);
      probe[static_cast<std::size_t>(k + 1)] = layers[static_cast<std::size_t>(k)]->shape(in);
    }
  } catch (const std::invalid_argument&) {
    probed = false;
  }

  // alias: where a node's value is; made_by: the step that makes a value.
  std::vector<int64_t> alias(static_cast<std::size_t>(count + 1));
  for (int64_t v = 0; v <= count; ++v) alias[static_cast<std::size_t>(v)] = v;
  values_ = count + 1;
  std::vector<int64_t> made_by(static_cast<std::size_t>(count + 1), -1);
  std::map<std::pair<int64_t, int>, int64_t> variants;  // (value, kind) of a repacked copy
  std::vector<Margin> margins(static_cast<std::size_t>(count + 1), Margin::none);
  auto add_step = [&](std::unique_ptr<Layer> layer, std::vector<int64_t> in, int64_t out, int64_t node) {
    steps_.push_back({std::move(layer), std::move(in), out, node, false});
    steps_.back().whole = steps_.back().layer->is_whole();
    if (out >= static_cast<int64_t>(made_by.size())) {
      made_by.resize(static_cast<std::size_t>(out + 1), -1);
      margins.resize(static_cast<std::size_t>(out + 1), Margin::none);
    }
    made_by[static_cast<std::size_t>(out)] = static_cast<int64_t>(steps_.size()) - 1;
  };
  enum Variant { compact, copy };
  auto variant = [&](int64_t value, int kind, Margin margin, auto make) {
    const std::pair<int64_t, int> key{value, kind * 3 + static_cast<int>(margin)};
    const auto at = variants.find(key);
    if (at != variants.end()) return at->second;
    const int64_t made = values_++;
    add_step(make(), {value}, made, -1);
    margins[static_cast<std::size_t>(made)] = margin;
    variants.emplace(key, made);
    return made;
  };
  auto image = [&] {
    if (made_by[0] < 0) add_step(make_loader(L), {}, 0, -1);
    return int64_t(0);
  };

  auto is_whole = [&](int64_t value) {
    const int64_t step = made_by[static_cast<std::size_t>(value)];
    return step >= 0 && steps_[static_cast<std::size_t>(step)].whole;
  };
  for (int64_t k = 0; k < count; ++k) {
    if (!layers[static_cast<std::size_t>(k)]) continue;
    const NodeSpec& node = spec.nodes[static_cast<std::size_t>(k)];
    std::unique_ptr<Layer>& layer = layers[static_cast<std::size_t>(k)];
    std::vector<int64_t> in;
    for (const int64_t i : node.inputs) in.push_back(alias[static_cast<std::size_t>(i)]);

    if (const Activation* activation = activation_of(*layer)) {
      const int64_t step = made_by[static_cast<std::size_t>(in[0])];
      if (uses[static_cast<std::size_t>(node.inputs[0])] == 1 && step >= 0 &&
          steps_[static_cast<std::size_t>(step)].layer->fuse(*activation)) {
        alias[static_cast<std::size_t>(k + 1)] = in[0];
        continue;
      }
    }
    if (node.op == "add" && probed) {
      bool fused = false;
      for (std::size_t side = 0; side < 2 && !fused; ++side) {
        const int64_t mine = node.inputs[side], other = node.inputs[1 - side];
        const int64_t step = made_by[static_cast<std::size_t>(in[side])];
        const int64_t other_step = in[1 - side] == 0 ? -2 : made_by[static_cast<std::size_t>(in[1 - side])];
        if (step < 0 || uses[static_cast<std::size_t>(mine)] != 1 || other_step >= step || other_step == -1 ||
            probe[static_cast<std::size_t>(mine)] != probe[static_cast<std::size_t>(other)])
          continue;
        if (other_step == -2 && made_by[0] < 0) continue;  // the image is not loaded in blocks
        if (other_step == -2 && made_by[0] > step) continue;
        if (!steps_[static_cast<std::size_t>(step)].layer->fuse_add()) continue;
        steps_[static_cast<std::size_t>(step)].in.push_back(in[1 - side]);
        alias[static_cast<std::size_t>(k + 1)] = in[side];
        fused = true;
      }
      if (fused) continue;
    }

    // What a convolution pads its input with is a margin of the value in memory.
    const bool pads = node.op == "conv2d" || node.op == "conv_transpose2d";
    const Margin margin = !pads ? Margin::none : layer->reflects() ? Margin::reflect : Margin::zeros;
    if (in[0] == 0 && channels_ < L && takes_compact(*layer)) {
      const std::pair<int64_t, int> key{-1, compact * 3 + static_cast<int>(margin)};
      if (variants.find(key) == variants.end()) {
        variants.emplace(key, values_);
        add_step(make_loader(channels_), {}, values_++, -1);
        margins.back() = margin;
      }
      in[0] = variants[key];
    } else if (margin != Margin::none) {
      if (in[0] == 0) image();
      Margin& has = margins[static_cast<std::size_t>(in[0])];
      if (has == Margin::none) has = margin;
      if (has != margin) in[0] = variant(in[0], copy, margin, [] { return make_copy(); });
    }
    for (int64_t& i : in)
      if (i == 0) image();
    // Sums are taken as rows are made, and a whole result's are not.
    if (layer->needs_sums() && is_whole(in[0]))
      in[0] = variant(in[0], copy, Margin::none, [] { return make_copy(); });
    add_step(std::move(layer), std::move(in), k + 1, origin[static_cast<std::size_t>(k)]);
  }
  output_ = alias[static_cast<std::size_t>(spec.output)];
  if (output_ == 0) image();
  if (is_whole(output_)) output_ = variant(output_, copy, Margin::none, [] { return make_copy(); });
  margins_.resize(static_cast<std::size_t>(values_));
  for (std::size_t v = 0; v < margins_.size(); ++v)
    margins_[v] = v < margins.size() ? static_cast<int>(margins[v]) : 0;
}

std::vector<Shape> Network::shapes(int64_t h, int64_t w) const {
  std::vector<Shape> result(static_cast<std::size_t>(values_));
  const Shape image{channels_, h, w};
  result[0] = image;
  for (const Step& step : steps_) {
    std::vector<Shape> in;
    for (const int64_t i : step.in) in.push_back(result[static_cast<std::size_t>(i)]);
    if (in.empty()) in.push_back(image);
    const Shape made = step.layer->shape(in);
    require(made.c >= 1 && made.c <= kMostChannels && made.h >= 1 && made.w >= 1 && made.h <= kMostPixels &&
                made.w <= kMostPixels,
            "a value's shape is out of range");
    require(!step.whole || (made.h == h && made.w == w), "fft_wiener: expected a value of the image's size");
    result[static_cast<std::size_t>(step.out)] = made;
  }
  const Shape& made = result[static_cast<std::size_t>(output_)];
  require(made == image, "output: expected a value of the image's shape");
  return result;
}

Network::Frame Network::plan(int64_t inner_h, int64_t inner_w, int threads, int64_t max_memory) const {
  require(inner_h >= 1 && inner_w >= 1 && inner_h <= kMostPixels && inner_w <= kMostPixels,
          "image: expected pixels");
  Frame base;
  base.inner_h = inner_h;
  base.inner_w = inner_w;
  base.h = ceil_div(inner_h, multiple_of_[0]) * multiple_of_[0];
  base.w = ceil_div(inner_w, multiple_of_[1]) * multiple_of_[1];
  base.shapes = shapes(base.h, base.w);
  const auto values = static_cast<std::size_t>(values_);
  base.left.assign(values, 0);
  base.right.assign(values, 0);
  base.lanes.assign(values, L);
  base.spill.assign(values, 0);
  base.margins.assign(values, Margin::none);
  int64_t stride = 1;
  std::array<int64_t, 2> scratch{};
  for (std::size_t v = 0; v < values; ++v) base.margins[v] = static_cast<Margin>(margins_[v]);
  for (const Step& step : steps_) {
    const auto out = static_cast<std::size_t>(step.out);
    base.lanes[out] = step.layer->lanes(base.shapes[out]);
    base.spill[out] = step.layer->spills();
    stride = std::max(stride, stride_of(*step.layer));
    for (std::size_t i = 0; i < 2; ++i) scratch[i] = std::max(scratch[i], step.layer->scratch()[i]);
    if (step.in.empty() || base.margins[static_cast<std::size_t>(step.in[0])] == Margin::none) continue;
    const auto in = static_cast<std::size_t>(step.in[0]);
    const Range all = step.layer->reads(0, 1, {0, base.shapes[out].w}, base.shapes[in].w);
    base.left[in] = std::max(base.left[in], -all.lo);
    base.right[in] = std::max(base.right[in], all.hi - base.shapes[in].w);
  }
  base.blocks.resize(values);
  for (std::size_t v = 0; v < values; ++v)
    base.blocks[v] = ceil_div(std::max<int64_t>(1, base.shapes[v].c), base.lanes[v]);
  base.end = (16 * stride + 16 * L) * L;

  Frame least;
  for (const bool keeps : {true, false}) {
    Frame frame = base;
    frame.keeps = keeps;
    frame.stage_of.assign(values, 0);
    frame.kept.assign(values, 0);
    frame.begin.assign(values, 0);
    frame.end_of_use.assign(values, -1);
    int stages = 1;
    for (const Step& step : steps_) {
      int stage = 0;
      for (const int64_t i : step.in) stage = std::max(stage, frame.stage_of[static_cast<std::size_t>(i)]);
      if (step.whole || step.layer->needs_sums() || (keeps && step.layer->looks_far())) ++stage;
      frame.stage_of[static_cast<std::size_t>(step.out)] = stage;
    }
    stages = frame.stage_of[static_cast<std::size_t>(output_)] + 1;
    require(stages <= kMostStages, "nodes: too many that need the whole frame");
    for (const Step& step : steps_) {
      const int stage = frame.stage_of[static_cast<std::size_t>(step.out)];
      const int time = Frame::time_of(stage, step.whole);
      if (step.whole) frame.kept[static_cast<std::size_t>(step.out)] = 1;
      frame.begin[static_cast<std::size_t>(step.out)] = time;
      for (std::size_t i = 0; i < step.in.size(); ++i) {
        const auto v = static_cast<std::size_t>(step.in[i]);
        // Sums of the input are taken a stage before; only its result may be needed from then on.
        const bool only_sums = step.layer->needs_sums() && !reads_rows(*step.layer, static_cast<int>(i));
        if (step.whole) frame.kept[v] = 1;
        if (keeps && frame.stage_of[v] < stage && !only_sums && !loads(static_cast<int64_t>(v)))
          frame.kept[v] = 1;
        frame.end_of_use[v] = std::max(frame.end_of_use[v], time);
      }
    }
    if (!keeps)  // a value that is made again is read by every later stage
      for (std::size_t v = 0; v < values; ++v)
        if (frame.kept[v]) frame.end_of_use[v] = Frame::time_of(stages, false);
    frame.place();
    if (keeps) keep_less(frame);
    const int64_t room = max_memory > 0 ? max_memory : 0;
    const int64_t taken = 4 * (frame.arena + (scratch[0] + scratch[1]) * threads);
    int64_t workers = 0;
    for (int s = 0; s < stages; ++s) {
      frame.stages.push_back(plan_stage(frame, s, threads, room ? std::max<int64_t>(1, room - taken) : 0));
      const Stage& stage = frame.stages.back();
      const auto jobs = static_cast<int64_t>(stage.bands.size() * stage.strips.size());
      workers = std::max(workers, stage.worker_floats * 4 * std::min<int64_t>(threads, jobs));
    }
    const int64_t most = taken + workers;
    frame.bytes = most;
    if (room == 0 || most <= room) return frame;
    if (least.bytes == 0 || most < least.bytes) least = std::move(frame);
  }
  refuse("max_memory: expected at least " + std::to_string(least.bytes) + " bytes for this frame, got " +
         std::to_string(max_memory));
}

bool Network::loads(int64_t value) const {
  for (const Step& step : steps_)
    if (step.out == value) return step.in.empty();
  return false;
}

std::vector<Range> Network::needs(const Frame& frame, const Stage& stage, int axis,
                                  const std::vector<Range>& owned) const {
  std::vector<Range> ranges(static_cast<std::size_t>(values_));
  for (std::size_t i = 0; i < stage.sinks.size(); ++i)
    ranges[static_cast<std::size_t>(stage.sinks[i])] = owned[i];
  for (auto at = stage.steps.rbegin(); at != stage.steps.rend(); ++at) {
    const Step& step = steps_[*at];
    const Range out = ranges[static_cast<std::size_t>(step.out)];
    if (out.size() <= 0) continue;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const auto v = static_cast<std::size_t>(step.in[i]);
      const Range in = reads_inside(*step.layer, static_cast<int>(i), axis, out, frame.shapes[v].size(axis));
      ranges[v] = hull(ranges[v], in);
    }
  }
  return ranges;
}

namespace {

Range share(Range of_image, int64_t image, int64_t n) {
  return {of_image.lo * n / image, of_image.hi * n / image};
}

}  // namespace

std::vector<Range> Network::owned(const Frame& frame, const Stage& stage, int axis, Range of_image) const {
  std::vector<Range> result;
  for (const int64_t v : stage.sinks)
    result.push_back(
        share(of_image, axis == 0 ? frame.h : frame.w, frame.shapes[static_cast<std::size_t>(v)].size(axis)));
  return result;
}

// Rows of a value that some layer will still read while the band goes by, at most.
std::vector<int64_t> Network::rings(const Frame& frame, const Stage& stage, Range band) const {
  const auto values = static_cast<std::size_t>(values_);
  const std::vector<Range> whole = needs(frame, stage, 0, owned(frame, stage, 0, band));
  std::vector<int64_t> done(values), ring(values, 1);
  for (std::size_t v = 0; v < values; ++v) done[v] = whole[v].lo;
  for (int64_t at = band.lo; at < band.hi;) {
    at = std::min(band.hi, at + rows_at_once());
    const std::vector<Range> now = needs(frame, stage, 0, owned(frame, stage, 0, {band.lo, at}));
    for (const std::size_t k : stage.steps) {
      const Step& step = steps_[k];
      const auto out = static_cast<std::size_t>(step.out);
      if (whole[out].size() <= 0 || done[out] >= whole[out].hi) continue;
      // What it reads now, or will read first.
      const Range next{done[out], std::max(done[out] + 1, now[out].hi)};
      for (std::size_t i = 0; i < step.in.size(); ++i) {
        const auto v = static_cast<std::size_t>(step.in[i]);
        const Range in = reads_inside(*step.layer, static_cast<int>(i), 0, next, frame.shapes[v].h);
        if (in.size() > 0) ring[v] = std::max(ring[v], std::max(now[v].hi, done[v]) - in.lo);
      }
      ring[out] = std::max(ring[out], now[out].hi - done[out]);
    }
    for (std::size_t v = 0; v < values; ++v) done[v] = std::max(done[v], now[v].hi);
  }
  for (std::size_t v = 0; v < values; ++v)
    ring[v] = std::min(ring[v], std::max<int64_t>(1, frame.shapes[v].h));
  return ring;
}

int64_t Network::rows_at_once() const { return std::max<int64_t>(2, multiple_of_[0]); }

Network::Stage Network::plan_stage(const Frame& frame, int number, int threads, int64_t room) const {
  Stage stage;
  stage.number = number;
  std::vector<char> sink(static_cast<std::size_t>(values_), 0);
  for (const Step& step : steps_) {
    const int made = frame.stage_of[static_cast<std::size_t>(step.out)];
    if (step.layer->needs_sums() && made == number + 1) sink[static_cast<std::size_t>(step.in[0])] = 1;
  }
  for (std::size_t v = 0; v < sink.size(); ++v)
    if (frame.kept[v] && frame.stage_of[v] == number && !whole(static_cast<int64_t>(v))) sink[v] = 1;
  if (frame.stage_of[static_cast<std::size_t>(output_)] == number)
    sink[static_cast<std::size_t>(output_)] = 1;
  for (std::size_t v = 0; v < sink.size(); ++v)
    if (sink[v]) stage.sinks.push_back(static_cast<int64_t>(v));
  // Back from the sinks to what is there already.
  std::vector<char> wanted = sink;
  std::vector<std::size_t> backwards;
  for (std::size_t k = steps_.size(); k-- > 0;) {
    const Step& step = steps_[k];
    const auto out = static_cast<std::size_t>(step.out);
    if (!wanted[out] || there(frame, number, step.out)) continue;
    backwards.push_back(k);
    for (std::size_t i = 0; i < step.in.size(); ++i)
      if (reads_rows(*step.layer, static_cast<int>(i))) wanted[static_cast<std::size_t>(step.in[i])] = 1;
  }
  stage.steps.assign(backwards.rbegin(), backwards.rend());

  const auto try_plan = [&](int64_t bands, int64_t strips) {
    stage.bands = divided(frame.h, bands, multiple_of_[0]);
    stage.strips = divided(frame.w, strips, multiple_of_[1]);
  };
  // The work of all bands or strips, for each step; and the widest strip's memory.
  const auto work = [&] {
    std::vector<double> rows(steps_.size(), 0.0), columns(steps_.size(), 0.0);
    for (const Range& band : stage.bands) {
      const auto ranges = needs(frame, stage, 0, owned(frame, stage, 0, band));
      for (const std::size_t k : stage.steps)
        rows[k] += static_cast<double>(ranges[static_cast<std::size_t>(steps_[k].out)].size());
    }
    stage.columns.clear();
    for (const Range& strip : stage.strips) {
      stage.columns.push_back(needs(frame, stage, 1, owned(frame, stage, 1, strip)));
      for (const std::size_t k : stage.steps)
        columns[k] +=
            static_cast<double>(stage.columns.back()[static_cast<std::size_t>(steps_[k].out)].size());
    }
    double total = 0;
    for (const std::size_t k : stage.steps) {
      const Step& step = steps_[k];
      std::vector<Shape> in;
      for (const int64_t i : step.in) in.push_back(frame.shapes[static_cast<std::size_t>(i)]);
      if (in.empty()) in.push_back(frame.shapes[0]);
      total +=
          (step.layer->cost(in) + static_cast<double>(frame.shapes[static_cast<std::size_t>(step.out)].c)) *
          rows[k] * columns[k];
    }
    return total;
  };
  // Rows that are in use at a time should stay in the second-level cache.
  const auto hot = [&] {
    double bytes = 0;
    const auto ring = rings(frame, stage, stage.bands[stage.bands.size() / 2]);
    for (const std::size_t k : stage.steps) {
      const auto v = static_cast<std::size_t>(steps_[k].out);
      int64_t widest = 0;
      for (const auto& columns : stage.columns) widest = std::max(widest, columns[v].size());
      bytes += 4.0 *
               static_cast<double>(std::min<int64_t>(ring[v], 8) * widest * frame.blocks[v] * frame.lanes[v]);
    }
    return bytes;
  };
  const auto penalty = [](double bytes) {
    return bytes <= 300e3 ? 1.0 : bytes <= 600e3 ? 1.03 : bytes <= 2.5e6 ? 1.12 : bytes <= 10e6 ? 1.25 : 1.4;
  };
  // Strips first, and never by the number of threads: sums over the frame are taken strip by strip.
  const int64_t usual_bands = std::clamp<int64_t>(frame.h / 64, 1, 8);
  double best = -1;
  int64_t strips = 1, bands = 1;
  for (const int64_t n : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
    if (n > 1 && frame.w / n < 48) break;
    try_plan(usual_bands, n);
    const double cost = work() * penalty(hot());
    if (best < 0 || cost < best) {
      best = cost;
      strips = n;
    }
  }
  best = -1;
  for (const int64_t n : {1, 2, 3, 4, 6, 8, 12, 16, 32}) {
    if (n > 1 && frame.h / n < 16) break;
    try_plan(n, strips);
    const auto jobs = static_cast<double>(stage.bands.size() * stage.strips.size());
    // The last job of a thread is waited for.
    const double rounds = std::ceil(jobs / threads) + (threads > 1 ? 0.3 : 0.0);
    const double cost = work() / jobs * rounds;
    if (best < 0 || cost < best) {
      best = cost;
      bands = n;
    }
  }
  const auto finish = [&] {
    work();
    stage.rings.clear();
    stage.worker_floats = 0;
    for (const Range& band : stage.bands) {
      stage.rings.push_back(rings(frame, stage, band));
      for (const auto& columns : stage.columns) {
        int64_t floats = 0;
        for (const std::size_t k : stage.steps) {
          const auto v = static_cast<std::size_t>(steps_[k].out);
          if (columns[v].size() > 0) floats += frame.floats(v, columns[v], stage.rings.back()[v]);
        }
        stage.worker_floats = std::max(stage.worker_floats, floats);
      }
    }
  };
  try_plan(bands, strips);
  finish();
  while (room && stage.worker_floats * 4 * threads > room && frame.w / (strips * 2) >= 8) {
    strips *= 2;
    try_plan(bands, strips);
    finish();
  }
  return stage;
}

// A U-net's skips lie about in memory from one end to the other, and the outermost, which is the largest, is
// made of the image in no time: values whose last use is far, and that are cheap to make again there, are
// kept no longer than their other uses ask, where memory shrinks by it.
void Network::keep_less(Frame& frame) const {
  constexpr double kMostAgain = 0.15;  // of all multiplications
  constexpr double kLeastLess = 0.02;  // of the arena
  std::vector<std::size_t> maker(static_cast<std::size_t>(values_), steps_.size());
  std::vector<double> costs(steps_.size());
  std::vector<std::vector<int>> uses(static_cast<std::size_t>(values_));
  double total = 0;
  for (std::size_t k = 0; k < steps_.size(); ++k) {
    const Step& step = steps_[k];
    const auto out = static_cast<std::size_t>(step.out);
    maker[out] = k;
    std::vector<Shape> in;
    for (const int64_t i : step.in) in.push_back(frame.shapes[static_cast<std::size_t>(i)]);
    const Shape& s = frame.shapes[out];
    if (!in.empty()) costs[k] = step.layer->cost(in) * static_cast<double>(s.h) * static_cast<double>(s.w);
    total += costs[k];
    for (std::size_t i = 0; i < step.in.size(); ++i)
      if (step.whole || reads_rows(*step.layer, static_cast<int>(i)))
        uses[static_cast<std::size_t>(step.in[i])].push_back(step.whole ? -1 : frame.stage_of[out]);
  }
  // To make a value in a stage, of what is there.
  const auto again = [&](std::size_t value, int stage) {
    double cost = 0;
    std::vector<char> seen(static_cast<std::size_t>(values_), 0);
    std::vector<std::size_t> todo{value};
    while (!todo.empty()) {
      const std::size_t v = todo.back();
      todo.pop_back();
      if (seen[v] || there(frame, stage, static_cast<int64_t>(v))) continue;
      seen[v] = 1;
      const Step& step = steps_[maker[v]];
      if (step.whole) return std::numeric_limits<double>::infinity();
      cost += costs[maker[v]];
      for (std::size_t i = 0; i < step.in.size(); ++i)
        if (reads_rows(*step.layer, static_cast<int>(i)))
          todo.push_back(static_cast<std::size_t>(step.in[i]));
    }
    return cost;
  };
  std::vector<std::pair<std::size_t, int>> made;  // again, in which stage
  const auto all_again = [&] {
    double cost = 0;
    for (const auto& [v, stage] : made) cost += again(v, stage);
    return cost;
  };

  std::vector<std::size_t> order;
  for (std::size_t v = 0; v < frame.kept.size(); ++v)
    if (frame.kept[v] && maker[v] < steps_.size() && !steps_[maker[v]].whole) order.push_back(v);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return frame.floats(a) > frame.floats(b); });
  for (const std::size_t v : order) {
    const int last = frame.last(v);
    int before = frame.stage_of[v];
    bool for_whole = false;  // such a step reads what is kept
    for (const int stage : uses[v]) {
      for_whole = for_whole || stage < 0;
      if (stage < last) before = std::max(before, stage);
    }
    if (for_whole || last - before < 2) continue;
    const Frame as_it_was = frame;
    frame.end_of_use[v] = Frame::time_of(before, false);
    frame.kept[v] = before > frame.stage_of[v];
    made.emplace_back(v, last);
    frame.place();
    if (all_again() <= kMostAgain * total &&
        static_cast<double>(frame.arena) <= (1 - kLeastLess) * static_cast<double>(as_it_was.arena))
      continue;
    frame = as_it_was;
    made.pop_back();
  }
}

bool Network::whole(int64_t value) const {
  for (const Step& step : steps_)
    if (step.out == value) return step.whole;
  return false;
}

// Whether a value is kept from an earlier stage, or was made between two.
bool Network::there(const Frame& frame, int stage, int64_t value) const {
  const auto v = static_cast<std::size_t>(value);
  return frame.kept[v] && frame.last(v) >= stage && (frame.stage_of[v] < stage || whole(value));
}

int64_t Network::memory(int64_t h, int64_t w, int threads, int64_t max_memory) const {
  return plan(h, w, team_size(threads), max_memory).bytes;
}

void Network::run(const Image& image, float* out, int threads, int64_t max_memory, const Wiener& wiener,
                  const std::function<void()>& poll) const {
  threads = team_size(threads);
  const Frame frame = plan(image.h, image.w, threads, max_memory);
  const auto values = static_cast<std::size_t>(values_);
  Image normalised = image;
  normalised.scale = scale_;
  normalised.offset = offset_;
  Buffer<float> arena = memory_of(frame.arena, max_memory > 0);
  std::vector<Rows> kept_rows(values);
  std::vector<std::vector<float>> states(steps_.size());
  for (std::size_t v = 0; v < values; ++v) {
    if (!frame.kept[v]) continue;
    kept_rows[v] = frame.layout(v, {0, frame.shapes[v].w}, frame.shapes[v].h);
    kept_rows[v].base = arena.data() + frame.offset[v];
  }
  const auto margins_of_kept = [&](std::size_t v) {
    for (int64_t y = 0; y < frame.shapes[v].h; ++y)
      fill_margins(kept_rows[v], y, {0, frame.shapes[v].w}, frame.shapes[v].w, frame.left[v], frame.right[v],
                   frame.margins[v]);
  };

  for (const Stage& stage : frame.stages) {
    for (const Step& step : steps_) {
      const auto v = static_cast<std::size_t>(step.out);
      if (!step.whole || frame.stage_of[v] != stage.number) continue;
      std::fill_n(kept_rows[v].base, frame.floats(v), 0.0f);
      const Rows& from = kept_rows[static_cast<std::size_t>(step.in[0])];
      const Rows& to = kept_rows[v];
      wiener(step.node, {from.at(0, 0), to.at(0, 0), frame.shapes[v].c, L, from.block, from.stride,
                         frame.shapes[v].h, frame.shapes[v].w, to.block, to.stride});
      margins_of_kept(v);
    }
    // Sums of each row of each strip, added in order at the end.
    const auto strips = static_cast<int64_t>(stage.strips.size());
    std::map<int64_t, std::vector<double>> sums;  // by value: [row][strip][sum, square][channel]
    for (const Step& step : steps_)
      if (step.layer->needs_sums() &&
          frame.stage_of[static_cast<std::size_t>(step.out)] == stage.number + 1) {
        const Shape& s = frame.shapes[static_cast<std::size_t>(step.in[0])];
        sums[step.in[0]].assign(static_cast<std::size_t>(s.h * strips * 2 * s.c), 0.0);
      }

    const auto jobs = static_cast<int64_t>(stage.bands.size()) * strips;
    const int team_of = static_cast<int>(std::min<int64_t>(threads, std::max<int64_t>(1, jobs)));
    std::vector<Buffer<float>> memory(static_cast<std::size_t>(team_of));
    for (auto& m : memory) {
      m = Buffer<float>(std::max<int64_t>(1, stage.worker_floats));
      std::fill_n(m.data(), m.size(), 0.0f);
    }
    Team::run(team_of, [&](Team& team) {
      team.parallel_for(jobs, [&](int64_t job, int worker) {
        const std::size_t band_at = static_cast<std::size_t>(job / strips),
                          strip_at = static_cast<std::size_t>(job % strips);
        const Range band = stage.bands[band_at];
        const std::vector<Range>& columns = stage.columns[strip_at];
        const std::vector<int64_t>& ring = stage.rings[band_at];
        const std::vector<Range> own_rows = owned(frame, stage, 0, band),
                                 own_columns = owned(frame, stage, 1, stage.strips[strip_at]);
        const std::vector<Range> whole_rows = needs(frame, stage, 0, own_rows);
        std::vector<Rows> rows = kept_rows;
        float* next = memory[static_cast<std::size_t>(worker)].data();
        for (const std::size_t k : stage.steps) {
          const auto v = static_cast<std::size_t>(steps_[k].out);
          if (columns[v].size() <= 0) continue;
          rows[v] = frame.layout(v, columns[v], ring[v]);
          rows[v].base = next;
          next += frame.floats(v, columns[v], ring[v]);
        }
        std::vector<int> sink_of(values, -1);
        for (std::size_t i = 0; i < stage.sinks.size(); ++i)
          sink_of[static_cast<std::size_t>(stage.sinks[i])] = static_cast<int>(i);
        std::vector<Call> calls;
        std::vector<int64_t> done(values);
        for (std::size_t v = 0; v < values; ++v) done[v] = whole_rows[v].lo;
        for (const std::size_t k : stage.steps) {
          const Step& step = steps_[k];
          const auto v = static_cast<std::size_t>(step.out);
          Call call;
          for (const int64_t i : step.in) {
            call.in.push_back(rows[static_cast<std::size_t>(i)]);
            call.shapes.push_back(frame.shapes[static_cast<std::size_t>(i)]);
          }
          call.out = rows[v];
          call.shape = frame.shapes[v];
          call.columns = columns[v];
          call.state = states[k].empty() ? nullptr : states[k].data();
          call.image = &normalised;
          calls.push_back(std::move(call));
        }
        for (int64_t at = band.lo; at < band.hi;) {
          if (worker == 0 && poll) poll();
          at = std::min(band.hi, at + rows_at_once());
          const std::vector<Range> now = needs(frame, stage, 0, owned(frame, stage, 0, {band.lo, at}));
          for (std::size_t c = 0; c < stage.steps.size(); ++c) {
            const Step& step = steps_[stage.steps[c]];
            const auto v = static_cast<std::size_t>(step.out);
            if (columns[v].size() <= 0) continue;
            for (; done[v] < now[v].hi; ++done[v]) {
              const int64_t y = done[v];
              step.layer->row(calls[c], y);
              fill_margins(rows[v], y, columns[v], frame.shapes[v].w, frame.left[v], frame.right[v],
                           frame.margins[v]);
              if (sink_of[v] < 0) continue;
              const auto s = static_cast<std::size_t>(sink_of[v]);
              if (y < own_rows[s].lo || y >= own_rows[s].hi || own_columns[s].size() <= 0) continue;
              take(frame, v, rows[v], y, own_columns[s], frame.kept[v] ? &kept_rows[v] : nullptr,
                   step.out == output_ && frame.stage_of[v] == stage.number ? out : nullptr, sums, strip_at,
                   strips);
            }
          }
        }
      });
    });
    for (const int64_t v : stage.sinks)
      if (frame.kept[static_cast<std::size_t>(v)]) margins_of_kept(static_cast<std::size_t>(v));
    for (std::size_t k = 0; k < steps_.size(); ++k) {
      const Step& step = steps_[k];
      if (!step.layer->needs_sums() || frame.stage_of[static_cast<std::size_t>(step.out)] != stage.number + 1)
        continue;
      const Shape& s = frame.shapes[static_cast<std::size_t>(step.in[0])];
      std::vector<double> total(static_cast<std::size_t>(s.c)), squares(static_cast<std::size_t>(s.c));
      const double* part = sums[step.in[0]].data();
      for (int64_t i = 0; i < s.h * strips; ++i, part += 2 * s.c)
        for (std::size_t c = 0; c < static_cast<std::size_t>(s.c); ++c) {
          total[c] += part[c];
          squares[c] += part[c + static_cast<std::size_t>(s.c)];
        }
      states[k] = step.layer->finish(total, squares, static_cast<double>(s.h) * static_cast<double>(s.w));
    }
  }
  const std::lock_guard lock(turn_);
  reserve_ = std::move(arena);
}

int64_t Network::kept() const {
  const std::lock_guard lock(turn_);
  return reserve_.size() * static_cast<int64_t>(sizeof(float));
}

// Fresh pages cost as much as layers do, so a run leaves its memory to the next one. A run beside another
// finds none and makes its own; nothing much larger than asked for is given, and nothing larger at all where
// memory is limited. What does not fit is gone before more is taken.
Buffer<float> Network::memory_of(int64_t floats, bool limited) const {
  Buffer<float> memory;
  {
    const std::lock_guard lock(turn_);
    std::swap(memory, reserve_);
  }
  if (memory.size() < floats || memory.size() > floats + (limited ? 0 : floats / 8)) {
    memory = Buffer<float>();
    memory = Buffer<float>(floats);
  }
  return memory;
}

// What becomes of a finished row of a sink.
void Network::take(const Frame& frame, std::size_t v, const Rows& rows, int64_t y, Range columns,
                   const Rows* kept, float* out, std::map<int64_t, std::vector<double>>& sums,
                   std::size_t strip, int64_t strips) const {
  const Shape& s = frame.shapes[v];
  const int64_t n = columns.size(), lanes = rows.lanes;
  if (kept)
    for (int64_t b = 0; b < rows.blocks; ++b)
      std::copy_n(rows.at(y, columns.lo, b), n * lanes, kept->at(y, columns.lo, b));
  if (out && y < frame.inner_h) {
    const int64_t end = std::min(columns.hi, frame.inner_w);
    for (int64_t c = 0; c < s.c; ++c) {
      const float* from = rows.at(y, columns.lo, c / lanes) + c % lanes;
      float* to = out + (c * frame.inner_h + y) * frame.inner_w;
      for (int64_t x = columns.lo; x < end; ++x)
        to[x] = from[(x - columns.lo) * lanes] * out_scale_ + out_offset_;
    }
  }
  const auto at = sums.find(static_cast<int64_t>(v));
  if (at == sums.end()) return;
  double* part = at->second.data() + (y * strips + static_cast<int64_t>(strip)) * 2 * s.c;
  for (int64_t b = 0; b < rows.blocks; ++b) {
    double sum[L] = {}, square[L] = {};
    const float* from = rows.at(y, columns.lo, b);
    const int64_t used = std::min<int64_t>(lanes, s.c - b * lanes);
    if (lanes == L) {  // idle lanes are added up as well
      for (int64_t x = 0; x < n; ++x)
        for (int j = 0; j < L; ++j) {
          const auto value = static_cast<double>(from[x * L + j]);
          sum[j] += value;
          square[j] += value * value;
        }
    } else {
      for (int64_t x = 0; x < n; ++x)
        for (int64_t j = 0; j < used; ++j) {
          const auto value = static_cast<double>(from[x * lanes + j]);
          sum[j] += value;
          square[j] += value * value;
        }
    }
    for (int64_t j = 0; j < used; ++j) {
      part[b * lanes + j] = sum[j];
      part[s.c + b * lanes + j] = square[j];
    }
  }
}

}  // namespace fastdeblur::nn
