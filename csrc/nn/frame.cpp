// The plan for a frame: stages, what is kept between them, bands and strips, and the memory of it all.
#include "nn/frame.h"

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "cpu/parallel.h"
#include "nn/keep.h"

namespace fastdeblur::nn {
namespace {

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

std::vector<Range> divided(int64_t n, int64_t parts, int64_t unit) {
  std::vector<Range> ranges;
  const int64_t units = ceil_div(n, unit);
  parts = std::clamp<int64_t>(parts, 1, units);
  for (int64_t k = 0; k < parts; ++k)
    ranges.push_back({std::min(n, units * k / parts * unit), std::min(n, units * (k + 1) / parts * unit)});
  return ranges;
}

}  // namespace

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

  std::vector<int> readers(values, 0);
  for (const Step& step : steps_)
    for (const int64_t i : step.in) ++readers[static_cast<std::size_t>(i)];
  // A whole step's result can take the place of what it is made of if nobody else reads that, and both lie
  // alike. Of several in a row the last one's needs come to the first, and all to the last.
  base.gives_way.assign(values, 0);
  const auto lie_alike = [&](const Step& step) {
    if (!step.whole) return;
    const auto in = static_cast<std::size_t>(step.in[0]), out = static_cast<std::size_t>(step.out);
    if (readers[in] != 1 || base.lanes[in] != base.lanes[out]) return;
    base.gives_way[in] = 1;
    for (auto* room : {&base.left, &base.right, &base.spill})
      (*room)[in] = (*room)[out] = std::max((*room)[in], (*room)[out]);
  };
  std::for_each(steps_.rbegin(), steps_.rend(), lie_alike);
  std::for_each(steps_.begin(), steps_.end(), lie_alike);
  const int64_t in_layers = 4 * (scratch[0] + scratch[1]) * threads;

  // What is kept spares time: all of it at first, then less and less, at last nothing. Which plans are tried
  // does not depend on the limit, so that the least of them is what a refusal says, and any limit from there
  // on is granted.
  int64_t least = 0;
  const auto fits = [&](Frame& frame) {
    const int64_t taken = 4 * frame.arena + frame.state_bytes + in_layers;
    const int64_t left = max_memory > 0 ? std::max<int64_t>(1, max_memory - taken) : 0;
    int64_t workers = 0;
    frame.stages.clear();
    for (int s = 0; s <= frame.stage_of[static_cast<std::size_t>(output_)]; ++s) {
      frame.stages.push_back(plan_stage(frame, s, threads, left));
      workers = std::max(workers, frame.stages.back().bytes(threads));
      frame.bytes = taken + workers;
      if (least > 0 && frame.bytes >= least) return false;  // another needs less
    }
    least = frame.bytes;
    return max_memory <= 0 || frame.bytes <= max_memory;
  };
  Frame frame = staged(base, true);
  Keeping keeping(*this, frame);
  keeping.less();
  if (fits(frame)) return frame;
  const auto all = static_cast<double>(frame.arena);
  for (const double share : {0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0})
    if (keeping.at_most(static_cast<int64_t>(share * all)) && fits(frame)) return frame;
  frame = staged(base, false);
  if (fits(frame)) return frame;
  refuse("max_memory: expected at least " + std::to_string(least) + " bytes for this frame, got " +
         std::to_string(max_memory));
}

