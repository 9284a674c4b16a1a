// Runs a network: its steps' kernels one after the other in memory that was planned for the frame, recorded
// as one graph when a frame's size comes again.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "cuda/memory.h"
#include "cuda/nn/build.h"
#include "cuda/nn/convolution_launch.h"
#include "cuda/nn/net.h"
#include "cuda/nn/scratch.h"
#include "cuda/nn/statistics.h"
#include "cuda/replay.h"
#include "cuda/staging.h"

namespace fastdeblur::cuda::nn {

// The frame, padded, and where everything lies.
struct FramePlan {
  int64_t h = 0, w = 0;       // the image's
  std::vector<Shape> shapes;  // of values
  std::vector<int64_t> at;    // of values, then of each step's scratch
  int64_t bytes = 0;
  bool fits = true;  // pixels and blocks can be counted
};

inline int64_t blocks_of(int64_t channels) { return (channels + 7) / 8; }

template <class Launcher>
class DeviceNet final : public Net {
 public:
  DeviceNet(std::unique_ptr<Runtime> runtime, Launcher launcher, const NetworkSpec& spec, Format format)
      : runtime_(std::move(runtime)),
        entered_(runtime_->enter()),
        launcher_(std::move(launcher)),
        built_(spec, format),
        arena_(*runtime_),
        own_(*runtime_),
        weights_(arena_),
        scratch_(arena_),
        images_(arena_),
        flags_(arena_),
        pinned_(*runtime_),
        replay_(*runtime_) {
    entered_.reset();
  }

  ~DeviceNet() override {
    // The stream of the last call, which was waited for, may be gone.
    arena_.set_stream(nullptr);
    try {
      entered_ = runtime_->enter();
      arena_.set_stream(own_.get());
    } catch (...) {
    }
  }

  Outcome run(const Picture& image, const Result& result, float limit, const Wiener& wiener, Stream stream,
              const std::function<void()>& poll) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto entered = runtime_->enter();
    if (image.on_device || result.on_device)
      runtime_->check_stream(stream);
    else
      stream = own_.get();
    arena_.set_stream(stream);
    if (poll) poll();
    try {
      return run_on(image, result, limit, wiener, stream);
    } catch (...) {
      // What was begun still uses this memory and the caller's.
      try {
        runtime_->stay();
      } catch (...) {
      }
      try {
        runtime_->synchronize(stream);
      } catch (...) {
      }
      throw;
    }
  }

  double memory(int64_t h, int64_t w) const override {
    const FramePlan plan = plan_for(h, w);
    if (!plan.fits) return 1e18;
    return static_cast<double>(plan.bytes) + static_cast<double>(built_.weights.bytes().size()) +
           2.0 * 4.0 * static_cast<double>(built_.channels) * static_cast<double>(h) * static_cast<double>(w);
  }

  int64_t channels() const override { return built_.channels; }

