#include "ndimage/line_kernel.h"

#include <cfloat>
#include <cmath>

#include "ndimage/vector.h"

namespace fastdeblur::ndimage {

namespace {

constexpr int kAcross = 8;  // vectors: enough sums at once to hide an addition's latency
static_assert(kLineStep % (kAcross * kLanes<double>) == 0);

template <Symmetry symmetry>
void correlate_vectors(const double* x, int64_t step, int64_t n, const double* weights, int64_t taps,
                       double* out) {
  constexpr int64_t lanes = kLanes<double>;
  const int64_t last = taps - 1, middle = taps / 2;
  const int64_t first = symmetry == Symmetry::none ? last : middle;
  for (int64_t i = 0; i < n; i += kAcross * lanes) {
    Vector<double> sums[kAcross];
    const double* from = x + i;
    for (int u = 0; u < kAcross; ++u) sums[u] = load(from + first * step + u * lanes) * splat(weights[first]);
    for (int64_t k = 0; k < (symmetry == Symmetry::none ? last : middle); ++k) {
      const Vector<double> weight = splat(weights[k]);
      const double* left = from + k * step;
      const double* right = from + (last - k) * step;
#pragma GCC unroll 8
      for (int u = 0; u < kAcross; ++u) {
        Vector<double> value = load(left + u * lanes);
        if constexpr (symmetry == Symmetry::even) value += load(right + u * lanes);
        if constexpr (symmetry == Symmetry::odd) value -= load(right + u * lanes);
        sums[u] += value * weight;
      }
    }
    for (int u = 0; u < kAcross; ++u) store(out + i + u * lanes, sums[u]);
  }
}

template <bool reciprocal>
FASTDEBLUR_INLINE Vector<double> mean_of(Vector<double> sum, Vector<double> divisor) {
  if constexpr (reciprocal) return sum * divisor;
  return sum / divisor;
}

Vector<double> divisor_of(int64_t taps, bool reciprocal) {
  const double count = static_cast<double>(taps);
  return splat(reciprocal ? 1.0 / count : count);
}

// Along rows a running sum goes element by element; so several rows go at once, one in each lane.
template <bool reciprocal>
void mean_lanes(const double* x, int64_t x_pitch, int64_t n, int64_t taps, double* scratch, double* out,
                int64_t out_pitch) {
  constexpr int lanes = kLanes<double>;
  const Vector<double> divisor = divisor_of(taps, reciprocal);
  for (int64_t i = 0; i < n + taps - 1; i += lanes)
    transpose_block<double, lanes>([&](int row) { return x + row * x_pitch + i; }, scratch + i * lanes,
                                   lanes);
  Vector<double> sum{};
  for (int64_t k = 0; k < taps; ++k) sum += load(scratch + k * lanes);
  for (int64_t i = 0; i < n; ++i) {
    double* oldest = scratch + i * lanes;
    const Vector<double> change = load(oldest + taps * lanes) - load(oldest);
    store(oldest, mean_of<reciprocal>(sum, divisor));
    sum += change;
  }
  for (int64_t i = 0; i < n; i += lanes)
    transpose_block<double, lanes>([&](int column) { return scratch + (i + column) * lanes; }, out + i,
                                   out_pitch);
}

template <bool reciprocal>
void mean_down(const double* x, int64_t x_pitch, int64_t rows, int64_t n, int64_t taps, bool first,
               double* running, double* out, int64_t out_pitch) {
  constexpr int64_t lanes = kLanes<double>;
  const Vector<double> divisor = divisor_of(taps, reciprocal);
  for (int64_t i = 0; i < n; i += kAcross * lanes) {
    Vector<double> sums[kAcross] = {};
    if (first) {
      for (int64_t k = 0; k < taps - 1; ++k)
#pragma GCC unroll 8
        for (int u = 0; u < kAcross; ++u) sums[u] += load(x + k * x_pitch + i + u * lanes);
    } else {
      for (int u = 0; u < kAcross; ++u) sums[u] = load(running + i + u * lanes);
    }
    for (int64_t y = 0; y < rows; ++y) {
      const double* oldest = x + y * x_pitch + i;
      const double* newest = oldest + (taps - 1) * x_pitch;
      double* to = out + y * out_pitch + i;
#pragma GCC unroll 8
      for (int u = 0; u < kAcross; ++u) {
        sums[u] += load(newest + u * lanes);
        store(to + u * lanes, mean_of<reciprocal>(sums[u], divisor));
        sums[u] -= load(oldest + u * lanes);
      }
    }
    for (int u = 0; u < kAcross; ++u) store(running + i + u * lanes, sums[u]);
  }
}

}  // namespace

Symmetry symmetry_of(const LineKernel& kernel) {
  if (!kernel.weights || kernel.taps % 2 == 0) return Symmetry::none;
  const int64_t middle = kernel.taps / 2;
  bool even = true, odd = true;
  for (int64_t k = 0; k < middle; ++k) {
    const double left = kernel.weights[k], right = kernel.weights[kernel.taps - 1 - k];
    // Written so that a NaN passes for both, as it does there.
    if (std::fabs(right - left) > DBL_EPSILON) even = false;
    if (std::fabs(right + left) > DBL_EPSILON) odd = false;
  }
  return even ? Symmetry::even : odd ? Symmetry::odd : Symmetry::none;
}

void correlate_line(const double* x, int64_t step, int64_t n, const LineKernel& kernel, Symmetry symmetry,
                    double* out) {
  switch (symmetry) {
    case Symmetry::even:
      return correlate_vectors<Symmetry::even>(x, step, n, kernel.weights, kernel.taps, out);
    case Symmetry::odd:
      return correlate_vectors<Symmetry::odd>(x, step, n, kernel.weights, kernel.taps, out);
    case Symmetry::none:
      return correlate_vectors<Symmetry::none>(x, step, n, kernel.weights, kernel.taps, out);
  }
}

void mean_rows(const double* x, int64_t x_pitch, int64_t n, int64_t taps, bool reciprocal, double* scratch,
               double* out, int64_t out_pitch) {
  constexpr int64_t lanes = kLanes<double>;
  static_assert(kMeanRows % lanes == 0);
  const auto mean = reciprocal ? mean_lanes<true> : mean_lanes<false>;
  for (int64_t row = 0; row < kMeanRows; row += lanes)
    mean(x + row * x_pitch, x_pitch, n, taps, scratch, out + row * out_pitch, out_pitch);
}

void mean_columns(const double* x, int64_t x_pitch, int64_t rows, int64_t n, int64_t taps, bool reciprocal,
                  bool first, double* sums, double* out, int64_t out_pitch) {
  (reciprocal ? mean_down<true> : mean_down<false>)(x, x_pitch, rows, n, taps, first, sums, out, out_pitch);
}

bool all_within(const double* x, int64_t n, double limit) {
  // Counted, not left at the first, so that the loop runs in vectors.
  int64_t beyond = 0;
  for (int64_t i = 0; i < n; ++i) beyond += !(std::fabs(x[i]) <= limit);
  return beyond == 0;
}

}  // namespace fastdeblur::ndimage
