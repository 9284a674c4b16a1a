// The pixels that one thread has of a row at a time, and loads and stores of all of them.
//
// Sources, sinks and programs of rows are functions of one pixel, or have the type Strips and work on all of
// a thread's pixels at once:
//
//   source   void fill<R>(v, strip)                         instead of T (c, m, x)
//   sink     void drain<R>(v, strip, accumulator)           instead of void (value, c, m, x, accumulator)
//   program  Held<R> hold<R>(strip), before the values are there, and
//            void change<R>(v, held, strip, accumulator)    instead of T (value, c, m, x, accumulator)
#pragma once

#include "cuda/fft/complex.h"
#include "cuda/launch.h"

namespace fastdeblur::cuda {

// Element q of the row (c, m) is the pixel i + q span; of a packed row the pixels 2 (i + q span) and the
// next.
struct Strip {
  int c, m, i, span;
  bool packed;
  int plane;  // of several that are worked on at once

  FD_HD static Strip of_pixel(int c, int m, int x) { return {c, m, x, 0, false, 0}; }

  FD_HD int x(int q) const {
    const int j = i + q * span;
    return packed ? 2 * j : j;
  }
  // The last pixel of R elements.
  template <int R>
  FD_HD int last() const {
    return x(R - 1) + (packed ? 1 : 0);
  }
  // Elements from the q-th on.
  FD_HD Strip from(int q) const { return {c, m, i + q * span, span, packed, plane}; }
};

// f(x, value) for every pixel of the elements that `which` has set, one after the other: one copy of f, for
// what is seldom or long.
template <int R, class T, class F>
FD_HD void one_by_one(Complex<T> (&v)[R], const Strip& s, unsigned which, const F& f) {
  FD_LOOP
  for (int i = 0; i < 2 * R; ++i) {
    const int at = i >> 1, half = i & 1;
    if (!(which >> at & 1u) || (half && !s.packed)) continue;
    T value = T(0);
    FD_UNROLL
    for (int q = 0; q < R; ++q)
      if (q == at) value = half ? v[q].im : v[q].re;
    f(s.x(at) + half, value);
    FD_UNROLL
    for (int q = 0; q < R; ++q)
      if (q == at) (half ? v[q].im : v[q].re) = value;
  }
}

// Rows of T, contiguous: pairs of pixels in one access where they lie so.
template <class T>
FD_HD bool pairs_lie(const T* row) {
  return (reinterpret_cast<std::uintptr_t>(row) & (2 * sizeof(T) - 1)) == 0;
}
template <int R, class T>
FD_HD void load_row(const T* row, const Strip& s, Complex<T> (&v)[R]) {
  if (s.packed && pairs_lie(row)) {
    const auto* pairs = reinterpret_cast<const Complex<T>*>(row) + s.i;
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = pairs[q * s.span];
  } else {
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = {row[s.x(q)], s.packed ? row[s.x(q) + 1] : T(0)};
  }
}
template <int R, class T>
FD_HD void store_row(T* row, const Strip& s, const Complex<T> (&v)[R]) {
  if (s.packed && pairs_lie(row)) {
    auto* pairs = reinterpret_cast<Complex<T>*>(row) + s.i;
    FD_UNROLL
    for (int q = 0; q < R; ++q) pairs[q * s.span] = v[q];
  } else {
    FD_UNROLL
    for (int q = 0; q < R; ++q) {
      row[s.x(q)] = v[q].re;
      if (s.packed) row[s.x(q) + 1] = v[q].im;
    }
  }
}

}  // namespace fastdeblur::cuda
