// Registers of lanes, for the kernels of this folder.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/transpose.h"

#if defined(__AVX__)
#include <immintrin.h>
#endif
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// For the pieces of a kernel that must end up in one function, where its sums stay in registers.
#if defined(__GNUC__)
#define FASTDEBLUR_INLINE inline __attribute__((always_inline))
#else
#define FASTDEBLUR_INLINE inline
#endif

namespace fastdeblur::ndimage {

using std::int64_t;

#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
#elif defined(__AVX__)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif

#if defined(FASTDEBLUR_VECTOR_EXTENSIONS)
template <class T>
constexpr int kLanes = kRegisterBytes / static_cast<int>(sizeof(T));
template <class T>
using Vector = typename Register<T, kLanes<T>>::type;

template <class T>
FASTDEBLUR_INLINE Vector<T> load(const T* from) {
  return *reinterpret_cast<const typename Register<T, kLanes<T>>::unaligned*>(from);
}
template <class T>
FASTDEBLUR_INLINE void store(T* to, Vector<T> value) {
  *reinterpret_cast<typename Register<T, kLanes<T>>::unaligned*>(to) = value;
}
template <class T>
FASTDEBLUR_INLINE Vector<T> splat(T value) {
  return value - Vector<T>{};
}
#else
template <class T>
constexpr int kLanes = 1;
template <class T>
using Vector = T;

template <class T>
inline T load(const T* from) {
  return *from;
}
template <class T>
inline void store(T* to, T value) {
  *to = value;
}
template <class T>
inline T splat(T value) {
  return value;
}
#endif

// sum + x * w with one rounding where the processor has it, else with two.
FASTDEBLUR_INLINE Vector<double> multiply_add(Vector<double> x, Vector<double> w, Vector<double> sum) {
#if defined(FASTDEBLUR_VECTOR_EXTENSIONS) && defined(__AVX512F__)
  return _mm512_fmadd_pd(x, w, sum);
#elif defined(FASTDEBLUR_VECTOR_EXTENSIONS) && defined(__FMA__)
  return _mm256_fmadd_pd(x, w, sum);
#elif defined(FASTDEBLUR_VECTOR_EXTENSIONS) && defined(__aarch64__) && defined(__ARM_NEON)
  return vfmaq_f64(sum, x, w);
#else
  return sum + x * w;
#endif
}

// sum + x * w, fused where that is wanted and the processor can.
template <class T, bool fused>
FASTDEBLUR_INLINE Vector<T> accumulate(Vector<T> sum, Vector<T> x, Vector<T> w) {
  if constexpr (fused) return multiply_add(x, w, sum);
  return sum + x * w;
}

// Whether a kernel's products may be added unrounded: what opposite weights make 0 of must be 0, as with
// SciPy.
inline bool nothing_cancels(const double* weights, int64_t n) {
  return std::all_of(weights, weights + n, [](double weight) { return weight >= 0; });
}

}  // namespace fastdeblur::ndimage
