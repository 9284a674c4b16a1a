// Norms and pooling: layers that take sums over channels, over windows or over the frame, and what spreads
// them again.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "nn/layer.h"

namespace fastdeblur::nn {
namespace {

class LayerNorm final : public Of<op::LayerNorm> {
 public:
  using Of::Of;
  double cost(const std::vector<Shape>& in) const override { return 4 * static_cast<double>(in[0].c); }
  // L pixels at a time: their sums over channels are had by one transpose.
  void row(Call& call, int64_t y) const override {
    const int64_t c = call.shape.c, blocks = call.out.blocks, n = call.columns.size(), lo = call.columns.lo;
    const float count = static_cast<float>(c);
    alignas(64) float mask[L], weight[L], bias[L];
    for (int j = 0; j < L; ++j) mask[j] = (c - 1) % L >= j ? 1.0f : 0.0f;
    const V last = load(mask);
    const Rows& from = call.in[0];
    const float* const source = from.at(y, lo);
    float* const target = call.out.at(y, lo);
    for (int64_t x = 0; x < n; x += L) {
      const int width = static_cast<int>(std::min<int64_t>(L, n - x));
      alignas(64) float mean[L], factor[L], partial[L * L] = {};
      for (int p = 0; p < width; ++p) {
        V sum = broadcast(0.0f);
        for (int64_t b = 0; b < blocks; ++b) {
          const V value = load(source + b * from.block + (x + p) * L);
          sum += b + 1 == blocks ? value * last : value;
        }
        store(partial + p * L, sum);
      }
      row_totals(partial, mean);
      for (int p = 0; p < L; ++p) mean[p] /= count;
      for (int p = 0; p < width; ++p) {
        V sum = broadcast(0.0f);
        const V centre = broadcast(mean[p]);
        for (int64_t b = 0; b < blocks; ++b) {
          V away = load(source + b * from.block + (x + p) * L) - centre;
          if (b + 1 == blocks) away = away * last;
          sum += away * away;
        }
        store(partial + p * L, sum);
      }
      row_totals(partial, factor);
      for (int p = 0; p < L; ++p) factor[p] = 1.0f / std::sqrt(factor[p] / count + op_.eps);
      for (int64_t b = 0; b < blocks; ++b) {
        fill(op_.weight, b, 1.0f, weight);
        fill(op_.bias, b, 0.0f, bias);
        const V w = load(weight), plus = load(bias);
        const float* in = source + b * from.block + x * L;
        float* out = target + b * call.out.block + x * L;
        for (int p = 0; p < width; ++p)
          store(out + p * L, (load(in + p * L) - broadcast(mean[p])) * broadcast(factor[p]) * w + plus);
      }
    }
  }

 private:
  static void fill(const std::vector<float>& values, int64_t block, float missing, float* out) {
    for (int j = 0; j < L; ++j) {
      const auto c = static_cast<std::size_t>(block * L + j);
      out[j] = c < values.size() ? values[c] : missing;
    }
  }
};

double pixels_of(const Shape& s) { return static_cast<double>(s.h) * static_cast<double>(s.w); }

std::vector<float> blocks_of(int64_t c) {
  return std::vector<float>(static_cast<std::size_t>(ceil_div(c, L) * L));
}

class InstanceNorm final : public Layer {
 public:
  explicit InstanceNorm(op::InstanceNorm op) : op_(std::move(op)) {}
  Shape shape(const std::vector<Shape>& in) const override {
    const Shape made = op_.shape({in[0]});
    if (epilogue_.adds()) require(in[1] == made, "add: expected values of the same shape");
    return made;
  }
  bool needs_sums() const override { return true; }
  bool needs_squares() const override { return true; }
  // [mean | factor | shift], in whole blocks.
  std::vector<float> finish(const Totals& totals, const Shape& in) const override {
    const int64_t c = in.c, padded = ceil_div(c, L) * L;
    const double pixels = pixels_of(in);
    std::vector<float> state(static_cast<std::size_t>(3 * padded));
    for (int64_t k = 0; k < c; ++k) {
      const auto i = static_cast<std::size_t>(k);
      const double mean = totals.sums[i] / pixels,
                   variance = std::max(0.0, totals.squares[i] / pixels - mean * mean);
      state[i] = static_cast<float>(mean);
      state[i + static_cast<std::size_t>(padded)] = static_cast<float>(
          (op_.weight.empty() ? 1.0 : static_cast<double>(op_.weight[i])) / std::sqrt(variance + op_.eps));
      state[i + static_cast<std::size_t>(2 * padded)] = op_.bias.empty() ? 0.0f : op_.bias[i];
    }
    return state;
  }
  bool fuse(const Activation& activation) override { return epilogue_.fuse(activation); }
  bool fuse_add() override { return epilogue_.fuse_add(); }
  void row(Call& call, int64_t y) const override {
    // What follows most often is done in the same pass.
    const auto kind = epilogue_.activation().kind;
    if (kind == Activation::none)
      epilogue_.adds() ? pass<false, true>(call, y) : pass<false, false>(call, y);
    else if (kind == Activation::relu)
      epilogue_.adds() ? pass<true, true>(call, y) : pass<true, false>(call, y);
    else {
      pass<false, false>(call, y);
      epilogue_.apply(call, y);
    }
  }

