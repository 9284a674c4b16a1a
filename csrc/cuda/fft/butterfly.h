// Discrete Fourier transforms of a few values in registers: v[k] <- sum over j of v[j] exp(-2 pi i j k / R).
#pragma once

#include "cuda/fft/complex.h"
#include "cuda/launch.h"

namespace fastdeblur::cuda {

// cos and sin of 2 pi k / R, 0 <= k < R. With k known at compile time they are constants of the code; tables
// outside of a function would be memory, and of the host only.
template <class T, int R>
struct Angles;

template <class T>
struct Angles<T, 3> {
  FD_HD static T cosine(int k) {
    constexpr T c[] = {T(1.0), T(-0.5)};
    return c[2 * k > 3 ? 3 - k : k];
  }
  FD_HD static T sine(int k) {
    constexpr T s[] = {T(0.0), T(0.86602540378443864676)};
    return 2 * k > 3 ? -s[3 - k] : s[k];
  }
};

template <class T>
struct Angles<T, 5> {
  FD_HD static T cosine(int k) {
    constexpr T c[] = {T(1.0), T(0.3090169943749474241), T(-0.8090169943749474241)};
    return c[2 * k > 5 ? 5 - k : k];
  }
  FD_HD static T sine(int k) {
    constexpr T s[] = {T(0.0), T(0.95105651629515357212), T(0.58778525229247312917)};
    return 2 * k > 5 ? -s[5 - k] : s[k];
  }
};

template <class T>
struct Angles<T, 7> {
  FD_HD static T cosine(int k) {
    constexpr T c[] = {T(1.0), T(0.62348980185873353053), T(-0.22252093395631440429),
                       T(-0.90096886790241912624)};
    return c[2 * k > 7 ? 7 - k : k];
  }
  FD_HD static T sine(int k) {
    constexpr T s[] = {T(0.0), T(0.78183148246802980871), T(0.97492791218182360702),
                       T(0.43388373911755812048)};
    return 2 * k > 7 ? -s[7 - k] : s[k];
  }
};

template <class T>
struct Angles<T, 11> {
  FD_HD static T cosine(int k) {
    constexpr T c[] = {T(1.0),
                       T(0.84125353283118116886),
                       T(0.41541501300188642553),
                       T(-0.14231483827328514044),
                       T(-0.65486073394528506406),
                       T(-0.95949297361449738989)};
    return c[2 * k > 11 ? 11 - k : k];
  }
  FD_HD static T sine(int k) {
    constexpr T s[] = {T(0.0),
                       T(0.54064081745559758211),
                       T(0.90963199535451837141),
                       T(0.98982144188093273238),
                       T(0.75574957435425828377),
                       T(0.28173255684142969771)};
    return 2 * k > 11 ? -s[11 - k] : s[k];
  }
};

template <class T>
struct Angles<T, 13> {
  FD_HD static T cosine(int k) {
    constexpr T c[] = {T(1.0),
                       T(0.8854560256532098959),
                       T(0.56806474673115580251),
                       T(0.12053668025532305335),
                       T(-0.35460488704253562597),
                       T(-0.74851074817110109863),
                       T(-0.97094181742605202716)};
    return c[2 * k > 13 ? 13 - k : k];
  }
  FD_HD static T sine(int k) {
    constexpr T s[] = {T(0.0),
                       T(0.46472317204376854566),
                       T(0.82298386589365639458),
                       T(0.9927088740980539928),
                       T(0.93501624268541482344),
                       T(0.66312265824079520238),
                       T(0.23931566428755776715)};
    return 2 * k > 13 ? -s[13 - k] : s[k];
  }
};

// Odd primes, by the sums and differences of the values that share their angles.
template <int R, class T>
FD_HD void dft_odd(Complex<T>* v) {
  constexpr int H = (R - 1) / 2;
  Complex<T> sum[H], difference[H], total = v[0];
  FD_UNROLL
  for (int k = 1; k <= H; ++k) {
    sum[k - 1] = v[k] + v[R - k];
    difference[k - 1] = v[k] - v[R - k];
    total = total + sum[k - 1];
  }
  FD_UNROLL
  for (int m = 1; m <= H; ++m) {
    Complex<T> even = v[0], odd{T(0), T(0)};
    FD_UNROLL
    for (int k = 1; k <= H; ++k) {
      const T c = Angles<T, R>::cosine(m * k % R), s = Angles<T, R>::sine(m * k % R);
      even = {even.re + c * sum[k - 1].re, even.im + c * sum[k - 1].im};
      odd = {odd.re + s * difference[k - 1].re, odd.im + s * difference[k - 1].im};
    }
    v[m] = even + times_minus_i(odd);
    v[R - m] = even + times_i(odd);
  }
  v[0] = total;
}

template <class T>
FD_HD void dft_2(Complex<T>& a, Complex<T>& b) {
  const Complex<T> sum = a + b;
  b = a - b;
  a = sum;
}

// a, b, c, d -> X0, X1, X2, X3
template <class T>
FD_HD void dft_4(Complex<T>& a, Complex<T>& b, Complex<T>& c, Complex<T>& d) {
  dft_2(a, c);
  dft_2(b, d);
  d = times_minus_i(d);
  dft_2(a, b);
  dft_2(c, d);
  const Complex<T> x2 = b;
  b = c;
  c = x2;
}

template <class T>
FD_HD void dft_8(Complex<T>* v) {
  dft_4(v[0], v[2], v[4], v[6]);
  dft_4(v[1], v[3], v[5], v[7]);
  const T h = T(0.70710678118654752440);
  v[3] = {(v[3].re + v[3].im) * h, (v[3].im - v[3].re) * h};
  v[5] = times_minus_i(v[5]);
  v[7] = {(v[7].im - v[7].re) * h, -(v[7].re + v[7].im) * h};
  dft_2(v[0], v[1]);
  dft_2(v[2], v[3]);
  dft_2(v[4], v[5]);
  dft_2(v[6], v[7]);
  // v[2 k] = X[k], v[2 k + 1] = X[k + 4]
  const Complex<T> x1 = v[2], x2 = v[4], x3 = v[6], x4 = v[1], x5 = v[3], x6 = v[5];
  v[1] = x1;
  v[2] = x2;
  v[3] = x3;
  v[4] = x4;
  v[5] = x5;
  v[6] = x6;
}

template <int R, class T>
FD_HD void dft(Complex<T>* v) {
  if constexpr (R == 2) dft_2(v[0], v[1]);
  if constexpr (R == 4) dft_4(v[0], v[1], v[2], v[3]);
  if constexpr (R == 8) dft_8(v);
  if constexpr (R % 2 == 1 && R > 1) dft_odd<R>(v);
}

}  // namespace fastdeblur::cuda
