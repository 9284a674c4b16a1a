// Winograd's transforms for taps along a row, four outputs at a time: for three taps six products in place of
// twelve, for two taps five in place of eight.
// A. Lavin, S. Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016.
#pragma once

#include <array>
#include <cstdint>

#include "nn/lanes.h"

namespace fastdeblur::nn::winograd {

constexpr int kOutputs = 4;

// Taps: inputs kOutputs + Taps - 1, which is the number of products as well.
template <int Taps>
struct Transform;

// At the points 0, 1, -1, 2, -2 and infinity.
template <>
struct Transform<3> {
  static constexpr int products = 6;
  static std::array<float, products> weights(const std::array<double, 3>& taps) {
    const auto [a, b, c] = taps;
    const double even = a + c, wide = a + 4 * c;
    return {static_cast<float>(a / 4),
            static_cast<float>(-(even + b) / 6),
            static_cast<float>((b - even) / 6),
            static_cast<float>((wide + 2 * b) / 24),
            static_cast<float>((wide - 2 * b) / 24),
            static_cast<float>(c)};
  }
  // Pixels of a block of channels, L apart from each other; results `apart` from each other.
  static void forward(const float* in, float* out, std::int64_t apart) {
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
  static std::array<V, kOutputs> inverse(const float* in, std::int64_t apart, const V& bias) {
    const V m0 = load(in), m1 = load(in + apart), m2 = load(in + 2 * apart), m3 = load(in + 3 * apart),
            m4 = load(in + 4 * apart), m5 = load(in + 5 * apart);
    const V two = broadcast(2), four = broadcast(4);
    const V sum = m1 + m2, difference = m1 - m2, far_sum = m3 + m4, far_difference = two * (m3 - m4);
    return {m0 + sum + far_sum + bias, difference + far_difference + bias, sum + four * far_sum + bias,
            difference + four * far_difference + m5 + bias};
  }
};

// At the points 0, 1, -1, 2 and infinity.
template <>
struct Transform<2> {
  static constexpr int products = 5;
  static std::array<float, products> weights(const std::array<double, 2>& taps) {
    const auto [a, b] = taps;
    return {static_cast<float>(a / 2), static_cast<float>(-(a + b) / 2), static_cast<float>((b - a) / 6),
            static_cast<float>((a + 2 * b) / 6), static_cast<float>(b)};
  }
  static void forward(const float* in, float* out, std::int64_t apart) {
    const V d0 = load(in), d1 = load(in + L), d2 = load(in + 2 * L), d3 = load(in + 3 * L),
            d4 = load(in + 4 * L);
    const V two = broadcast(2), three = broadcast(3);
    const V odd = d3 - d1, wide = d3 - d2;
    store(out, two * (d0 - d2) + odd);
    store(out + apart, wide - two * d1);
    store(out + 2 * apart, d3 + two * d1 - three * d2);
    store(out + 3 * apart, odd);
    store(out + 4 * apart, d4 - d2 - two * odd);
  }
  static std::array<V, kOutputs> inverse(const float* in, std::int64_t apart, const V& bias) {
    const V m0 = load(in), m1 = load(in + apart), m2 = load(in + 2 * apart), m3 = load(in + 3 * apart),
            m4 = load(in + 4 * apart);
    const V two = broadcast(2), four = broadcast(4), eight = broadcast(8);
    const V sum = m1 + m2 + bias, difference = m1 - m2 + bias;
    return {m0 + sum + m3, difference + two * m3, sum + four * m3, difference + eight * m3 + m4};
  }
};

}  // namespace fastdeblur::nn::winograd