 private:
  template <bool Relu, bool Add>
  static void pass(Call& call, int64_t y) {
    const int64_t n = call.columns.size(), padded = call.out.blocks * L;
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      const float* in = call.in[0].at(y, call.columns.lo, b);
      const float* add = Add ? call.in[1].at(y, call.columns.lo, b) : nullptr;
      float* out = call.out.at(y, call.columns.lo, b);
      const V mean = load(call.state + b * L), factor = load(call.state + padded + b * L),
              shift = load(call.state + 2 * padded + b * L);
      for (int64_t x = 0; x < n; ++x) {
        V value = (load(in + x * L) - mean) * factor + shift;
        if constexpr (Relu)
          for (int j = 0; j < L; ++j) value[j] = value[j] < 0.0f ? 0.0f : value[j];
        if constexpr (Add) value += load(add + x * L);
        store(out + x * L, value);
      }
    }
  }

  op::InstanceNorm op_;
  Epilogue epilogue_;
};

// A window's first pixel: it is moved inside the frame.
int64_t window_start(int64_t around, int64_t k, int64_t n) {
  return std::clamp<int64_t>(around - k / 2, 0, n - k);
}

// Means in a window around every step-th pixel that stays inside the frame, row by row: sums of columns move
// down with the window. They are taken anew every so many rows of the frame, and where a call begins in
// between they move down from there as well: so a row's do not depend on where it began.
class Window {
 public:
  Window(std::array<int64_t, 2> size, std::array<int64_t, 2> step) : k_(size), step_(step) {}
  Range rows(Range out, int64_t n) const {
    return {start(0, anew_before(out.lo), n), start(0, out.hi - 1, n) + std::min(k_[0], n)};
  }
  Range columns(Range out, int64_t n) const {
    return {start(1, out.lo, n), start(1, out.hi - 1, n) + std::min(k_[1], n)};
  }
  // means: [x][L] of block b for call.columns.
  template <class Use>
  void row(Call& call, int64_t y, Use use) const {
    const Shape& s = call.shapes[0];
    const Range need = columns(call.columns, s.w);
    const int64_t n = need.size() * L, kh = std::min(k_[0], s.h), kw = std::min(k_[1], s.w);
    const int64_t blocks = call.in[0].blocks, first = start(0, y, s.h);
    call.sums.resize(static_cast<std::size_t>(n * blocks));
    const bool anew = call.last_row + 1 != y || y % kAnew == 0;
    const int64_t last = start(0, anew ? anew_before(y) : y - 1, s.h);
    const double scale = 1.0 / (static_cast<double>(kh) * static_cast<double>(kw));
    for (int64_t b = 0; b < blocks; ++b) {
      double* sums = call.sums.data() + b * n;
      if (anew) {
        std::fill_n(sums, n, 0.0);
        for (int64_t r = last; r < last + kh; ++r) {
          const float* in = call.in[0].at(r, need.lo, b);
          for (int64_t i = 0; i < n; ++i) sums[i] += static_cast<double>(in[i]);
        }
      }
      for (int64_t r = last; r < first; ++r) {
        const float *out = call.in[0].at(r, need.lo, b), *in = call.in[0].at(r + kh, need.lo, b);
        for (int64_t i = 0; i < n; ++i) sums[i] += static_cast<double>(in[i]) - static_cast<double>(out[i]);
      }
      double window[L] = {};
      int64_t from = -1;
      for (int64_t x = call.columns.lo; x < call.columns.hi; ++x) {
        const int64_t left = start(1, x, s.w);
        if (from < 0 || x % kAnew == 0) {
          std::fill_n(window, L, 0.0);
          for (int64_t i = left; i < left + kw; ++i)
            for (int j = 0; j < L; ++j) window[j] += sums[(i - need.lo) * L + j];
        } else {
          for (; from < left; ++from)
            for (int j = 0; j < L; ++j)
              window[j] += sums[(from + kw - need.lo) * L + j] - sums[(from - need.lo) * L + j];
        }
        from = left;
        float mean[L];
        for (int j = 0; j < L; ++j) mean[j] = static_cast<float>(window[j] * scale);
        use(b, x, mean);
      }
    }
    call.last_row = y;
  }

