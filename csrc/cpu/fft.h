// Batched 1-D transforms, one SIMD lane a signal, by ducc0's FFT passes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "ducc0/fft/fft.h"
#include "ducc0/fft/fft1d_impl.h"

namespace fastdeblur {

// L lanes of T as ducc0 knows them. L is 1 or the native width: 1-D signals have nothing to fill lanes with.
template <class T, int L>
struct Lanes {
  using type = typename ducc0::detail_simd::simd_select<T, L>::type;
};
template <class T>
struct Lanes<T, 1> {
  using type = T;
};

template <class T>
constexpr int native_lanes = static_cast<int>(ducc0::detail_simd::native_simd<T>::size());

// Both classes transform in place or into the copy, whichever the number of passes makes natural, and say where the result is.
// Nothing is normalised.

template <class T, int L>
class RealFft {
  using V = typename Lanes<T, L>::type;

 public:
  explicit RealFft(std::int64_t n)
      : n_(n), pass_(ducc0::detail_fft::rfftpass<T>::make_pass(static_cast<std::size_t>(n), L == 1)) {}
  std::int64_t length() const { return n_; }
  // Elements (of T) of the scratch that exec needs.
  std::int64_t scratch() const { return static_cast<std::int64_t>(pass_->bufsize()) * L; }
  // n signals' samples [n][L] to half-complex [r0 r1 i1 r2 i2 ...][L] or back.
  T* exec(T* in, T* copy, T* scratch, bool forward) const {
    static const auto type = ducc0::detail_fft::tidx<V*>();
    return static_cast<T*>(pass_->exec(type, in, copy, scratch, forward));
  }

 private:
  std::int64_t n_;
  ducc0::detail_fft::Trpass<T> pass_;
};

template <class T, int L>
class ComplexFft {
  using V = typename Lanes<T, L>::type;

 public:
  explicit ComplexFft(std::int64_t n)
      : n_(n), pass_(ducc0::detail_fft::cfftpass<T>::make_pass(static_cast<std::size_t>(n), L == 1)) {}
  std::int64_t length() const { return n_; }
  std::int64_t scratch() const { return static_cast<std::int64_t>(pass_->bufsize()) * 2 * L; }
  // [n][re L | im L]
  T* exec(T* in, T* copy, T* scratch, bool forward) const {
    static const auto type = ducc0::detail_fft::tidx<ducc0::Cmplx<V>*>();
    return static_cast<T*>(pass_->exec(type, in, copy, scratch, forward));
  }

 private:
  std::int64_t n_;
  ducc0::detail_fft::Tcpass<T> pass_;
};

}  // namespace fastdeblur
