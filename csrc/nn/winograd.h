// Winograd's transforms for three taps along a row, four outputs at a time: six products in place of twelve.
// A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
#pragma once

#include <array>
#include <cstdint>

#include "nn/lanes.h"

namespace fastdeblur::nn::winograd {

constexpr int kOutputs = 4, kProducts = 6;

inline std::array<float, kProducts> weights(double a, double b, double c) {
  const double even = a + c, wide = a + 4 * c;
  return {static_cast<float>(a / 4),
          static_cast<float>(-(even + b) / 6),
          static_cast<float>((b - even) / 6),
          static_cast<float>((wide + 2 * b) / 24),
          static_cast<float>((wide - 2 * b) / 24),
          static_cast<float>(c)};
}

// Six pixels of a block of channels, L apart from each other; results `apart` from each other.
inline void forward(const float* in, float* out, std::int64_t apart) {
  const V d0 = load(in), d1 = load(in + L), d2 = load(in + 2 * L), d3 = load(in + 3 * L),
          d4 = load(in + 4 * L), d5 = load(in + 5 * L);
  const V two = broadcast(2), four = broadcast(4), five = broadcast(5);
  const V even = d4 - four * d2, odd = d3 - four * d1, narrow = d4 - d2, twice = two * (d3 - d1);
  store(out, four * d0 - five * d2 + d4);
  store(out + apart, even + odd);
  store(out + 2 * apart, even - odd);
  store(out + 3 * apart, narrow + twice);
  store(out + 4 * apart, narrow - twice);
  store(out + 5 * apart, four * d1 - five * d3 + d5);
}

inline std::array<V, kOutputs> inverse(const float* in, std::int64_t apart, const V& bias) {
  const V m0 = load(in), m1 = load(in + apart), m2 = load(in + 2 * apart), m3 = load(in + 3 * apart),
          m4 = load(in + 4 * apart), m5 = load(in + 5 * apart);
  const V two = broadcast(2), four = broadcast(4);
  const V sum = m1 + m2, difference = m1 - m2, far_sum = m3 + m4, far_difference = two * (m3 - m4);
  return {m0 + sum + far_sum + bias, difference + far_difference + bias, sum + four * far_sum + bias,
          difference + four * far_difference + m5 + bias};
}

}  // namespace fastdeblur::nn::winograd