 private:
  static constexpr int64_t kAnew = 32;
  static int64_t anew_before(int64_t i) { return i / kAnew * kAnew; }
  int64_t start(std::size_t axis, int64_t i, int64_t n) const {
    return window_start(i * step_[axis], std::min(k_[axis], n), n);
  }
  std::array<int64_t, 2> k_, step_;
};

class FramePool final : public Of<op::FramePool> {
 public:
  using Of::Of;
  Range reads(int, int, Range, int64_t) const override { return {0, 0}; }
  bool needs_sums() const override { return true; }
  std::vector<float> finish(const Totals& totals, const Shape& in) const override {
    std::vector<float> means = blocks_of(in.c);
    for (std::size_t i = 0; i < totals.sums.size(); ++i)
      means[i] = static_cast<float>(totals.sums[i] / pixels_of(in));
    return means;
  }
  void row(Call& call, int64_t y) const override {
    for (int64_t b = 0; b < call.out.blocks; ++b) std::copy_n(call.state + b * L, L, call.out.at(y, 0, b));
  }
};

class WindowPool final : public Of<op::WindowPool> {
 public:
  explicit WindowPool(const op::WindowPool& op) : Of(op), window_(op.size, op.step) {}
  Range reads(int, int axis, Range out, int64_t n) const override {
    return axis == 0 ? window_.rows(out, n) : window_.columns(out, n);
  }
  bool looks_far() const override { return true; }
  int64_t working(Range columns, const Shape& in) const override {
    return 2 * window_.columns(columns, in.w).size() * ceil_div(in.c, L) * L;  // in double precision
  }
  void row(Call& call, int64_t y) const override {
    window_.row(call, y,
                [&](int64_t b, int64_t x, const float* mean) { std::copy_n(mean, L, call.out.at(y, x, b)); });
  }

 private:
  Window window_;
};

// Means in windows around every step-th pixel: of the sums over the regions that the windows' borders leave,
// so that nothing but these needs to be kept of the frame.
class GridPool final : public Of<op::WindowPool> {
 public:
  using Of::Of;
  // Whether there are so few regions that their sums are a small part of the value.
  static bool pays(const op::WindowPool& op) {
    double regions = 1;  // to a pixel
    for (std::size_t a = 0; a < 2; ++a) {
      const bool aligned = op.size[a] % op.step[a] == 0 && op.size[a] / 2 % op.step[a] == 0;
      regions *= (aligned ? 1.0 : 2.0) / static_cast<double>(op.step[a]);
    }
    return regions < 0.1;
  }
  Range reads(int, int, Range, int64_t) const override { return {0, 0}; }
  bool needs_sums() const override { return true; }
  Borders regions(const Shape& in) const override {
    return {axis(0, in.h).borders(), axis(1, in.w).borders()};
  }
  int64_t state(const Shape& in) const override {
    return axis(0, in.h).places * axis(1, in.w).places * ceil_div(in.c, L) * L;
  }
  int64_t finishing(const Shape& in) const override {
    const Axis down = axis(0, in.h), across = axis(1, in.w);
    const auto rows = static_cast<int64_t>(down.borders().size());
    return 8 * in.c * (2 * rows * across.places + static_cast<int64_t>(across.borders().size()));
  }
  // [row of places][block][place][L].
  std::vector<float> finish(const Totals& totals, const Shape& in) const override {
    const Axis down = axis(0, in.h), across = axis(1, in.w);
    const auto c = static_cast<std::size_t>(in.c);
    const auto regions_down = totals.borders.rows.size() - 1,
               regions_across = totals.borders.columns.size() - 1;
    const auto rows = static_cast<std::size_t>(down.places),
               columns = static_cast<std::size_t>(across.places);
    std::vector<std::pair<std::size_t, std::size_t>> windows;
    for (std::size_t x = 0; x < columns; ++x) windows.push_back(across.window(x, totals.borders.columns));
    // Sums before each border, of windows along the rows first.
    std::vector<double> wide(regions_down * columns * c), before((regions_across + 1) * c);
    for (std::size_t r = 0; r < regions_down; ++r) {
      for (std::size_t i = 0; i < regions_across * c; ++i)
        before[i + c] = before[i] + totals.sums[r * regions_across * c + i];
      for (std::size_t x = 0; x < columns; ++x)
        for (std::size_t k = 0; k < c; ++k)
          wide[(r * columns + x) * c + k] =
              before[windows[x].second * c + k] - before[windows[x].first * c + k];
    }
    const std::size_t row = columns * c;
    before.assign((regions_down + 1) * row, 0.0);
    for (std::size_t i = 0; i < regions_down * row; ++i) before[i + row] = before[i] + wide[i];
    const auto blocks = static_cast<std::size_t>(ceil_div(in.c, L));
    std::vector<float> means(rows * blocks * columns * L);
    const double scale = 1.0 / (static_cast<double>(down.k) * static_cast<double>(across.k));
    for (std::size_t y = 0; y < rows; ++y) {
      const auto [lo, hi] = down.window(y, totals.borders.rows);
      for (std::size_t x = 0; x < columns; ++x)
        for (std::size_t k = 0; k < c; ++k)
          means[((y * blocks + k / L) * columns + x) * L + k % L] =
              static_cast<float>((before[hi * row + x * c + k] - before[lo * row + x * c + k]) * scale);
    }
    return means;
  }
  void row(Call& call, int64_t y) const override {
    const int64_t lo = call.columns.lo, n = call.columns.size();
    for (int64_t b = 0; b < call.out.blocks; ++b)
      std::copy_n(call.state + ((y * call.out.blocks + b) * call.shape.w + lo) * L, n * L,
                  call.out.at(y, lo, b));
  }

