// A network's layers, joined where they can be, and a run of them by a frame's plan.
#include "nn/network.h"

#include <algorithm>
#include <utility>

#include "cpu/buffer.h"
#include "cpu/parallel.h"
#include "nn/frame.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace fastdeblur::nn {
namespace {

// Of a value that does not stay in the caches until it is read: past them, so that memory need not be fetched
// before it is overwritten.
void stream(const float* from, int64_t n, float* to) {
#if defined(__AVX__)
  int64_t i = 0;
  for (; i < n && reinterpret_cast<std::uintptr_t>(to + i) % 32 != 0; ++i) to[i] = from[i];
  for (; i + 8 <= n; i += 8) _mm256_stream_ps(to + i, _mm256_loadu_ps(from + i));
  for (; i < n; ++i) to[i] = from[i];
  _mm_sfence();  // such stores are not ordered by the team's atomics
#else
  std::copy_n(from, n, to);
#endif
}

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

}  // namespace

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
  makers_.assign(static_cast<std::size_t>(values_), 0);
  for (std::size_t k = 0; k < steps_.size(); ++k) makers_[static_cast<std::size_t>(steps_[k].out)] = k;
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
                made.w <= kMostPixels && made.h <= kMostNumbers / made.w / made.c,
            "a value's shape is out of range");
    require(!step.whole || (made.h == h && made.w == w), "fft_wiener: expected a value of the image's size");
    result[static_cast<std::size_t>(step.out)] = made;
  }
  const Shape& made = result[static_cast<std::size_t>(output_)];
  require(made == image, "output: expected a value of the image's shape");
  return result;
}

void Network::run(const Image& image, float* out, int threads, int64_t max_memory, const Wiener& wiener,
                  const std::function<void()>& poll) const {
  threads = team_size(threads);
  const std::shared_ptr<const Frame> planned_frame = planned(image.h, image.w, threads, max_memory);
  const Frame& frame = *planned_frame;
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

  for (const Stage& planned_stage : frame.stages) {
    Stage stage = planned_stage;
    stage.columns = columns_of(frame, stage);
    stage.rings = rings_of(frame, stage);
    for (const Step& step : steps_) {
      const auto v = static_cast<std::size_t>(step.out);
      if (!step.whole || frame.stage_of[v] != stage.number) continue;
      const bool in_place = frame.home[v] == frame.home[static_cast<std::size_t>(step.in[0])];
      if (!in_place) std::fill_n(kept_rows[v].base, frame.floats(v), 0.0f);
      const Rows& from = kept_rows[static_cast<std::size_t>(step.in[0])];
      const Rows& to = kept_rows[v];
      wiener(step.node, {from.at(0, 0), to.at(0, 0), frame.shapes[v].c, L, from.block, from.stride,
                         frame.shapes[v].h, frame.shapes[v].w, to.block, to.stride});
      margins_of_kept(v);
    }
    std::vector<std::vector<double>> sums;
    const std::vector<Summed> all_summed = summed(frame, stage);
    for (const Summed& s : all_summed) sums.emplace_back(static_cast<std::size_t>(s.how.size()), 0.0);

    const auto strips = static_cast<int64_t>(stage.strips.size());
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
                   step.out == output_ && frame.stage_of[v] == stage.number ? out : nullptr);
              for (std::size_t i = 0; i < sums.size(); ++i)
                if (all_summed[i].value == v)
                  all_summed[i].how.add(rows[v], y, own_columns[s], sums[i].data());
            }
          }
        }
      });
    });
    for (const int64_t v : stage.sinks)
      if (frame.kept[static_cast<std::size_t>(v)]) margins_of_kept(static_cast<std::size_t>(v));
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const Summed& one = all_summed[i];
      const Totals totals = one.how.totals(sums[i].data());
      for (const std::size_t k : one.steps)
        states[k] = steps_[k].layer->finish(totals, frame.shapes[one.value]);
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
                   const Rows* kept, float* out) const {
  const Shape& s = frame.shapes[v];
  const int64_t n = columns.size(), lanes = rows.lanes;
  if (kept)
    for (int64_t b = 0; b < rows.blocks; ++b)
      stream(rows.at(y, columns.lo, b), n * lanes, kept->at(y, columns.lo, b));
  if (out && y < frame.inner_h) {
    const int64_t end = std::min(columns.hi, frame.inner_w);
    for (int64_t c = 0; c < s.c; ++c) {
      const float* from = rows.at(y, columns.lo, c / lanes) + c % lanes;
      float* to = out + (c * frame.inner_h + y) * frame.inner_w;
      for (int64_t x = columns.lo; x < end; ++x)
        to[x] = from[(x - columns.lo) * lanes] * out_scale_ + out_offset_;
    }
  }
}

}  // namespace fastdeblur::nn
