#include "ndimage/line_kernel.h"

#include <cfloat>
#include <cmath>
#include <type_traits>
#include <utility>

#include "ndimage/vector.h"

namespace fastdeblur::ndimage {

namespace {

constexpr int kAcross = 8;  // vectors: enough sums at once to hide an addition's latency
static_assert(kLineStep % (kAcross * kLanes<double>) == 0);

template <Symmetry symmetry>
FASTDEBLUR_INLINE Vector<double> meet(Vector<double> left, Vector<double> right) {
  return symmetry == Symmetry::even ? left + right : left - right;
}

template <Symmetry symmetry, bool fused>
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
        if constexpr (symmetry != Symmetry::none) value = meet<symmetry>(value, load(right + u * lanes));
        sums[u] = accumulate<double, fused>(sums[u], value, weight);
      }
    }
    for (int u = 0; u < kAcross; ++u) store(out + i + u * lanes, sums[u]);
  }
}

// Along a row, without regard to symmetry: outputs `lanes` apart meet the same element at taps `lanes` apart,
// so that of the taps of one remainder modulo `lanes` each element is loaded once for all.
constexpr int kLongest = 7;  // taps of one remainder whose weights stay in registers

template <int Count>
FASTDEBLUR_INLINE void meet_remainder(const double* x, const double* weights, Vector<double>* sums) {
  constexpr int lanes = kLanes<double>;
  if constexpr (Count > 0) {
    Vector<double> w[Count];
#pragma GCC unroll 8
    for (int k = 0; k < Count; ++k) w[k] = splat(weights[k * lanes]);
#pragma GCC unroll 16
    for (int m = 0; m < kAcross + Count - 1; ++m) {
      const Vector<double> value = load(x + m * lanes);
#pragma GCC unroll 8
      for (int u = 0; u < kAcross; ++u)
        if (m - u >= 0 && m - u < Count) sums[u] = multiply_add(value, w[m - u], sums[u]);
    }
  }
}

// At most kLongest * lanes taps, of which Count are of remainder 0; added to out unless `first`.
template <int Count>
void correlate_stretch(const double* x, int64_t n, const double* weights, int64_t taps, bool first,
                       double* out) {
  constexpr int lanes = kLanes<double>;
  const int64_t fuller = taps - (Count - 1) * lanes;
  for (int64_t i = 0; i < n; i += kAcross * lanes) {
    Vector<double> sums[kAcross] = {};
    if (!first)
      for (int u = 0; u < kAcross; ++u) sums[u] = load(out + i + u * lanes);
    for (int64_t r = 0; r < fuller; ++r) meet_remainder<Count>(x + i + r, weights + r, sums);
    for (int64_t r = fuller; r < lanes; ++r) meet_remainder<Count - 1>(x + i + r, weights + r, sums);
    for (int u = 0; u < kAcross; ++u) store(out + i + u * lanes, sums[u]);
  }
}

template <int... Counts>
void correlate_fused(const double* x, int64_t n, const double* weights, int64_t taps, double* out,
                     std::integer_sequence<int, Counts...>) {
  constexpr int64_t most = kLongest * kLanes<double>;
  for (int64_t begin = 0; begin < taps; begin += most) {
    const int64_t count = taps - begin < most ? taps - begin : most;
    const int64_t fullest = (count + kLanes<double> - 1) / kLanes<double>;
    ((fullest == Counts + 1
          ? correlate_stretch<Counts + 1>(x + begin, n, weights + begin, count, begin == 0, out)
          : void()),
     ...);
  }
}

// Two rows at once: what one row's sum meets at a tap, the next row's meets at the tap beside it, so that
// each element is loaded once for both. As many vectors across as leave all of it in registers.
constexpr int kPairAcross = kRegisterBytes == 64 ? 4 : 3;
constexpr int64_t kColumns =
    kRegisterBytes == 64 ? 64 : 48;  // at a time: their rows stay in the level-1 cache
static_assert(kColumns % (kPairAcross * kLanes<double>) == 0);
// So the last store of a row ends at most this far beyond a multiple of kLineStep.
static_assert(kLineStep % 64 == 0 && kLineOverrun >= 8);