 private:
  struct Axis {
    int64_t n, k, step, places;
    int64_t start(int64_t place) const { return window_start(place * step, k, n); }
    std::vector<int64_t> borders() const {
      std::vector<int64_t> all{0, n};
      for (int64_t i = 0; i < places; ++i) all.insert(all.end(), {start(i), start(i) + k});
      std::sort(all.begin(), all.end());
      all.erase(std::unique(all.begin(), all.end()), all.end());
      return all;
    }
    // The borders of a place's window, by their numbers.
    std::pair<std::size_t, std::size_t> window(std::size_t place, const std::vector<int64_t>& borders) const {
      const auto number = [&](int64_t at) {
        return static_cast<std::size_t>(std::lower_bound(borders.begin(), borders.end(), at) -
                                        borders.begin());
      };
      const int64_t first = start(static_cast<int64_t>(place));
      return {number(first), number(first + k)};
    }
  };
  Axis axis(std::size_t a, int64_t n) const {
    return {n, std::min(op_.size[a], n), op_.step[a], op::grid_length(n, op_.step[a])};
  }
};

// x times what there is for every step-th pixel.
class Spread final : public Of<op::Spread> {
 public:
  using Of::Of;
  Range reads(int i, int axis, Range out, int64_t n) const override {
    if (i == 0) return out;
    const int64_t step = op_.step[static_cast<std::size_t>(axis)];
    return {out.lo / step, std::min((out.hi - 1) / step + 2, n)};
  }
  int64_t working(Range columns, const Shape& in) const override {
    return (reads(1, 1, columns, op::grid_length(in.w, op_.step[1])).size() + 1) * L;
  }
  void row(Call& call, int64_t y) const override {
    const auto [down, across] = op_.step;
    const Shape& grid = call.shapes[1];
    const Range columns = call.columns, places = reads(1, 1, columns, grid.w);
    const int64_t above = y / down, below = std::min(above + 1, grid.h - 1);
    const V share = broadcast(static_cast<float>(y % down) / static_cast<float>(down));
    const float part = 1.0f / static_cast<float>(across);
    call.scratch.resize(static_cast<std::size_t>((places.size() + 1) * L));
    float* const between = call.scratch.data();
    for (int64_t b = 0; b < call.out.blocks; ++b) {
      const float *low = call.in[1].at(above, places.lo, b), *high = call.in[1].at(below, places.lo, b);
      for (int64_t i = 0; i < places.size(); ++i) {
        const V first = load(low + i * L);
        store(between + i * L, first + share * (load(high + i * L) - first));
      }
      // Past the last place there is nothing else.
      store(between + places.size() * L, load(between + (places.size() - 1) * L));
      const float* in = call.in[0].at(y, columns.lo, b);
      float* out = call.out.at(y, columns.lo, b);
      for (int64_t x = columns.lo; x < columns.hi;) {
        const int64_t place = x / across, end = std::min((place + 1) * across, columns.hi);
        const V left = load(between + (place - places.lo) * L),
                more = load(between + (place - places.lo + 1) * L) - left;
        for (; x < end; ++x, in += L, out += L)
          store(out, load(in) * (left + broadcast(static_cast<float>(x - place * across) * part) * more));
      }
    }
  }
};

}  // namespace

std::unique_ptr<Layer> make_layer_norm(op::LayerNorm op) {
  return std::make_unique<LayerNorm>(std::move(op));
}
std::unique_ptr<Layer> make_instance_norm(op::InstanceNorm op) {
  return std::make_unique<InstanceNorm>(std::move(op));
}
std::unique_ptr<Layer> make_frame_pool(op::FramePool op) { return std::make_unique<FramePool>(op); }
std::unique_ptr<Layer> make_window_pool(op::WindowPool op) {
  if (GridPool::pays(op)) return std::make_unique<GridPool>(op);
  return std::make_unique<WindowPool>(op);
}
std::unique_ptr<Layer> make_spread(op::Spread op) { return std::make_unique<Spread>(op); }

}  // namespace fastdeblur::nn
