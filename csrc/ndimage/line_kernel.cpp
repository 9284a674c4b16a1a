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

// out[i] = a[i] + b[i]; out may be a, where b lies ahead of it.
void add(const double* a, const double* b, int64_t n, double* out) {
  for (int64_t i = 0; i < n; i += kLanes<double>) store(out + i, load(a + i) + load(b + i));
}

void divide(double* sums, int64_t n, int64_t taps, bool reciprocal) {
  const double count = static_cast<double>(taps);
  if (reciprocal) {
    for (int64_t i = 0; i < n; ++i) sums[i] *= 1.0 / count;
  } else {
    for (int64_t i = 0; i < n; ++i) sums[i] /= count;
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

// Windows of 2, 4, 8 ... elements are sums of two shorter ones; a window of `taps` is made of those in its
// binary digits.
void mean_line(const double* x, int64_t n, int64_t taps, bool reciprocal, double* scratch, double* out) {
  const double* windows = x;  // of `length` elements each
  int64_t covered = 0;
  for (int64_t length = 1;; length *= 2) {
    if (taps & length) {
      if (covered) {
        add(out, windows + covered, n, out);
      } else {
        for (int64_t i = 0; i < n; ++i) out[i] = windows[i];
      }
      covered += length;
    }
    if (length * 2 > taps) break;
    add(windows, windows + length, n + taps - 2 * length, scratch);
    windows = scratch;
  }
  divide(out, n, taps, reciprocal);
}

void mean_columns(const double* x, int64_t x_pitch, int64_t rows, int64_t n, int64_t taps, bool reciprocal,
                  double* out, int64_t out_pitch) {
  constexpr int64_t lanes = kLanes<double>, across = 4;
  for (int64_t i = 0; i < n; i += across * lanes) {
    Vector<double> sums[across] = {};
    for (int64_t k = 0; k < taps - 1; ++k)
      for (int u = 0; u < across; ++u) sums[u] += load(x + k * x_pitch + i + u * lanes);
    for (int64_t y = 0; y < rows; ++y) {
      for (int u = 0; u < across; ++u) {
        sums[u] += load(x + (y + taps - 1) * x_pitch + i + u * lanes);
        store(out + y * out_pitch + i + u * lanes, sums[u]);
        sums[u] -= load(x + y * x_pitch + i + u * lanes);
      }
    }
  }
  for (int64_t y = 0; y < rows; ++y) divide(out + y * out_pitch, n, taps, reciprocal);
}

bool all_within(const double* x, int64_t n, double limit) {
  // Counted, not left at the first, so that the loop runs in vectors.
  int64_t beyond = 0;
  for (int64_t i = 0; i < n; ++i) beyond += !(std::fabs(x[i]) <= limit);
  return beyond == 0;
}

}  // namespace fastdeblur::ndimage
