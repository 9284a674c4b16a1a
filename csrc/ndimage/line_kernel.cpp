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

}  // namespace

Symmetry symmetry_of(const LineKernel& kernel) {
  if (kernel.taps % 2 == 0) return Symmetry::none;
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

}  // namespace fastdeblur::ndimage