  int64_t kept() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    return scratch_.size() + images_.size() * static_cast<int64_t>(sizeof(float));
  }

  void release() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto entered = runtime_->enter();
    arena_.set_stream(own_.get());
    scratch_.reset();
    images_.reset();
    pinned_.reset();
  }

 private:
  using Key = typename Replay::Key;
  static constexpr int64_t kMostPixels = int64_t(1) << 30;

  // --- planning ---

  int64_t bytes_of(const FramePlan& plan, int64_t v) const {
    const Shape& s = plan.shapes[static_cast<std::size_t>(v)];
    return s.h * s.w * blocks_of(s.c) * 8 * size_of(built_.format(v));
  }

  FramePlan plan_for(int64_t h, int64_t w) const {
    fastdeblur::nn::require(
        h >= 1 && w >= 1 && h <= fastdeblur::nn::kMostPixels && w <= fastdeblur::nn::kMostPixels,
        "image: expected pixels");
    FramePlan plan;
    plan.h = h;
    plan.w = w;
    const auto padded = [&](int64_t n, std::size_t axis) {
      return fastdeblur::nn::ceil_div(n, built_.multiple_of[axis]) * built_.multiple_of[axis];
    };
    plan.shapes = built_.shapes(padded(h, 0), padded(w, 1));
    for (const Shape& s : plan.shapes)
      if (s.c > 0 && (s.h > kMostPixels / s.w || s.h * s.w > (int64_t(1) << 36) / blocks_of(s.c))) {
        plan.fits = false;
        return plan;
      }
    const auto steps = static_cast<int64_t>(built_.steps.size());
    std::vector<Lifetime> lives(static_cast<std::size_t>(built_.values + steps));
    for (int64_t k = 0; k < steps; ++k) {
      const Step& step = built_.steps[static_cast<std::size_t>(k)];
      Lifetime& out = lives[static_cast<std::size_t>(step.out)];
      out = {bytes_of(plan, step.out), k, k};
      for (const int64_t i : step.in) lives[static_cast<std::size_t>(i)].last = k;
      if (step.other_value >= 0) lives[static_cast<std::size_t>(step.other_value)].last = k;
      lives[static_cast<std::size_t>(built_.values + k)] = {scratch_of(step, plan), k, k};
    }
    lives[0].bytes = bytes_of(plan, 0);
    lives[0].first = -1;
    lives[static_cast<std::size_t>(built_.output)].last = steps;
    plan.at = placed(lives, plan.bytes);
    return plan;
  }

  // Of a value's sums: parts, then centre, scale and shift.
  static int64_t parts_bytes(const Shape& s) {
    return FrameSums::segments(s.h * s.w) * blocks_of(s.c) * FrameSums::kNumbers * 4;
  }
  int64_t scratch_of(const Step& step, const FramePlan& plan) const {
    if (step.in.empty()) return 0;
    const Shape& in = plan.shapes[static_cast<std::size_t>(step.in[0])];
    const int64_t numbers = in.h * in.w * in.c * 4;
    if (std::holds_alternative<op::InstanceNorm>(step.operation))
      return parts_bytes(in) + 3 * blocks_of(in.c) * 32;
    if (std::holds_alternative<op::FramePool>(step.operation)) return parts_bytes(in);
    if (const auto* pool = std::get_if<op::WindowPool>(&step.operation))
      return pool->shape({in}).h * in.w * blocks_of(in.c) * 32;
    if (std::holds_alternative<op::Wiener>(step.operation)) return 2 * numbers;
    return 0;
  }

  // --- running ---

  struct Run {
    const FramePlan& plan;
    Stream stream;
    Pixels image;  // on the device
    MutableImageView<float> result;
    float white;
    float limit;
    char* memory;
    int* flags;
  };

  Outcome run_on(const Picture& image, const Result& result, float limit, const Wiener& wiener,
                 Stream stream) {
    if (plan_.h != image.h || plan_.w != image.w || plan_.shapes.empty()) plan_ = plan_for(image.h, image.w);
    const FramePlan& plan = plan_;
    if (!plan.fits) throw OutOfDeviceMemory(std::size_t(1) << 60, 0);
    if (!placed_) {
      const auto& weights = built_.weights.bytes();
      weights_.upload(weights.data(), static_cast<int64_t>(weights.size()));
      placed_ = true;
    }
    char* memory = scratch_.require(std::max<int64_t>(plan.bytes, 1));
    int* flags = flags_.require(2);
    const int64_t count = built_.channels * image.h * image.w;
    const bool staged_in = !image.on_device, staged_out = !result.on_device;
    float* staged =
        staged_in || staged_out ? images_.require((int(staged_in) + int(staged_out)) * count) : nullptr;
    Run run{plan, stream, Pixels(image.view), result.view, image.white, limit, memory, flags};
    const int64_t image_bytes = count * 4;
    char* pinned = pinned_.require(64 + (staged_in ? image_bytes : 0) + (staged_out ? image_bytes : 0));
    char* const pinned_in = pinned + 64;
    char* const pinned_out = pinned_in + (staged_in ? image_bytes : 0);
    if (staged_in) {
      gather(image, reinterpret_cast<float*>(pinned_in));
      runtime_->copy(staged, pinned_in, static_cast<std::size_t>(image_bytes), stream);
      run.image = Pixels(packed_view(staged, image.h, image.w));
    }
    if (staged_out) {
      run.result.data = staged + (staged_in ? count : 0);
      run.result.stride = packed_strides(image.h, image.w);
    }

    // Between what a deconvolver does, everything is one piece that can be recorded.
    std::size_t begin = 0;
    const std::size_t steps = built_.steps.size();
    while (true) {
      std::size_t end = begin;
      while (end < steps && !std::holds_alternative<op::Wiener>(built_.steps[end].operation)) ++end;
      Key key;
      key.add(begin).add(plan.h).add(plan.w).add(memory).add(limit).add(run.white);
      key.add(run.image.data).add(run.image.element).add(run.result.data);
      for (const int64_t s : run.image.stride) key.add(s);
      for (const std::ptrdiff_t s : run.result.stride) key.add(s);
      replay_.run(key, arena_, [&](Stream on) {
        Run piece = run;
        piece.stream = on;
        if (begin == 0) load(piece);
        for (std::size_t k = begin; k < end; ++k) make(piece, k);
        if (end == steps) store(piece);
      });
      if (end == steps) break;
      if (!deblur(run, end, wiener))
        return look(flags, pinned, stream)[0] ? Outcome::bad_image : Outcome::overflow;
      begin = end + 1;
    }
    if (staged_out)
      runtime_->copy(pinned_out, run.result.data, static_cast<std::size_t>(image_bytes), stream);
    const auto found = look(flags, pinned, stream);
    if (found[0]) return Outcome::bad_image;
    if (found[1]) return Outcome::overflow;
    if (staged_out) scatter(reinterpret_cast<const float*>(pinned_out), image.h, image.w, result.view);
    return Outcome::good;
  }

  // The flags, once everything queued has been done.
  std::array<int, 2> look(const int* flags, char* pinned, Stream stream) {
    std::array<int, 2> found;
    runtime_->copy(pinned, flags, sizeof found, stream);
    runtime_->synchronize(stream);
    std::memcpy(found.data(), pinned, sizeof found);
    return found;
  }

  static std::array<std::ptrdiff_t, 3> packed_strides(int64_t h, int64_t w) {
    constexpr std::ptrdiff_t size = sizeof(float);
    return {h * w * size, w * size, size};
  }
  static ImageView packed_view(const float* data, int64_t h, int64_t w) {
    return {data, Element::f32, packed_strides(h, w)};
  }

  void gather(const Picture& image, float* to) const {
    const auto& stride = image.view.stride;
    for (int64_t c = 0; c < built_.channels; ++c)
      for (int64_t y = 0; y < image.h; ++y, to += image.w)
        convert_row(image.view.element,
                    static_cast<const char*>(image.view.data) + c * stride[0] + y * stride[1], stride[2],
                    image.w, to);
  }
  void scatter(const float* from, int64_t h, int64_t w, const MutableImageView<float>& to) const {
    for (int64_t c = 0; c < built_.channels; ++c)
      for (int64_t y = 0; y < h; ++y, from += w) {
        char* row = reinterpret_cast<char*>(to.data) + c * to.stride[0] + y * to.stride[1];
        if (to.stride[2] == static_cast<std::ptrdiff_t>(sizeof(float)))
          std::memcpy(row, from, static_cast<std::size_t>(w) * sizeof(float));
        else
          for (int64_t x = 0; x < w; ++x) std::memcpy(row + x * to.stride[2], from + x, sizeof(float));
      }
  }

  Value value(const Run& r, int64_t v) const {
    const Shape& s = r.plan.shapes[static_cast<std::size_t>(v)];
    return {r.memory + r.plan.at[static_cast<std::size_t>(v)], static_cast<int>(s.h), static_cast<int>(s.w),
            static_cast<int>(s.c), static_cast<int>(blocks_of(s.c))};
  }
  char* scratch(const Run& r, std::size_t step) const {
    return r.memory + r.plan.at[static_cast<std::size_t>(built_.values) + step];
  }
  template <class Number = float>
  const Number* numbers(int64_t at) const {
    return at < 0 ? nullptr : reinterpret_cast<const Number*>(weights_.data() + at);
  }
  static int64_t pixels(const Value& v) { return int64_t(v.h) * v.w; }
  template <class Body>
  void each(const Run& r, int64_t count, const Body& body) {
    launch_each(launcher_, r.stream, count, body);
  }

  void load(const Run& r) {
    const Value image = value(r, 0);
    runtime_->clear(r.flags, 2 * sizeof(int), r.stream);
    each(r, pixels(image) * image.blocks,
         Load{built_.format(0), r.image, r.white, static_cast<int>(r.plan.h), static_cast<int>(r.plan.w),
              built_.scale, built_.offset, image, r.flags, r.limit});
  }

  void store(const Run& r) {
    const auto& stride = r.result.stride;
    each(r, r.plan.h * r.plan.w,
         ToPlanes{built_.format(built_.output),
                  value(r, built_.output),
                  r.result.data,
                  {stride[0], stride[1], stride[2]},
                  static_cast<int>(r.plan.w),
                  built_.out_scale * r.white,
                  built_.out_offset * r.white,
                  r.flags + 1});
  }

  bool deblur(const Run& r, std::size_t k, const Wiener& wiener) {
    const Step& step = built_.steps[k];
    const Value in = value(r, step.in[0]), out = value(r, step.out);
    const int64_t plane = pixels(in);
    float* planes = reinterpret_cast<float*>(scratch(r, k));
    float* made = planes + plane * in.channels;
    const auto stride = packed_strides(in.h, in.w);
    each(r, plane,
         ToPlanes{built_.format(step.in[0]),
                  in,
                  planes,
                  {stride[0], stride[1], stride[2]},
                  in.w,
                  1.0f,
                  0.0f,
                  nullptr});
    const bool done = wiener(step.node, planes, made, in.channels, in.h, in.w, r.stream);
    runtime_->stay();
    if (!done) return false;
    each(r, plane * out.blocks,
         Load{built_.format(step.out), Pixels(packed_view(made, in.h, in.w)), 1.0f, in.h, in.w, 1.0f, 0.0f,
              out, nullptr, 0.0f});
    return true;
  }

  void make(const Run& r, std::size_t k) {
    const Step& step = built_.steps[k];
    std::visit([&](const auto& o) { make(r, k, step, o); }, step.operation);
  }

  const void* with(const Run& r, const Step& step) const {
    return step.with == Elementwise::nothing ? nullptr : value(r, step.other_value).data;
  }

  void make(const Run& r, std::size_t, const Step& step, const op::Convolution& c) {
    const Value in = value(r, step.in[0]), out = value(r, step.out);
    const bool times = step.with == Elementwise::multiply;
    const auto whole = [](int64_t n) { return static_cast<int>(n); };
    const Window2 window{whole(c.kernel[0]),  whole(c.kernel[1]),  whole(c.stride[0]), whole(c.stride[1]),
                         whole(c.padding[0]), whole(c.padding[2]), c.reflect};
    if (step.way == Step::depthwise) {
      const Depthwise body{built_.format(step),
                           in,
                           out,
                           with(r, step),
                           times,
                           numbers(step.weights),
                           numbers(step.bias),
                           step.activation,
                           window,
                           step.gate};
      each(r, int64_t(out.h) * body.pieces_of_row() * out.blocks, body);
      return;
    }
    if (step.way == Step::direct) {
      each(r, pixels(out) * out.blocks,
           Direct{built_.format(step), in, out, with(r, step), times, numbers(step.weights),
                  numbers(step.bias), step.activation, window, c.transposed, whole(c.inputs / c.groups),
                  whole(c.outputs / c.groups)});
      return;
    }
    for (const Launch& launch : step.launches) {
      Convolution shape = launch.shape;
      shape.in = in.data;
      shape.out = out.data;
      shape.with = with(r, step);
      shape.times = times;
      shape.weights = numbers<char>(launch.weights);
      shape.bias = numbers(launch.bias);
      shape.offsets = numbers<std::int32_t>(launch.offsets);
      shape.activation = step.activation;
      shape.ih = in.h;
      shape.iw = in.w;
      shape.in_blocks = in.blocks;
      shape.out_h = out.h;
      shape.out_w = out.w;
      shape.out_blocks = out.blocks;
      // Positions of this phase.
      shape.h = (out.h - launch.row + shape.osy - 1) / shape.osy;
      shape.w = (out.w - launch.column + shape.osx - 1) / shape.osx;
      if (shape.h > 0 && shape.w > 0)
        launch_convolution(launcher_, r.stream, built_.format(step), launch.tiles, shape);
    }
  }

  Elementwise elementwise(const Run& r, const Step& step) const {
    Elementwise e{};
    e.f = built_.format(step);
    e.to = built_.format(step.out);
    e.x = value(r, step.in[0]);
    e.out = value(r, step.out);
    e.activation = step.activation;
    if (step.with != Elementwise::nothing) {
      e.y = value(r, step.other_value);
      e.with = step.with;
      e.by_pixel = e.by_channel = true;
    }
    return e;
  }
  void each(const Run& r, const Elementwise& e) { each(r, pixels(e.out) * e.out.blocks, e); }

  void make(const Run& r, std::size_t, const Step& step, const op::Pointwise&) {
    each(r, elementwise(r, step));
  }
  void make(const Run& r, std::size_t, const Step& step, const op::PerChannel& p) {
    Elementwise e = elementwise(r, step);
    (p.kind == op::PerChannel::bias    ? e.shift
     : p.kind == op::PerChannel::scale ? e.scale
                                       : e.slope) = numbers(step.weights);
    each(r, e);
  }
  void make(const Run& r, std::size_t, const Step& step, const op::Combine& c) {
    Elementwise e = elementwise(r, step);
    e.y = value(r, step.in[1]);
    e.with = c.multiply ? Elementwise::multiply : Elementwise::add;
    e.by_pixel = e.y.h == e.x.h && e.y.w == e.x.w;
    e.by_channel = e.y.channels == e.x.channels;
    each(r, e);
  }
  void make(const Run& r, std::size_t, const Step& step, const op::SimpleGate&) {
    const Value out = value(r, step.out);
    each(r, pixels(out) * out.blocks, Gate{built_.format(step), value(r, step.in[0]), out});
  }
  void make(const Run& r, std::size_t, const Step& step, const op::Concat&) {
    const Value out = value(r, step.out);
    int first = 0;
    for (std::size_t i = 0; i < step.in.size(); ++i) {
      const Value in = value(r, step.in[i]);
      const Join body{built_.format(step), in, out, first, i + 1 == step.in.size()};
      each(r, pixels(out) * body.pieces(), body);
      first += in.channels;
    }
  }
  void make(const Run& r, std::size_t, const Step& step, const op::PixelShuffle& s) {
    shuffle(r, step, s.factor, false);
  }
  void make(const Run& r, std::size_t, const Step& step, const op::PixelUnshuffle& s) {
    shuffle(r, step, s.factor, true);
  }
  void shuffle(const Run& r, const Step& step, int64_t factor, bool back) {
    const Value out = value(r, step.out);
    each(r, pixels(out) * out.blocks,
         Shuffle{built_.format(step), value(r, step.in[0]), out, static_cast<int>(factor), back});
  }
  void make(const Run& r, std::size_t, const Step& step, const op::Resize& s) {
    const Value out = value(r, step.out);
    const auto whole = [](int64_t n) { return static_cast<int>(n); };
    each(r, pixels(out) * out.blocks,
         Resized{built_.format(step),
                 value(r, step.in[0]),
                 out,
                 {whole(s.up[0]), whole(s.up[1])},
                 {whole(s.down[0]), whole(s.down[1])},
                 s.bilinear});
  }
  void make(const Run& r, std::size_t, const Step& step, const op::LayerNorm& n) {
    const Value in = value(r, step.in[0]);
    const LayerNormalised body{built_.format(step), in,   value(r, step.out), numbers(step.weights),
                               numbers(step.bias),  n.eps};
    launcher_.launch(r.stream, body, body.geometry());
  }

  FrameStatistics sums(const Run& r, std::size_t k, const Step& step) {
    const Value in = value(r, step.in[0]);
    float* parts = reinterpret_cast<float*>(scratch(r, k));
    const SegmentSums first = SegmentSums::of(built_.format(step), in, parts);
    launcher_.launch(r.stream, first, first.geometry());
    FrameStatistics last{};
    last.f = built_.format(step);
    last.in = in;
    last.parts = parts;
    last.segments = first.segments;
    return last;
  }
  void make(const Run& r, std::size_t k, const Step& step, const op::InstanceNorm& n) {
    const Value in = value(r, step.in[0]);
    FrameStatistics last = sums(r, k, step);
    const int64_t padded = in.blocks * 8;
    last.centre = reinterpret_cast<float*>(scratch(r, k) +
                                           parts_bytes(r.plan.shapes[static_cast<std::size_t>(step.in[0])]));
    last.scale = last.centre + padded;
    last.shift = last.scale + padded;
    last.weight = numbers(step.weights);
    last.bias = numbers(step.bias);
    last.eps = n.eps;
    launcher_.launch(r.stream, last, last.geometry());
    Elementwise e = elementwise(r, step);
    e.centre = last.centre;
    e.scale = last.scale;
    e.shift = last.shift;
    each(r, e);
  }
  void make(const Run& r, std::size_t k, const Step& step, const op::FramePool&) {
    FrameStatistics last = sums(r, k, step);
    last.means = value(r, step.out).data;
    launcher_.launch(r.stream, last, last.geometry());
  }
  void make(const Run& r, std::size_t k, const Step& step, const op::WindowPool& p) {
    const Value in = value(r, step.in[0]), out = value(r, step.out);
    float* sums = reinterpret_cast<float*>(scratch(r, k));
    // Where windows hardly overlap, more threads are worth more than what neighbours share.
    const auto axis = [&](std::size_t a, int n, int places, int together) {
      const int size = static_cast<int>(std::min<int64_t>(n, p.size[a])), every = static_cast<int>(p.step[a]);
      return WindowAxis{n, size, every, places, size <= 4 * int64_t(every) ? together : 0};
    };
    const WindowAxis down = axis(0, in.h, out.h, 2), across = axis(1, in.w, out.w, 1);
    each(r, int64_t(down.segments()) * in.w * in.blocks, WindowColumns{built_.format(step), in, sums, down});
    const double of = static_cast<double>(down.k) * static_cast<double>(across.k);
    each(r, int64_t(out.h) * across.segments() * out.blocks,
         WindowRows{built_.format(step), out, sums, across, static_cast<float>(1.0 / of)});
  }
  void make(const Run& r, std::size_t, const Step& step, const op::Spread& s) {
    const Value out = value(r, step.out);
    each(r, pixels(out) * out.blocks,
         Spread{built_.format(step),
                value(r, step.in[0]),
                value(r, step.in[1]),
                out,
                {static_cast<int>(s.step[0]), static_cast<int>(s.step[1])}});
  }
  void make(const Run&, std::size_t, const Step&, const op::Wiener&) {}  // `deblur`

  // In the order of destruction, from the last: whatever holds memory goes before the arena.
  std::unique_ptr<Runtime> runtime_;
  std::shared_ptr<void> entered_;
  Launcher launcher_;
  Built built_;
  Arena arena_;
  OwnStream own_;
  bool placed_ = false;  // the weights
  Memory<char> weights_, scratch_;
  Memory<float> images_;
  Memory<int> flags_;
  Pinned pinned_;
  Replay replay_;
  FramePlan plan_;
  std::mutex mutex_;
};

}  // namespace fastdeblur::cuda::nn
