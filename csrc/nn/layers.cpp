// Layers of one pixel at a time and those that move values about, and the table of all layers.
#include <algorithm>

#include "nn/layer.h"

namespace fastdeblur::nn {
namespace {

// --- one number at a time, or one number and its channel's ---

class Pointwise final : public Layer {
 public:
  explicit Pointwise(const Activation& activation) : activation_(activation) {}
  Shape shape(const std::vector<Shape>& in) const override { return in[0]; }
  const Activation& activation() const { return activation_; }
  void row(Call& call, int64_t y) const override {
    const int64_t n = call.columns.size() * L;
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      float* out = call.out.at(y, call.columns.lo, b);
      std::copy_n(call.in[0].at(y, call.columns.lo, b), n, out);
      activation_.apply(out, n);
    }
  }

 private:
  Activation activation_;
};

// x * scale + shift by channel, with a third number for what is below 0.
class PerChannel final : public Of<op::PerChannel> {
 public:
  explicit PerChannel(op::PerChannel op) : Of(std::move(op)), numbers_(op_.numbers) {
    numbers_.resize(static_cast<std::size_t>(ceil_div(static_cast<int64_t>(numbers_.size()), L) * L));
  }
  void row(Call& call, int64_t y) const override {
    const int64_t n = call.columns.size();
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      const float* in = call.in[0].at(y, call.columns.lo, b);
      float* out = call.out.at(y, call.columns.lo, b);
      const V v = load(numbers_.data() + b * L);
      for (int64_t x = 0; x < n; ++x) {
        const V value = load(in + x * L);
        if (op_.kind == op::PerChannel::bias) store(out + x * L, value + v);
        if (op_.kind == op::PerChannel::scale) store(out + x * L, value * v);
        if (op_.kind == op::PerChannel::prelu)
          for (int j = 0; j < L; ++j) out[x * L + j] = value[j] < 0.0f ? value[j] * v[j] : value[j];
      }
    }
  }

 private:
  std::vector<float> numbers_;
};

class SimpleGate final : public Of<op::SimpleGate> {
 public:
  using Of::Of;
  void row(Call& call, int64_t y) const override {
    const int64_t half = call.shape.c, n = call.columns.size(), lo = call.columns.lo;
    const Rows& in = call.in[0];
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      float* out = call.out.at(y, lo, b);
      const float* first = in.at(y, lo, b);
      if (half % L == 0) {
        const float* second = in.at(y, lo, b + half / L);
        for (int64_t i = 0; i < n * L; ++i) out[i] = first[i] * second[i];
        continue;
      }
      for (int64_t c = b * L; c < std::min(half, (b + 1) * L); ++c) {
        const float* second = in.at(y, lo, (c + half) / L) + (c + half) % L;
        const int64_t j = c % L;
        for (int64_t x = 0; x < n; ++x) out[x * L + j] = first[x * L + j] * second[x * L];
      }
    }
  }
};

class Combine final : public Of<op::Combine> {
 public:
  explicit Combine(const op::Combine& op) : Of(op), multiply_(op.multiply) {}
  // A second value of one pixel is read whole.
  Range reads(int i, int, Range out, int64_t n) const override {
    return i == 1 && n == 1 ? Range{0, 1} : out;
  }
  void row(Call& call, int64_t y) const override {
    const Shape &a = call.shapes[0], &b = call.shapes[1];
    const int64_t n = call.columns.size(), lo = call.columns.lo;
    const bool tall = b.h == a.h, wide = b.w == a.w;
    for (int64_t k = 0; k < call.out.blocks; ++k) {
      const float* p = call.in[0].at(y, lo, k);
      float* out = call.out.at(y, lo, k);
      const float* q = call.in[1].at(tall ? y : 0, wide ? lo : 0, b.c == a.c ? k : 0);
      if (b.c == a.c && wide) {
        if (multiply_) {
          for (int64_t i = 0; i < n * L; ++i) out[i] = p[i] * q[i];
        } else {
          for (int64_t i = 0; i < n * L; ++i) out[i] = p[i] + q[i];
        }
        continue;
      }
      const V all = b.c == a.c ? load(q) : broadcast(q[0]);
      for (int64_t x = 0; x < n; ++x) {
        const V other = wide ? broadcast(q[x * L]) : all, value = load(p + x * L);
        store(out + x * L, multiply_ ? value * other : value + other);
      }
    }
  }

 private:
  bool multiply_;
};

// --- channels put elsewhere ---

// A channel's numbers of a row.
struct Channel {
  float* at;
  explicit Channel(const Rows& rows, int64_t y, int64_t x, int64_t c) : at(rows.at(y, x, c / L) + c % L) {}
};