// Divides the steps into stages, and says how long what is kept between them is needed. keeps: values that
// several stages need, else only what there is no other way to.
Network::Frame Network::staged(const Frame& base, bool keeps) const {
  const auto values = static_cast<std::size_t>(values_);
  Frame frame = base;
  frame.stage_of.assign(values, 0);
  frame.kept.assign(values, 0);
  frame.begin.assign(values, 0);
  frame.end_of_use.assign(values, -1);
  frame.shortened.assign(values, 0);
  frame.home.resize(values);
  for (std::size_t v = 0; v < values; ++v) frame.home[v] = v;
  for (const Step& step : steps_) {
    int stage = 0;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      // The whole of the first input is there, or has been added up, a stage before.
      const bool before = step.whole || step.layer->needs_sums() || (keeps && step.layer->looks_far());
      stage = std::max(stage, frame.stage_of[static_cast<std::size_t>(step.in[i])] + (i == 0 && before));
    }
    frame.stage_of[static_cast<std::size_t>(step.out)] = stage;
  }
  const int stages = frame.stage_of[static_cast<std::size_t>(output_)] + 1;
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
      if (!only_sums) frame.end_of_use[v] = std::max(frame.end_of_use[v], time);
    }
  }
  for (const Step& step : steps_) {
    const auto out = static_cast<std::size_t>(step.out);
    const auto in = static_cast<std::size_t>(step.in.empty() ? step.out : step.in[0]);
    if (step.whole && frame.gives_way[in]) frame.home[out] = frame.home[in];
    if (step.layer->needs_sums())
      frame.state_bytes += 4 * step.layer->state(frame.shapes[static_cast<std::size_t>(step.in[0])]);
  }
  if (!keeps)  // a value that is made again is read by every later stage
    for (std::size_t v = 0; v < values; ++v)
      if (frame.kept[v] && !frame.gives_way[v]) frame.end_of_use[v] = Frame::time_of(stages, false);
  frame.place();
  return frame;
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
    if (!step.layer->needs_sums()) continue;
    const auto v = static_cast<std::size_t>(step.in[0]);
    if (frame.stage_of[v] == number) sink[v] = 1;
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
    if (step.whole) throw std::logic_error("a stage lacks what was made whole");
    backwards.push_back(k);
    for (std::size_t i = 0; i < step.in.size(); ++i)
      if (reads_rows(*step.layer, static_cast<int>(i))) wanted[static_cast<std::size_t>(step.in[i])] = 1;
  }
  stage.steps.assign(backwards.rbegin(), backwards.rend());

  const auto try_plan = [&](int64_t bands, int64_t strips) {
    stage.bands = divided(frame.h, bands, multiple_of_[0]);
    stage.strips = divided(frame.w, strips, multiple_of_[1]);
    stage.columns = columns_of(frame, stage);
  };
  // The work of all bands or strips, for each step; and the widest strip's memory.
  const auto work = [&] {
    std::vector<double> rows(steps_.size(), 0.0), columns(steps_.size(), 0.0);
    for (const Range& band : stage.bands) {
      const auto ranges = needs(frame, stage, 0, owned(frame, stage, 0, band));
      for (const std::size_t k : stage.steps)
        rows[k] += static_cast<double>(ranges[static_cast<std::size_t>(steps_[k].out)].size());
    }
    for (const auto& ranges : stage.columns)
      for (const std::size_t k : stage.steps)
        columns[k] += static_cast<double>(ranges[static_cast<std::size_t>(steps_[k].out)].size());
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
    stage.rings = rings_of(frame, stage);
    stage.worker_floats = stage.call_floats = 0;
    for (const std::vector<int64_t>& ring : stage.rings)
      for (const auto& columns : stage.columns) {
        int64_t floats = 0, in_calls = 0;
        for (const std::size_t k : stage.steps) {
          const auto v = static_cast<std::size_t>(steps_[k].out);
          if (columns[v].size() <= 0) continue;
          floats += frame.floats(v, columns[v], ring[v]);
          if (!steps_[k].in.empty())
            in_calls +=
                steps_[k].layer->working(columns[v], frame.shapes[static_cast<std::size_t>(steps_[k].in[0])]);
        }
        stage.call_floats = std::max(stage.call_floats, in_calls);
        stage.worker_floats = std::max(stage.worker_floats, floats);
      }
    // What tells which columns and rows of each value are made.
    stage.shared_bytes = static_cast<int64_t>(
        (stage.columns.size() * sizeof(Range) + stage.rings.size() * 8) * static_cast<std::size_t>(values_));
    for (const Summed& one : summed(frame, stage)) {
      int64_t after = 0;
      for (const std::size_t k : one.steps)
        after = std::max(after, steps_[k].layer->finishing(frame.shapes[one.value]));
      stage.shared_bytes += one.how.bytes() + after;
    }
  };
  try_plan(bands, strips);
  finish();
  Stage leanest = stage;
  for (int in_vain = 0;
       room && leanest.bytes(threads) > room && frame.w / (strips * 2) >= 8 && in_vain < 2;) {
    strips *= 2;
    if (strips >= 4 * threads) bands = 1;  // rows of sums are shared out between bands
    try_plan(bands, strips);
    finish();
    in_vain = stage.bytes(threads) < leanest.bytes(threads) ? 0 : in_vain + 1;
    if (!in_vain) leanest = stage;
  }
  // A run finds them again in no time; all stages' together would be large.
  leanest.columns = {};
  leanest.rings = {};
  return leanest;
}

