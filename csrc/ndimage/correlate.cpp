#include "ndimage/correlate.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <type_traits>

#include "cpu/buffer.h"
#include "ndimage/rows.h"
#include "ndimage/units.h"
#include "ndimage/vector.h"

namespace fastdeblur::ndimage {

namespace {

// A register tile: each loaded vector serves all its rows, and there are sums enough to hide their latency.
constexpr int kRows = 3;
constexpr int kAcross = 4;  // vectors
constexpr int kLong = 8;    // vectors across of a tile of one row

// One tap of the kernel: where its elements lie in the patch, relative to the output's.
template <class T>
struct Tap {
  int64_t offset;
  T weight;
};

// The taps of one kernel row meet output rows First to Last of the tile; `weights` are those for output row
// 0.
template <class T, bool Fused, int First, int Last>
FASTDEBLUR_INLINE void tile_row(const T* x, const T* weights, int64_t columns,
                                Vector<T> (&sums)[kRows][kAcross]) {
  for (int64_t k = 0; k < columns; ++k) {
    Vector<T> w[kRows];
#pragma GCC unroll 4
    for (int r = First; r <= Last; ++r) w[r] = splat(weights[k - r * columns]);
#pragma GCC unroll 4
    for (int u = 0; u < kAcross; ++u) {
      const Vector<T> value = load(x + k + u * kLanes<T>);
#pragma GCC unroll 4
      for (int r = First; r <= Last; ++r) sums[r][u] = accumulate<T, Fused>(sums[r][u], value, w[r]);
    }
  }
}

// What a work unit reads: for each of the kernel's leading offsets the rows of a band, converted and
// extended.
template <class T>
struct Patch {
  const T* data;
  int64_t pitch;  // elements from row to row
  int64_t plane;  // and from leading offset to leading offset
};

template <class T>
struct Kernel {
  const T* weights;
  int64_t planes, rows, columns;
};

// kRows x (kAcross * lanes) outputs, for kernels of at least kRows - 1 rows; every sum is taken in the
// kernel's C order.
template <class T, bool Fused>
void tile(const Patch<T>& patch, const Kernel<T>& kernel, const T* x, T* out, int64_t out_pitch) {
  static_assert(kRows == 3);
  Vector<T> sums[kRows][kAcross] = {};
  const int64_t taps = kernel.columns, pitch = patch.pitch;
  for (int64_t plane = 0; plane < kernel.planes; ++plane) {
    const T* row = x + plane * patch.plane;
    const T* weights = kernel.weights + plane * kernel.rows * taps;
    tile_row<T, Fused, 0, 0>(row, weights, taps, sums);
    tile_row<T, Fused, 0, 1>(row += pitch, weights += taps, taps, sums);
    for (int64_t j = 2; j < kernel.rows; ++j)
      tile_row<T, Fused, 0, 2>(row += pitch, weights += taps, taps, sums);
    tile_row<T, Fused, 1, 2>(row += pitch, weights += taps, taps, sums);
    tile_row<T, Fused, 2, 2>(row + pitch, weights + taps, taps, sums);
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int u = 0; u < kAcross; ++u) store(out + r * out_pitch + u * kLanes<T>, sums[r][u]);
  }
}

// One row of outputs over a list of taps: sparse kernels, and the rows that fill no tile.
template <class T, bool Fused>
void row_of_taps(const std::vector<Tap<T>>& taps, const T* x, int64_t n, T* out) {
  for (int64_t i = 0; i < n; i += kLong * kLanes<T>) {
    Vector<T> sums[kLong] = {};
    for (const auto& tap : taps) {
      const T* from = x + i + tap.offset;
#pragma GCC unroll 8
      for (int u = 0; u < kLong; ++u)
        sums[u] = accumulate<T, Fused>(sums[u], load(from + u * kLanes<T>), splat(tap.weight));
    }
    for (int u = 0; u < kLong; ++u) store(out + i + u * kLanes<T>, sums[u]);
  }
}

int64_t product(const std::vector<int64_t>& shape, std::size_t count) {
  int64_t n = 1;
  for (std::size_t axis = 0; axis < count; ++axis) n *= shape[axis];
  return n;
}

template <class T, bool Fused>
class Correlator {
 public:
  explicit Correlator(const Correlation& problem) : p_(problem), leading_(p_.input_shape.size() - 2) {
    height_ = p_.out_shape[leading_];
    width_ = p_.out_shape[leading_ + 1];
    kernel_.planes = product(p_.weights_shape, leading_);
    kernel_.rows = p_.weights_shape[leading_];
    kernel_.columns = p_.weights_shape[leading_ + 1];
    const int64_t taps = kernel_.planes * kernel_.rows * kernel_.columns;
    weights_.resize(static_cast<std::size_t>(taps));
    for (int64_t k = 0; k < taps; ++k) {
      if constexpr (std::is_floating_point_v<T>) {
        weights_[static_cast<std::size_t>(k)] = static_cast<const double*>(p_.weights)[k];
      } else {
        weights_[static_cast<std::size_t>(k)] =
            static_cast<T>(static_cast<const std::uint64_t*>(p_.weights)[k]);
      }
    }
    kernel_.weights = weights_.data();

    // A patch is to stay in half of a level-2 cache of 512 KiB.
    constexpr int64_t cached = (int64_t(1) << 18) / static_cast<int64_t>(sizeof(T));
    const int64_t step = kLong * kLanes<T>;
    strip_ = std::clamp<int64_t>(4 * kernel_.columns, 512, 2048) / step * step;
    strip_ = std::min(strip_, (width_ + step - 1) / step * step);
    patch_.pitch = (strip_ + kernel_.columns - 1 + 7) / 8 * 8;
    const int64_t rows = cached / (patch_.pitch * kernel_.planes) - (kernel_.rows - 1);
    const int64_t least = std::max<int64_t>(2 * kRows, kernel_.rows / 2);
    band_ = std::max(std::clamp(rows, least, std::max(least, int64_t(128))) / kRows, int64_t(1)) * kRows;
    band_ = std::min(band_, height_);
    patch_.plane = patch_.pitch * (band_ + kernel_.rows - 1);
    list_taps();
  }