class Concat final : public Of<op::Concat> {
 public:
  using Of::Of;
  void row(Call& call, int64_t y) const override {
    const int64_t n = call.columns.size(), lo = call.columns.lo;
    int64_t first = 0;
    for (std::size_t i = 0; i < call.in.size(); first += call.shapes[i].c, ++i) {
      if (first % L == 0) {  // the last block's idle lanes are overwritten by what comes next
        for (int64_t b = 0; b < call.in[i].blocks; ++b)
          std::copy_n(call.in[i].at(y, lo, b), n * L, call.out.at(y, lo, first / L + b));
        continue;
      }
      for (int64_t c = 0; c < call.shapes[i].c; ++c) {
        const float* from = Channel(call.in[i], y, lo, c).at;
        float* to = Channel(call.out, y, lo, first + c).at;
        for (int64_t x = 0; x < n; ++x) to[x * L] = from[x * L];
      }
    }
  }
};

class PixelShuffle final : public Of<op::PixelShuffle> {
 public:
  explicit PixelShuffle(const op::PixelShuffle& op) : Of(op), f_(op.factor) {}
  Range reads(int, int, Range out, int64_t) const override {
    return {floor_div(out.lo, f_), floor_div(out.hi - 1, f_) + 1};
  }
  void row(Call& call, int64_t y) const override {
    const int64_t lo = call.columns.lo, hi = call.columns.hi, i = y % f_;
    for (int64_t c = 0; c < call.shape.c; ++c)
      for (int64_t j = 0; j < f_; ++j) {
        const int64_t x0 = lo + ((j - lo) % f_ + f_) % f_;
        if (x0 >= hi) continue;
        const float* from = Channel(call.in[0], y / f_, x0 / f_, (c * f_ + i) * f_ + j).at;
        float* to = Channel(call.out, y, x0, c).at;
        const int64_t n = ceil_div(hi - x0, f_);
        for (int64_t x = 0; x < n; ++x) to[x * f_ * L] = from[x * L];
      }
  }

 private:
  int64_t f_;
};

class PixelUnshuffle final : public Of<op::PixelUnshuffle> {
 public:
  explicit PixelUnshuffle(const op::PixelUnshuffle& op) : Of(op), f_(op.factor) {}
  Range reads(int, int, Range out, int64_t) const override { return {out.lo * f_, out.hi * f_}; }
  void row(Call& call, int64_t y) const override {
    const int64_t lo = call.columns.lo, n = call.columns.size();
    for (int64_t c = 0; c < call.shape.c; ++c) {
      const int64_t j = c % f_, i = c / f_ % f_;
      const float* from = Channel(call.in[0], y * f_ + i, lo * f_ + j, c / (f_ * f_)).at;
      float* to = Channel(call.out, y, lo, c).at;
      for (int64_t x = 0; x < n; ++x) to[x * L] = from[x * f_ * L];
    }
  }

 private:
  int64_t f_;
};

class Resize final : public Of<op::Resize> {
 public:
  using Of::Of;
  Range reads(int, int axis, Range out, int64_t n) const override {
    const auto a = static_cast<std::size_t>(axis);
    return {place(a, out.lo, n).first, place(a, out.hi - 1, n).second + 1};
  }
  void row(Call& call, int64_t y) const override {
    const Shape& from = call.shapes[0];
    const Place rows = place(0, y, from.h);
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      const float *low = call.in[0].at(rows.first, 0, b), *high = call.in[0].at(rows.second, 0, b);
      const V down = broadcast(rows.share);
      float* out = call.out.at(y, call.columns.lo, b);
      for (int64_t x = call.columns.lo; x < call.columns.hi; ++x, out += L) {
        const Place at = place(1, x, from.w);
        // Rows before columns, as the reference does.
        const V left = between(load(low + at.first * L), load(high + at.first * L), down);
        if (!op_.bilinear || at.share == 0.0f) {
          store(out, left);
          continue;
        }
        store(out, between(left, between(load(low + at.second * L), load(high + at.second * L), down),
                           broadcast(at.share)));
      }
    }
  }

 private:
  struct Place {
    int64_t first, second;
    float share;
  };
  static V between(V a, V b, V share) { return a + share * (b - a); }
  Place place(std::size_t axis, int64_t i, int64_t n) const {
    const int64_t up = op_.up[axis], down = op_.down[axis];
    if (!op_.bilinear || up == down) {
      const int64_t at = i * down / up;
      return {at, at, 0.0f};
    }
    const double where =
        std::clamp((static_cast<double>(i) + 0.5) * static_cast<double>(down) / static_cast<double>(up) - 0.5,
                   0.0, static_cast<double>(n - 1));
    const auto first = static_cast<int64_t>(where);
    return {first, std::min(first + 1, n - 1), static_cast<float>(where - static_cast<double>(first))};
  }
};

