// Coefficients that are exactly 0 do not count in the noise estimate, and those of a flat patch are 0 or not
// by rounding alone: products are rounded before they are added, in PyWavelets' order, as its builds for
// x86-64 do.
#include "restoration/db2_detail.h"

#include <array>
#include <cmath>

#include "cpu/parallel.h"

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace fastdeblur::restoration {
namespace {

// Daubechies 1988, doi:10.1002/cpa.3160410705: (1 -+ sqrt 3) / (4 sqrt 2) and (3 -+ sqrt 3) / (4 sqrt 2).
template <class T>
constexpr T kHighPass[4] = {T(-0.48296291314453416), T(0.8365163037378079), T(-0.2241438680420134),
                            T(-0.12940952255126037)};

// Where sample i of the mirrored axis comes from.
inline std::int64_t mirrored(std::int64_t i, std::int64_t n) {
  const std::int64_t folded = ((i % (2 * n)) + 2 * n) % (2 * n);
  return folded < n ? folded : 2 * n - 1 - folded;
}

// What makes output o, in the order of the sum: taps beyond the far end come first, the farthest leading.
template <class T>
struct Taps {
  T weight[4];
  std::int64_t from[4];

  Taps(std::int64_t o, std::int64_t n) {
    const std::int64_t i = 2 * o + 1, beyond = i >= n ? i - n + 1 : 0;
    for (std::int64_t k = 0; k < 4; ++k) {
      const std::int64_t tap = k < beyond ? beyond - 1 - k : k;
      weight[k] = kHighPass<T>[tap];
      from[k] = mirrored(i - tap, n);
    }
  }
};

template <class T>
T filtered(const T* weight, T a, T b, T c, T d) {
  return ((weight[0] * a + weight[1] * b) + weight[2] * c) + weight[3] * d;
}

template <class T>
void along_rows(const T* in, std::int64_t n, T* out) {
  const std::int64_t m = db2_length(n);
  auto at_border = [&](std::int64_t o) {
    const Taps<T> t(o, n);
    out[o] = filtered(t.weight, in[t.from[0]], in[t.from[1]], in[t.from[2]], in[t.from[3]]);
  };
  at_border(0);
  std::int64_t o = 1;
  for (; 2 * o + 1 < n; ++o)
    out[o] = filtered(kHighPass<T>, in[2 * o + 1], in[2 * o], in[2 * o - 1], in[2 * o - 2]);
  for (; o < m; ++o) at_border(o);
}

}  // namespace

template <class T>
void db2_detail(const T* in, std::int64_t outer, std::int64_t n, std::int64_t inner, T* out, int n_threads) {
  const std::int64_t m = db2_length(n);
  const bool small = static_cast<double>(outer) * static_cast<double>(n * inner) < (1 << 21);
  const int threads = small ? 1 : n_threads;
  if (inner == 1) {
    const std::int64_t run = n < 4096 ? 4096 / n + 1 : 1;
    parallel_for((outer + run - 1) / run, threads, [&](std::int64_t k) {
      for (std::int64_t r = k * run; r < outer && r < (k + 1) * run; ++r)
        along_rows(in + r * n, n, out + r * m);
    });
    return;
  }
  parallel_for(outer * m, threads, [&](std::int64_t k) {
    const T* slab = in + k / m * n * inner;
    const Taps<T> t(k % m, n);
    const T *a = slab + t.from[0] * inner, *b = slab + t.from[1] * inner, *c = slab + t.from[2] * inner,
            *d = slab + t.from[3] * inner;
    T* to = out + k * inner;
    for (std::int64_t x = 0; x < inner; ++x) to[x] = filtered(t.weight, a[x], b[x], c[x], d[x]);
  });
}

template void db2_detail<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*, int);
template void db2_detail<double>(const double*, std::int64_t, std::int64_t, std::int64_t, double*, int);

}  // namespace fastdeblur::restoration