std::vector<std::vector<Range>> Network::columns_of(const Frame& frame, const Stage& stage) const {
  std::vector<std::vector<Range>> columns;
  for (const Range& strip : stage.strips)
    columns.push_back(needs(frame, stage, 1, owned(frame, stage, 1, strip)));
  return columns;
}

std::vector<std::vector<int64_t>> Network::rings_of(const Frame& frame, const Stage& stage) const {
  std::vector<std::vector<int64_t>> found;
  for (const Range& band : stage.bands) found.push_back(rings(frame, stage, band));
  return found;
}

// What is to be summed in a stage; layers that want the same share it.
std::vector<Network::Summed> Network::summed(const Frame& frame, const Stage& stage) const {
  struct Wanted {
    std::size_t value;
    Borders regions;
    std::vector<std::size_t> steps;
    bool squares;
  };
  std::vector<Wanted> all;
  for (std::size_t k = 0; k < steps_.size(); ++k) {
    const Step& step = steps_[k];
    if (!step.layer->needs_sums()) continue;
    const auto v = static_cast<std::size_t>(step.in[0]);
    if (frame.stage_of[v] != stage.number) continue;
    Borders regions = step.layer->regions(frame.shapes[v]);
    auto at = std::find_if(all.begin(), all.end(),
                           [&](const Wanted& w) { return w.value == v && w.regions == regions; });
    if (at == all.end()) at = all.insert(all.end(), {v, std::move(regions), {}, false});
    at->steps.push_back(k);
    at->squares = at->squares || step.layer->needs_squares();
  }
  std::vector<Summed> result;
  for (Wanted& w : all) {
    const Shape& s = frame.shapes[w.value];
    const auto parts = [&](const std::vector<Range>& of_image, int axis) {
      std::vector<Range> found;
      for (const Range& r : of_image) found.push_back(share(r, axis == 0 ? frame.h : frame.w, s.size(axis)));
      return found;
    };
    result.push_back(
        {w.value, std::move(w.steps),
         Summing(std::move(w.regions), s.c, w.squares, parts(stage.bands, 0), parts(stage.strips, 1))});
  }
  return result;
}

// Whether a value is kept from an earlier stage, or was made between two.
bool Network::there(const Frame& frame, int stage, int64_t value) const {
  const auto v = static_cast<std::size_t>(value);
  return frame.kept[v] && frame.last(v) >= stage && (frame.stage_of[v] < stage || whole(value));
}

int64_t Network::memory(int64_t h, int64_t w, int threads, int64_t max_memory) const {
  return planned(h, w, team_size(threads), max_memory)->bytes;
}

std::shared_ptr<const Network::Frame> Network::planned(int64_t h, int64_t w, int threads,
                                                       int64_t max_memory) const {
  const std::array<int64_t, 4> key{h, w, threads, max_memory};
  {
    const std::lock_guard lock(turn_);
    if (planned_ && planned_for_ == key) return planned_;
  }
  auto made = std::make_shared<const Frame>(plan(h, w, threads, max_memory));
  const std::lock_guard lock(turn_);
  planned_for_ = key;
  planned_ = made;
  return made;
}

}  // namespace fastdeblur::nn