// Made between two stages, by the network's caller.
class Whole final : public Of<op::Wiener> {
 public:
  using Of::Of;
  Range reads(int, int, Range, int64_t) const override { return {0, 0}; }
  bool is_whole() const override { return true; }
  void row(Call&, int64_t) const override {}
};

// --- in and out of the layout ---

class Loader final : public Layer {
 public:
  explicit Loader(int64_t lanes) : lanes_(lanes) {}
  Shape shape(const std::vector<Shape>& in) const override { return in[0]; }
  int64_t lanes(const Shape&) const override { return lanes_; }
  void row(Call& call, int64_t y) const override {
    const Image& image = *call.image;
    const int64_t from = inside(y, image.h, call.shape.h), lo = call.columns.lo, hi = call.columns.hi;
    if (lanes_ == call.shape.c && image.stride[2] == lanes_ && (lanes_ == 1 || image.stride[0] == 1) &&
        hi <= image.w) {  // lies as it is wanted
      const float* in = image.data + from * image.stride[1] + lo * lanes_;
      float* out = call.out.at(y, lo);
      for (int64_t i = 0; i < (hi - lo) * lanes_; ++i) out[i] = in[i] * image.scale + image.offset;
      return;
    }
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      float* out = call.out.at(y, lo, b);
      for (int64_t j = 0; j < lanes_; ++j) {
        const int64_t c = b * lanes_ + j;
        if (c >= call.shape.c) {
          for (int64_t x = lo; x < hi; ++x) out[(x - lo) * lanes_ + j] = 0.0f;
          continue;
        }
        const float* row = image.data + c * image.stride[0] + from * image.stride[1];
        const int64_t real = std::min(hi, image.w);
        int64_t x = lo;
        for (; x < real; ++x)
          out[(x - lo) * lanes_ + j] = row[x * image.stride[2]] * image.scale + image.offset;
        for (; x < hi; ++x)
          out[(x - lo) * lanes_ + j] =
              row[inside(x, image.w, call.shape.w) * image.stride[2]] * image.scale + image.offset;
      }
    }
  }

 private:
  // Beyond the image by reflection, or its border pixel where it is too small for that.
  static int64_t inside(int64_t i, int64_t n, int64_t padded) {
    return i < n ? i : padded - n < n ? 2 * (n - 1) - i : n - 1;
  }
  int64_t lanes_;
};

}  // namespace

std::unique_ptr<Layer> make_loader(int64_t lanes) { return std::make_unique<Loader>(lanes); }
std::unique_ptr<Layer> make_copy() { return std::make_unique<Pointwise>(Activation{}); }

const Activation* activation_of(const Layer& layer) {
  const auto* pointwise = dynamic_cast<const Pointwise*>(&layer);
  return pointwise ? &pointwise->activation() : nullptr;
}

namespace {

struct Make {
  template <class Made, class Op>
  static std::unique_ptr<Layer> make(Op&& op) {
    return std::make_unique<Made>(std::forward<Op>(op));
  }
  std::unique_ptr<Layer> operator()(op::Convolution& o) const { return make_convolution(std::move(o)); }
  std::unique_ptr<Layer> operator()(op::Pointwise& o) const { return make<Pointwise>(o.activation); }
  std::unique_ptr<Layer> operator()(op::PerChannel& o) const { return make<PerChannel>(std::move(o)); }
  std::unique_ptr<Layer> operator()(op::SimpleGate& o) const { return make<SimpleGate>(o); }
  std::unique_ptr<Layer> operator()(op::Combine& o) const { return make<Combine>(o); }
  std::unique_ptr<Layer> operator()(op::Concat& o) const { return make<Concat>(o); }
  std::unique_ptr<Layer> operator()(op::PixelShuffle& o) const { return make<PixelShuffle>(o); }
  std::unique_ptr<Layer> operator()(op::PixelUnshuffle& o) const { return make<PixelUnshuffle>(o); }
  std::unique_ptr<Layer> operator()(op::Resize& o) const { return make<Resize>(o); }
  std::unique_ptr<Layer> operator()(op::LayerNorm& o) const { return make_layer_norm(std::move(o)); }
  std::unique_ptr<Layer> operator()(op::InstanceNorm& o) const { return make_instance_norm(std::move(o)); }
  std::unique_ptr<Layer> operator()(op::FramePool& o) const { return make_frame_pool(o); }
  std::unique_ptr<Layer> operator()(op::WindowPool& o) const { return make_window_pool(o); }
  std::unique_ptr<Layer> operator()(op::Spread& o) const { return make_spread(o); }
  std::unique_ptr<Layer> operator()(op::Wiener& o) const { return make<Whole>(std::move(o)); }
};

}  // namespace

std::unique_ptr<Layer> make_layer(Operation operation) { return std::visit(Make{}, operation); }

}  // namespace fastdeblur::nn
