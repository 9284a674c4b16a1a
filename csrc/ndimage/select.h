// The median of registers of elements, lane by lane.
#pragma once

#include "ndimage/vector.h"

namespace fastdeblur::ndimage {

// Swaps lanes where a > b.
template <class V>
inline void exchange(V& a, V& b) {
  const V low = a < b ? a : b;
  b = a < b ? b : a;
  a = low;
}

template <class V>
inline V smaller(V a, V b) {
  return a < b ? a : b;
}

template <class V>
inline V larger(V a, V b) {
  return a < b ? b : a;
}

template <class V>
inline V median_of_3(V a, V b, V c) {
  return larger(smaller(a, b), smaller(larger(a, b), c));
}

// Moves the smallest of v[first] to v[last] to the front and the largest to the end.
template <class V>
FASTDEBLUR_INLINE void extremes_outside(V* v, int first, int last) {
#pragma GCC unroll 16
  for (int i = first, j = last; i < j; ++i, --j) exchange(v[i], v[j]);
  const int middle = (first + last) / 2;
#pragma GCC unroll 16
  for (int i = first + 1; i <= middle; ++i) exchange(v[first], v[i]);
#pragma GCC unroll 16
  for (int i = (first + last + 1) / 2; i < last; ++i) exchange(v[i], v[last]);
}

// The median of n (odd, >= 3) elements by forgetting: of n / 2 + 2 elements neither the smallest nor the
// largest can be it; both make room for the next one. next(k) gives element k; v has room for n / 2 + 2.
template <class V, class Next>
inline V select_median(int n, Next next, V* v) {
  int first = 0, last = n / 2 + 1;
  for (int k = 0; k <= last; ++k) v[k] = next(k);
  for (int k = last + 1;; ++k) {
    extremes_outside(v, first, last);
    if (k == n) return v[first + 1];
    --last;
    v[first] = next(k);
  }
}

namespace detail {

template <class V, int N, int Last, class Next>
FASTDEBLUR_INLINE V forget(V* v, const Next& next) {
  extremes_outside(v, 0, Last);
  if constexpr (Last == 2) {
    return v[1];
  } else {
    v[0] = next(N - Last + 2);
    return forget<V, N, Last - 1>(v, next);
  }
}

}  // namespace detail

// The same for a number that is known to the compiler: everything stays in registers.
template <int N, class V, class Next>
FASTDEBLUR_INLINE V select_median_of(const Next& next) {
  V v[N / 2 + 2];
  for (int k = 0; k < N / 2 + 2; ++k) v[k] = next(k);
  return detail::forget<V, N, N / 2 + 1>(v, next);
}

}  // namespace fastdeblur::ndimage
