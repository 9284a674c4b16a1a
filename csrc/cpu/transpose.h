// Transposes of L x L blocks in registers: between rows in memory and SIMD lanes, one lane a row.
#pragma once

#include <cstddef>
#include <utility>

namespace fastdeblur {

// Shuffles of vector extensions: clang, and GCC from 12 on.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define FASTDEBLUR_VECTOR_EXTENSIONS 1
#endif
#endif

#if defined(FASTDEBLUR_VECTOR_EXTENSIONS)

template <class T, int L>
struct Register {
  typedef T type __attribute__((vector_size(L * sizeof(T))));
  typedef T unaligned __attribute__((vector_size(L * sizeof(T)), aligned(alignof(T)), may_alias));
};

namespace detail {

// Index sequences over pairs of registers (a: 0..L-1, b: L..2L-1). Within a group of G lanes interleave
// pieces of P lanes: low takes the pieces of the group's first half, high those of the second.
template <int L, int G, int P, bool High, std::size_t... I>
auto interleave(const typename Register<float, L>::type& a, const typename Register<float, L>::type& b,
                std::index_sequence<I...>) {
  return __builtin_shufflevector(
      a, b, ((I / G) * G + (High ? G / 2 : 0) + (I % G) / (2 * P) * P + I % P + ((I / P) % 2 ? L : 0))...);
}
template <int L, int G, int P, bool High, std::size_t... I>
auto interleave(const typename Register<double, L>::type& a, const typename Register<double, L>::type& b,
                std::index_sequence<I...>) {
  return __builtin_shufflevector(
      a, b, ((I / G) * G + (High ? G / 2 : 0) + (I % G) / (2 * P) * P + I % P + ((I / P) % 2 ? L : 0))...);
}

// Exchange of the off-diagonal B x B blocks of rows i and i + B.
template <int L, int B, bool Second, std::size_t... I>
auto exchange(const auto& a, const auto& b, std::index_sequence<I...>) {
  return __builtin_shufflevector(a, b, ((I & B) == 0 ? I + (Second ? B : 0) : I + L - (Second ? 0 : B))...);
}

}  // namespace detail

// out[j * out_stride + i] = row(i)[j] for i, j < L. row(i) gives the address of the i-th row.
template <class T, int L, class Row>
inline __attribute__((always_inline)) void transpose_block(Row row, T* out, std::ptrdiff_t out_stride) {
  using V = typename Register<T, L>::type;
  using U = typename Register<T, L>::unaligned;
  if constexpr (L == 1) {
    out[0] = *row(0);
  } else {
    constexpr auto all = std::make_index_sequence<L>{};
    constexpr int lane =
        L * sizeof(T) < 16 ? L : 16 / static_cast<int>(sizeof(T));  // elements in 128 bits: cheap shuffles
    V r[L];
    for (int i = 0; i < L; ++i) r[i] = *reinterpret_cast<const U*>(row(i));
    // Within 128 bits: 4 x 4 by two interleavings, 2 x 2 by one.
    if constexpr (lane == 4) {
      for (int i = 0; i < L; i += 4) {
        const V a = detail::interleave<L, 4, 1, false>(r[i], r[i + 1], all);
        const V b = detail::interleave<L, 4, 1, true>(r[i], r[i + 1], all);
        const V c = detail::interleave<L, 4, 1, false>(r[i + 2], r[i + 3], all);
        const V d = detail::interleave<L, 4, 1, true>(r[i + 2], r[i + 3], all);
        r[i] = detail::interleave<L, 4, 2, false>(a, c, all);
        r[i + 1] = detail::interleave<L, 4, 2, true>(a, c, all);
        r[i + 2] = detail::interleave<L, 4, 2, false>(b, d, all);
        r[i + 3] = detail::interleave<L, 4, 2, true>(b, d, all);
      }
    } else {
      for (int i = 0; i < L; i += 2) {
        const V a = detail::interleave<L, 2, 1, false>(r[i], r[i + 1], all);
        r[i + 1] = detail::interleave<L, 2, 1, true>(r[i], r[i + 1], all);
        r[i] = a;
      }
    }
    if constexpr (L >= 2 * lane) {
      for (int i = 0; i < L; ++i)
        if ((i & lane) == 0) {
          const V a = detail::exchange<L, lane, false>(r[i], r[i + lane], all);
          r[i + lane] = detail::exchange<L, lane, true>(r[i], r[i + lane], all);
          r[i] = a;
        }
    }
    if constexpr (L >= 4 * lane) {
      for (int i = 0; i < L; ++i)
        if ((i & (2 * lane)) == 0) {
          const V a = detail::exchange<L, 2 * lane, false>(r[i], r[i + 2 * lane], all);
          r[i + 2 * lane] = detail::exchange<L, 2 * lane, true>(r[i], r[i + 2 * lane], all);
          r[i] = a;
        }
    }
    for (int i = 0; i < L; ++i) *reinterpret_cast<U*>(out + i * out_stride) = r[i];
  }
}

#else  // compilers without vector extensions

template <class T, int L, class Row>
inline void transpose_block(Row row, T* out, std::ptrdiff_t out_stride) {
  T block[L][L];
  for (int i = 0; i < L; ++i)
    for (int j = 0; j < L; ++j) block[j][i] = row(i)[j];
  for (int j = 0; j < L; ++j)
    for (int i = 0; i < L; ++i) out[j * out_stride + i] = block[j][i];
}

#endif

}  // namespace fastdeblur