  void run() {
    const int64_t bands = (height_ + band_ - 1) / band_, strips = (width_ + strip_ - 1) / strip_;
    const int64_t outer = product(p_.out_shape, leading_);
    const int64_t units = outer * bands * strips;
    const double work = static_cast<double>(outer * height_) * static_cast<double>(width_) *
                        (16.0 + static_cast<double>(taps_.size()));
    for_units<Scratch>(units, work, p_.n_threads, [&](int64_t unit, Scratch& scratch) {
      const int64_t strip = unit % strips, band = unit / strips % bands;
      compute(unit / strips / bands, band * band_, strip * strip_, scratch);
    });
  }

 private:
  struct Scratch {
    Buffer<T> patch, results;
  };

  void list_taps() {
    taps_.reserve(weights_.size());
    const T* weight = weights_.data();
    for (int64_t plane = 0; plane < kernel_.planes; ++plane) {
      for (int64_t row = 0; row < kernel_.rows; ++row) {
        for (int64_t column = 0; column < kernel_.columns; ++column, ++weight) {
          if constexpr (std::is_floating_point_v<T>) {
            if (!(std::fabs(*weight) > DBL_EPSILON)) continue;
          }
          taps_.push_back({plane * patch_.plane + row * patch_.pitch + column, *weight});
        }
      }
    }
    dense_ = taps_.size() == weights_.size() && kernel_.rows >= kRows - 1;
  }

  // The plane of the input that meets output plane `outer` at the kernel's leading offset `offset`; null in
  // the constant.
  const char* input_plane(int64_t outer, int64_t offset) const {
    int64_t index = 0, stride = p_.input_shape[leading_] * p_.input_shape[leading_ + 1];
    for (std::size_t axis = leading_; axis-- > 0;) {
      const int64_t o = outer % p_.out_shape[axis], k = offset % p_.weights_shape[axis];
      outer /= p_.out_shape[axis];
      offset /= p_.weights_shape[axis];
      const int64_t i = extend_index(o + p_.start[axis] + k, p_.input_shape[axis], p_.mode);
      if (i < 0) return nullptr;
      index += i * stride;
      stride *= p_.input_shape[axis];
    }
    return static_cast<const char*>(p_.input) + index * bytes_of(p_.input_element);
  }

