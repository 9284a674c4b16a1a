// Numbers of 16 bits, and vectors of eight of them: what values on a device are made of.
//
// A value lies as [row][column][channel], its channels padded to a multiple of 8 with zeros.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/host_device.h"

namespace fastdeblur::cuda::nn {

using std::int64_t;

enum class Format { half, bfloat, single };

struct Half {
  std::uint16_t bits;
};
struct Bfloat {
  std::uint16_t bits;
};

template <class T>
constexpr Format format_of = Format::single;
template <>
inline constexpr Format format_of<Half> = Format::half;
template <>
inline constexpr Format format_of<Bfloat> = Format::bfloat;

FD_HD constexpr int size_of(Format f) { return f == Format::single ? 4 : 2; }

// --- conversions, to the nearest and of two equally near to the even one ---

#if !defined(__CUDA_ARCH__)
inline float float_of_half(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = static_cast<float>(fraction) * 0x1p-24f;
  return sign ? -small : small;
}

inline std::uint16_t half_of_float(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x), sign = bits >> 16 & 0x8000;
  std::uint32_t size = bits & 0x7fffffff;
  if (size > 0x7f800000) return static_cast<std::uint16_t>(sign | 0x7fff);
  if (size >= 0x477ff000) return static_cast<std::uint16_t>(sign | 0x7c00);
  if (size < 0x38800000) {  // below the normal ones: whole multiples of 2^-24
    const float shifted = std::bit_cast<float>(size) + 0.5f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000));
  }
  size += 0xfff + (size >> 13 & 1);
  return static_cast<std::uint16_t>(sign | ((size >> 13) - (112 << 10)));
}

inline std::uint16_t bfloat_of_float(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#endif

FD_HD float to_float(Half h) {
#if defined(__CUDA_ARCH__)
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h.bits));
  return x;
#else
  return float_of_half(h.bits);
#endif
}

FD_HD float to_float(Bfloat b) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(static_cast<std::uint32_t>(b.bits) << 16);
#else
  return std::bit_cast<float>(static_cast<std::uint32_t>(b.bits) << 16);
#endif
}

FD_HD float to_float(float x) { return x; }

FD_HD void set(Half& h, float x) {
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(x));
#else
  h.bits = half_of_float(x);
#endif
}

FD_HD void set(Bfloat& b, float x) {
#if defined(__CUDA_ARCH__)
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b.bits) : "f"(x));
#else
  b.bits = bfloat_of_float(x);
#endif
}

FD_HD void set(float& y, float x) { y = x; }

// --- memory ---

// 16 bytes.
struct alignas(16) Words {
  std::uint32_t w[4];
};

FD_HD Words load_words(const void* p) {
#if defined(__CUDA_ARCH__)
  const uint4 v = *static_cast<const uint4*>(p);
  return {{v.x, v.y, v.z, v.w}};
#else
  Words v;
  std::memcpy(&v, p, sizeof v);
  return v;
#endif
}

FD_HD void store_words(void* p, const Words& v) {
#if defined(__CUDA_ARCH__)
  *static_cast<uint4*>(p) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]);
#else
  std::memcpy(p, &v, sizeof v);
#endif
}

FD_HD float single_of(std::uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}
FD_HD std::uint32_t bits_of(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return std::bit_cast<std::uint32_t>(x);
#endif
}

template <class T>
FD_HD void unpack(const Words& words, float (&v)[8]) {
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = to_float(T{static_cast<std::uint16_t>(words.w[i] & 0xffff)});
    v[2 * i + 1] = to_float(T{static_cast<std::uint16_t>(words.w[i] >> 16)});
  }
}

template <class T>
FD_HD Words packed(const float (&v)[8]) {
  Words words{};
  for (int i = 0; i < 4; ++i) {
    T low, high;
    set(low, v[2 * i]);
    set(high, v[2 * i + 1]);
    words.w[i] = low.bits | static_cast<std::uint32_t>(high.bits) << 16;
  }
  return words;
}

// The i-th eight numbers at p.
FD_HD void load8(const void* p, int64_t i, Format f, float (&v)[8]) {
  if (f == Format::single) {
    const char* at = static_cast<const char*>(p) + 32 * i;
    const Words low = load_words(at), high = load_words(at + 16);
    for (int j = 0; j < 4; ++j) {
      v[j] = single_of(low.w[j]);
      v[j + 4] = single_of(high.w[j]);
    }
    return;
  }
  const Words words = load_words(static_cast<const char*>(p) + 16 * i);
  if (f == Format::half)
    unpack<Half>(words, v);
  else
    unpack<Bfloat>(words, v);
}

// Zeros where there are none to load.
FD_HD void load8_or_0(const void* p, int64_t i, Format f, bool there, float (&v)[8]) {
  const char* at = static_cast<const char*>(p) + i * (8 * size_of(f));
  Words low{}, high{};
  if (there) low = load_words(at);
  if (f == Format::single) {
    if (there) high = load_words(at + 16);
    for (int j = 0; j < 4; ++j) {
      v[j] = single_of(low.w[j]);
      v[j + 4] = single_of(high.w[j]);
    }
  } else if (f == Format::half) {
    unpack<Half>(low, v);
  } else {
    unpack<Bfloat>(low, v);
  }
}

FD_HD void store8(void* p, int64_t i, Format f, const float (&v)[8]) {
  if (f == Format::single) {
    char* at = static_cast<char*>(p) + 32 * i;
    store_words(at, {{bits_of(v[0]), bits_of(v[1]), bits_of(v[2]), bits_of(v[3])}});
    store_words(at + 16, {{bits_of(v[4]), bits_of(v[5]), bits_of(v[6]), bits_of(v[7])}});
    return;
  }
  store_words(static_cast<char*>(p) + 16 * i, f == Format::half ? packed<Half>(v) : packed<Bfloat>(v));
}

FD_HD float load1(const void* p, int64_t i, Format f) {
  if (f == Format::single) return static_cast<const float*>(p)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(p)[i];
  return f == Format::half ? to_float(Half{bits}) : to_float(Bfloat{bits});
}

FD_HD void store1(void* p, int64_t i, Format f, float x) {
  if (f == Format::single) {
    static_cast<float*>(p)[i] = x;
    return;
  }
  std::uint16_t bits;
  if (f == Format::half) {
    Half h;
    set(h, x);
    bits = h.bits;
  } else {
    Bfloat b;
    set(b, x);
    bits = b.bits;
  }
  static_cast<std::uint16_t*>(p)[i] = bits;
}

}  // namespace fastdeblur::cuda::nn
