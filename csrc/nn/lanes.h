// Registers of native width, and what the layers compute in them.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "cpu/fft.h"
#include "cpu/transpose.h"

namespace fastdeblur::nn {

// Channels that share a register: values are stored [row][block of L channels][column][L].
constexpr int L = native_lanes<float>;

#if defined(FASTDEBLUR_VECTOR_EXTENSIONS)
using V = typename Register<float, L>::type;
inline V load(const float* p) { return *reinterpret_cast<const typename Register<float, L>::unaligned*>(p); }
inline void store(float* p, V v) { *reinterpret_cast<typename Register<float, L>::unaligned*>(p) = v; }
template <std::size_t... I>
inline V broadcast(float x, std::index_sequence<I...>) {
  return V{((void)I, x)...};
}
inline V broadcast(float x) { return broadcast(x, std::make_index_sequence<L>{}); }
#else
struct V {
  float lane[L];
  float& operator[](int j) { return lane[j]; }
  float operator[](int j) const { return lane[j]; }
};
inline V load(const float* p) {
  V v;
  std::memcpy(v.lane, p, sizeof v.lane);
  return v;
}
inline void store(float* p, const V& v) { std::memcpy(p, v.lane, sizeof v.lane); }
inline V broadcast(float x) {
  V v;
  for (float& lane : v.lane) lane = x;
  return v;
}
template <class F>
V each_lane(const V& a, const V& b, F f) {
  V v;
  for (int j = 0; j < L; ++j) v.lane[j] = f(a.lane[j], b.lane[j]);
  return v;
}
inline V operator+(const V& a, const V& b) {
  return each_lane(a, b, [](float x, float y) { return x + y; });
}
inline V operator-(const V& a, const V& b) {
  return each_lane(a, b, [](float x, float y) { return x - y; });
}
inline V operator*(const V& a, const V& b) {
  return each_lane(a, b, [](float x, float y) { return x * y; });
}
inline V& operator+=(V& a, const V& b) { return a = a + b; }
#endif

// result[p] = the sum of rows[p][0..L), for L rows.
inline void row_totals(const float* rows, float* result) {
  alignas(64) float turned[L * L];
  transpose_block<float, L>([&](int j) { return rows + j * L; }, turned, L);
  V sum = load(turned);
  for (int j = 1; j < L; ++j) sum += load(turned + j * L);
  store(result, sum);
}

// --- functions of one number, free of branches, so that loops over them vectorise ---

// e^x within 2 units in the last place; 0 and infinity where it leaves the numbers' range.
inline float exp_of(float x) {
  const float low = -87.33654f, high = 88.72283f;
  const float inside = x < low ? low : x > high ? high : x;
  // x = n ln 2 + r, |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to whole numbers.
  const float shift = 12582912.0f;
  const float n = (inside * 1.44269504f + shift) - shift;
  const float r = (inside - n * 0.693359375f) + n * 2.12194440e-4f;
  // Taylor's series to r^7: the rest is below 3e-9.
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  // Half of the exponent at a time: 2^128 is no number.
  const auto k = static_cast<std::int32_t>(n);
  const std::int32_t half = k >> 1;
  const float a = std::bit_cast<float>((half + 127) << 23), b = std::bit_cast<float>((k - half + 127) << 23);
  const float value = p * a * b;
  return x != x ? x : x < low ? 0.0f : x > high ? std::bit_cast<float>(0x7f800000) : value;
}

inline float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

inline float tanh_of(float x) {
  const float size = x < 0 ? -x : x;
  const float e = exp_of(-2.0f * size);
  const float far = (1.0f - e) / (1.0f + e);
  // Near 0 the difference above cancels.
  const float s = x * x;
  const float near =
      size * (1.0f + s * (-0.333333333f + s * (0.133333333f + s * (-0.0539682540f + s * 0.0218694885f))));
  const float value = size < 0.25f ? near : far;
  return x < 0 ? -value : x != x ? x : value;
}

// The error function within 3e-7: Abramowitz and Stegun 1964, 7.1.26; its series where that would cancel.
inline float erf_of(float x) {
  const float size = x < 0 ? -x : x;
  const float t = 1.0f / (1.0f + 0.3275911f * size);
  const float p =
      t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
  const float far = 1.0f - p * exp_of(-size * size);
  const float s = size * size;
  const float near =
      size *
      (1.128379167f + s * (-0.376126389f + s * (0.112837917f + s * (-0.0268661706f + s * 0.00522397762f))));
  const float value = size < 0.3f ? near : far;
  return x < 0 ? -value : x != x ? x : value;
}

inline float gelu_of(float x) { return 0.5f * x * (1.0f + erf_of(x * 0.707106781f)); }
inline float gelu_tanh_of(float x) {
  return 0.5f * x * (1.0f + tanh_of(0.797884561f * (x + 0.044715f * x * x * x)));
}

// What may follow a convolution while its result is still in registers.
struct Activation {
  enum Kind { none, relu, leaky, sigmoid, tanh, gelu, gelu_tanh } kind = none;
  float slope = 0;  // leaky: below 0

  // n numbers in place.
  void apply(float* x, std::int64_t n) const {
    switch (kind) {
      case none:
        return;
      case relu:
        for (std::int64_t i = 0; i < n; ++i) x[i] = x[i] < 0.0f ? 0.0f : x[i];
        return;
      case leaky:
        for (std::int64_t i = 0; i < n; ++i) x[i] = x[i] < 0.0f ? x[i] * slope : x[i];
        return;
      case sigmoid:
        for (std::int64_t i = 0; i < n; ++i) x[i] = sigmoid_of(x[i]);
        return;
      case tanh:
        for (std::int64_t i = 0; i < n; ++i) x[i] = tanh_of(x[i]);
        return;
      case gelu:
        for (std::int64_t i = 0; i < n; ++i) x[i] = gelu_of(x[i]);
        return;
      case gelu_tanh:
        for (std::int64_t i = 0; i < n; ++i) x[i] = gelu_tanh_of(x[i]);
        return;
    }
  }
};

}  // namespace fastdeblur::nn
