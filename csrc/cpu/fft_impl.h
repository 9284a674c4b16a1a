// What fft_f32.cpp and fft_f64.cpp instantiate.
#pragma once

#include "cpu/fft.h"
#include "ducc0/infra/simd.h"

// ducc0 compiles every pass for half and quarter registers too. We ask for whole ones and scalars only, and
// say so before the passes are defined; it halves the time to compile them.
#if !defined(DUCC0_HOMEGROWN_SIMD) && !defined(DUCC0_NO_SIMD)
namespace ducc0::detail_simd {
template <>
constexpr inline bool simd_exists<float, fastdeblur::native_lanes<float> / 2> = false;
template <>
constexpr inline bool simd_exists<double, fastdeblur::native_lanes<double> / 2> = false;
#if defined(__AVX__)
template <>
constexpr inline bool simd_exists<float, fastdeblur::native_lanes<float> / 4> = false;
template <>
constexpr inline bool simd_exists<double, fastdeblur::native_lanes<double> / 4> = false;
#endif
#if defined(__AVX512F__)
template <>
constexpr inline bool simd_exists<float, fastdeblur::native_lanes<float> / 8> = false;
#endif
}  // namespace ducc0::detail_simd
#endif

#include "ducc0/fft/fft.h"
#include "ducc0/fft/fft1d_impl.h"

namespace fastdeblur {

namespace detail {

template <class T, int L>
struct Lanes {
  static_assert(L == static_cast<int>(ducc0::detail_simd::native_simd<T>::size()),
                "cpu/fft.h and ducc0 disagree on the registers");
  using type = ducc0::detail_simd::native_simd<T>;
};
template <class T>
struct Lanes<T, 1> {
  using type = T;
};

template <class T>
const ducc0::detail_fft::rfftpass<T>& real_pass(const std::shared_ptr<const void>& p) {
  return *static_cast<const ducc0::detail_fft::rfftpass<T>*>(p.get());
}
template <class T>
const ducc0::detail_fft::cfftpass<T>& complex_pass(const std::shared_ptr<const void>& p) {
  return *static_cast<const ducc0::detail_fft::cfftpass<T>*>(p.get());
}

}  // namespace detail

// A lone signal gets ducc0's own vectorisation, along the signal.
template <class T, int L>
RealFft<T, L>::RealFft(std::int64_t n)
    : n_(n), pass_(ducc0::detail_fft::rfftpass<T>::make_pass(static_cast<std::size_t>(n), L == 1)) {}

template <class T, int L>
std::int64_t RealFft<T, L>::scratch() const {
  return static_cast<std::int64_t>(detail::real_pass<T>(pass_).bufsize()) * L;
}

template <class T, int L>
T* RealFft<T, L>::exec(T* in, T* copy, T* scratch, bool forward) const {
  static const auto type = ducc0::detail_fft::tidx<typename detail::Lanes<T, L>::type*>();
  return static_cast<T*>(detail::real_pass<T>(pass_).exec(type, in, copy, scratch, forward));
}

template <class T, int L>
ComplexFft<T, L>::ComplexFft(std::int64_t n)
    : n_(n), pass_(ducc0::detail_fft::cfftpass<T>::make_pass(static_cast<std::size_t>(n), L == 1)) {}

template <class T, int L>
std::int64_t ComplexFft<T, L>::scratch() const {
  return static_cast<std::int64_t>(detail::complex_pass<T>(pass_).bufsize()) * 2 * L;
}

template <class T, int L>
T* ComplexFft<T, L>::exec(T* in, T* copy, T* scratch, bool forward) const {
  static const auto type = ducc0::detail_fft::tidx<ducc0::Cmplx<typename detail::Lanes<T, L>::type>*>();
  return static_cast<T*>(detail::complex_pass<T>(pass_).exec(type, in, copy, scratch, forward));
}

}  // namespace fastdeblur
