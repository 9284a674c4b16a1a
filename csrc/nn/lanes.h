// Registers of native width, and what the layers compute in them.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <utility>

#include "cpu/fft.h"
#include "cpu/transpose.h"
#include "nn/activation.h"

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

}  // namespace fastdeblur::nn