  T constant() const {
    if constexpr (std::is_floating_point_v<T>) {
      return p_.constant;
    } else {
      return static_cast<T>(static_cast<std::int64_t>(p_.constant));
    }
  }

  void load_patch(int64_t outer, int64_t y, int64_t rows, int64_t x, int64_t columns, T* to) const {
    const int64_t height = p_.input_shape[leading_], width = p_.input_shape[leading_ + 1];
    const int64_t bytes = bytes_of(p_.input_element);
    for (int64_t offset = 0; offset < kernel_.planes; ++offset) {
      const char* plane = input_plane(outer, offset);
      const auto row_at = [&](int64_t j) {
        const int64_t source = extend_index(y + j + p_.start[leading_], height, p_.mode);
        const char* data = plane && source >= 0 ? plane + source * width * bytes : nullptr;
        return Row{data, p_.input_element, width};
      };
      const int64_t begin = x + p_.start[leading_ + 1], end = begin + columns;
      for (int64_t j = 0; j < rows; ++j) {
        if (j + 1 < rows) prefetch_row(row_at(j + 1), begin, end);
        load_row<T>(row_at(j), p_.mode, constant(), begin, end,
                    to + offset * patch_.plane + j * patch_.pitch);
      }
    }
  }

  void compute(int64_t outer, int64_t y0, int64_t x0, Scratch& scratch) const {
    const int64_t rows = std::min(band_, height_ - y0), columns = std::min(strip_, width_ - x0);
    // Vectors at a strip's end reach beyond the patch's last row; what is computed there goes nowhere.
    constexpr int64_t slack = kLong * kLanes<T>;
    if (scratch.patch.size() == 0) {
      scratch.patch.require(patch_.plane * kernel_.planes + slack);
      scratch.results.require(kRows * strip_);
    }
    load_patch(outer, y0, rows + kernel_.rows - 1, x0, columns + kernel_.columns - 1, scratch.patch.data());
    const Patch<T> patch{scratch.patch.data(), patch_.pitch, patch_.plane};
    const int64_t bytes = bytes_of(p_.out_element);
    char* out = static_cast<char*>(p_.out) + ((outer * height_ + y0) * width_ + x0) * bytes;
    T* results = scratch.results.data();
    for (int64_t y = 0; y < rows;) {
      const T* at = patch.data + y * patch.pitch;
      int64_t done = 1;
      if (dense_ && rows - y >= kRows) {
        done = kRows;
        for (int64_t x = 0; x < columns; x += kAcross * kLanes<T>)
          tile<T, Fused>(patch, kernel_, at + x, results + x, strip_);
      } else {
        row_of_taps<T, Fused>(taps_, at, columns, results);
      }
      for (int64_t r = 0; r < done; ++r, ++y) {
        char* to = out + y * width_ * bytes;
        prefetch_for_writing(to + width_ * bytes, columns * bytes);
        store_window_row(results + r * strip_, columns, p_.out_element, to);
      }
    }
  }

  const Correlation& p_;
  const std::size_t leading_;
  int64_t height_, width_, strip_, band_;
  Patch<T> patch_{};
  Kernel<T> kernel_{};
  std::vector<T> weights_;
  std::vector<Tap<T>> taps_;
  bool dense_ = false;
};

}  // namespace

void correlate(const Correlation& given) {
  Correlation problem = given;
  if (problem.input_shape.size() == 1) {
    for (auto* shape : {&problem.input_shape, &problem.weights_shape, &problem.out_shape})
      shape->insert(shape->begin(), 1);
    problem.start.insert(problem.start.begin(), 0);
  }
  switch (problem.arithmetic) {
    case Arithmetic::exact:
      return Correlator<double, false>(problem).run();
    case Arithmetic::fused: {
      const int64_t taps = product(problem.weights_shape, problem.weights_shape.size());
      if (nothing_cancels(static_cast<const double*>(problem.weights), taps))
        return Correlator<double, true>(problem).run();
      return Correlator<double, false>(problem).run();
    }
    case Arithmetic::modular:
      if (bytes_of(problem.out_element) <= 4) return Correlator<std::uint32_t, false>(problem).run();
      return Correlator<std::uint64_t, false>(problem).run();
  }
}

}  // namespace fastdeblur::ndimage
