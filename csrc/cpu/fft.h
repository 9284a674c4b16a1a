// Batched 1-D transforms, one SIMD lane a signal. ducc0's FFT passes do the work; they are instantiated in
// fft.cpp only, because compiling them takes longer than all the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fastdeblur {

// Bytes of the widest registers that this translation unit is compiled for; 0 where there are none that ducc0
// uses.
#if defined(_MSC_VER) && !defined(__clang__)
#define FASTDEBLUR_REGISTER_BYTES 0
#elif defined(__AVX512F__)
#define FASTDEBLUR_REGISTER_BYTES 64
#elif defined(__AVX__)
#define FASTDEBLUR_REGISTER_BYTES 32
#elif defined(__SSE2__) || defined(__ARM_NEON)
#define FASTDEBLUR_REGISTER_BYTES 16
#else
#define FASTDEBLUR_REGISTER_BYTES 0
#endif

template <class T>
constexpr int native_lanes =
    FASTDEBLUR_REGISTER_BYTES ? FASTDEBLUR_REGISTER_BYTES / static_cast<int>(sizeof(T)) : 1;

// L is 1 or the native width: 1-D signals have nothing to fill lanes with. Both classes transform in place or
// into the copy, whichever the number of passes makes natural, and say where the result is. Nothing is
// normalised.

template <class T, int L>
class RealFft {
 public:
  explicit RealFft(std::int64_t n);
  std::int64_t length() const { return n_; }
  // Elements (of T) of the scratch that exec needs.
  std::int64_t scratch() const;
  // n signals' samples [n][L] to half-complex [r0 r1 i1 r2 i2 ...][L] or back.
  T* exec(T* in, T* copy, T* scratch, bool forward) const;

 private:
  std::int64_t n_;
  std::shared_ptr<const void> pass_;
};

template <class T, int L>
class ComplexFft {
 public:
  explicit ComplexFft(std::int64_t n);
  std::int64_t length() const { return n_; }
  std::int64_t scratch() const;
  // [n][re L | im L]
  T* exec(T* in, T* copy, T* scratch, bool forward) const;

 private:
  std::int64_t n_;
  std::shared_ptr<const void> pass_;
};

}  // namespace fastdeblur
