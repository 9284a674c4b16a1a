// What layers do to one number alone, for every engine.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace fastdeblur::nn {

// --- functions of one number, free of branches, so that loops over them vectorise ---

FD_HD float float_of_bits(std::int32_t bits) {
#if defined(__CUDA_ARCH__)
  return __int_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

// e^x within 2 units in the last place; 0 and infinity where it leaves the numbers' range.
FD_HD float exp_of(float x) {
  const float low = -87.33654f, high = 88.72283f;
  const float inside =
      x > low ? (x < high ? x : high) : low;  // NaN, which no integer stands for, becomes low
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
  const float a = float_of_bits((half + 127) << 23), b = float_of_bits((k - half + 127) << 23);
  const float value = p * a * b;
  return x != x ? x : x < low ? 0.0f : x > high ? float_of_bits(0x7f800000) : value;
}

FD_HD float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }

FD_HD float tanh_of(float x) {
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
FD_HD float erf_of(float x) {
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

FD_HD float gelu_of(float x) { return 0.5f * x * (1.0f + erf_of(x * 0.707106781f)); }
FD_HD float gelu_tanh_of(float x) {
  return 0.5f * x * (1.0f + tanh_of(0.797884561f * (x + 0.044715f * x * x * x)));
}

// What may follow a convolution while its result is still in registers.
struct Activation {
  enum Kind { none, relu, leaky, sigmoid, tanh, gelu, gelu_tanh } kind = none;
  float slope = 0;  // leaky: below 0

  FD_HD float operator()(float x) const {
    switch (kind) {
      case none:
        return x;
      case relu:
        return x < 0.0f ? 0.0f : x;
      case leaky:
        return x < 0.0f ? x * slope : x;
      case sigmoid:
        return sigmoid_of(x);
      case tanh:
        return tanh_of(x);
      case gelu:
        return gelu_of(x);
      case gelu_tanh:
        return gelu_tanh_of(x);
    }
    return x;
  }

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