template <Symmetry symmetry, bool fused>
void correlate_pair(const double* x, int64_t pitch, int64_t n, const double* weights, int64_t taps,
                    double* out, int64_t out_pitch) {
  constexpr int64_t lanes = kLanes<double>;
  constexpr bool symmetric = symmetry != Symmetry::none;
  const int64_t first = symmetric ? taps / 2 : taps - 1;
  for (int64_t i = 0; i < n; i += kPairAcross * lanes) {
    Vector<double> upper[kPairAcross], lower[kPairAcross], a[kPairAcross], c[kPairAcross];
    const double* from = x + i;
    const double* to = from + taps * pitch;
#pragma GCC unroll 4
    for (int u = 0; u < kPairAcross; ++u) {
      const double* begin = from + first * pitch + u * lanes;
      upper[u] = load(begin) * splat(weights[first]);
      lower[u] = load(begin + pitch) * splat(weights[first]);
      a[u] = load(from + u * lanes);
      if constexpr (symmetric) c[u] = load(to + u * lanes);
    }
#pragma GCC unroll 2
    for (int64_t k = 0; k < first; ++k) {
      const Vector<double> weight = splat(weights[k]);
      from += pitch;
      to -= pitch;
#pragma GCC unroll 4
      for (int u = 0; u < kPairAcross; ++u) {
        const Vector<double> next = load(from + u * lanes);
        if constexpr (symmetric) {
          const Vector<double> inner = load(to + u * lanes);
          upper[u] = accumulate<double, fused>(upper[u], meet<symmetry>(a[u], inner), weight);
          lower[u] = accumulate<double, fused>(lower[u], meet<symmetry>(next, c[u]), weight);
          c[u] = inner;
        } else {
          upper[u] = accumulate<double, fused>(upper[u], a[u], weight);
          lower[u] = accumulate<double, fused>(lower[u], next, weight);
        }
        a[u] = next;
      }
    }
#pragma GCC unroll 4
    for (int u = 0; u < kPairAcross; ++u) {
      store(out + i + u * lanes, upper[u]);
      store(out + out_pitch + i + u * lanes, lower[u]);
    }
  }
}

template <Symmetry symmetry, bool fused>
void correlate_rows(const double* x, int64_t pitch, int64_t rows, int64_t n, const double* weights,
                    int64_t taps, double* out, int64_t out_pitch) {
  for (int64_t i = 0; i < n; i += kColumns) {
    const int64_t columns = n - i < kColumns ? n - i : kColumns;
    int64_t row = 0;
    for (; row + 2 <= rows; row += 2)
      correlate_pair<symmetry, fused>(x + row * pitch + i, pitch, columns, weights, taps,
                                      out + row * out_pitch + i, out_pitch);
    if (row < rows)
      correlate_vectors<symmetry, fused>(x + row * pitch + i, pitch, columns, weights, taps,
                                         out + row * out_pitch + i);
  }
}

// f(integral_constant<Symmetry>, bool_constant<fused>)
template <class F>
void with_constants(Symmetry symmetry, bool fused, F&& f) {
  const auto with = [&](auto constant) {
    if (fused) return f(constant, std::true_type{});
    return f(constant, std::false_type{});
  };
  switch (symmetry) {
    case Symmetry::even:
      return with(std::integral_constant<Symmetry, Symmetry::even>{});
    case Symmetry::odd:
      return with(std::integral_constant<Symmetry, Symmetry::odd>{});
    case Symmetry::none:
      return with(std::integral_constant<Symmetry, Symmetry::none>{});
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

void correlate_line(const double* x, int64_t n, const LineKernel& kernel, Symmetry symmetry, bool fused,
                    double* out) {
  if (fused) {
    correlate_fused(x, n, kernel.weights, kernel.taps, out, std::make_integer_sequence<int, kLongest>{});
    return;
  }
  with_constants(symmetry, false, [&](auto s, auto) {
    correlate_vectors<decltype(s)::value, false>(x, 1, n, kernel.weights, kernel.taps, out);
  });
}

void correlate_columns(const double* x, int64_t x_pitch, int64_t rows, int64_t n, const LineKernel& kernel,
                       Symmetry symmetry, bool fused, double* out, int64_t out_pitch) {
  with_constants(symmetry, fused, [&](auto s, auto f) {
    correlate_rows<decltype(s)::value, decltype(f)::value>(x, x_pitch, rows, n, kernel.weights, kernel.taps,
                                                           out, out_pitch);
  });
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
