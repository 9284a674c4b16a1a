// Complex numbers that load and store as one access, and the few integer tricks that index them.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace fastdeblur::cuda {

template <class T>
struct alignas(2 * sizeof(T)) Complex {
  T re, im;
};

template <class T>
FD_HD Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
FD_HD Complex<T> operator-(Complex<T> a, Complex<T> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class T>
FD_HD Complex<T> operator*(Complex<T> a, Complex<T> b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
template <class T>
FD_HD Complex<T> conj(Complex<T> a) {
  return {a.re, -a.im};
}
template <class T>
FD_HD Complex<T> times_i(Complex<T> a) {
  return {-a.im, a.re};
}
template <class T>
FD_HD Complex<T> times_minus_i(Complex<T> a) {
  return {a.im, -a.re};
}
// i conj(a). The inverse transform of a is swap(forward transform of swap(a)): the kernels need one
// direction.
template <class T>
FD_HD Complex<T> swapped(Complex<T> a) {
  return {a.im, a.re};
}

// x / divisor for 0 <= x < 2^16 and 0 < divisor <= 2^16: with m = ceil(2^32 / d), x (m d - 2^32) < x d stays
// below 2^32, so that the product's high word is the quotient. (For d up to 4 it is for all x below 2^31.)
struct Divider {
  std::uint32_t divisor = 1, factor = 0;

  Divider() = default;
  explicit Divider(int d)
      : divisor(static_cast<std::uint32_t>(d)),
        factor(static_cast<std::uint32_t>(d == 1 ? 0 : ((std::uint64_t(1) << 32) + divisor - 1) / divisor)) {}

  FD_HD int operator()(int x) const {
    const auto high =
        static_cast<std::uint32_t>((std::uint64_t(static_cast<std::uint32_t>(x)) * factor) >> 32);
    return static_cast<int>(divisor == 1 ? static_cast<std::uint32_t>(x) : high);
  }
  FD_HD int value() const { return static_cast<int>(divisor); }
};

}  // namespace fastdeblur::cuda
