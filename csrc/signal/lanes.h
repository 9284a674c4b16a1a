// Between rows in memory and SIMD lanes, [x][L]: the same for every convolution by FFT.
#pragma once

#include <cstdint>
#include <cstring>

#include "cpu/transpose.h"

namespace fastdeblur::signal {

using std::int64_t;

// lanes[x][j] = row[j][x] for x in [0, n).
template <class T, int L>
void gather(const T* const* row, int64_t n, T* lanes) {
  int64_t x = 0;
  for (; x + L <= n; x += L) transpose_block<T, L>([&](int j) { return row[j] + x; }, lanes + x * L, L);
  for (; x < n; ++x)
    for (int j = 0; j < L; ++j) lanes[x * L + j] = row[j][x];
}

// row[j][x] = lanes[x][j] for x in [0, n[j]); a lane whose row is nullptr is dropped.
template <class T, int L>
void scatter(const T* lanes, const int64_t* n, T* const* row) {
  int64_t common = row[0] ? n[0] : 0;
  for (int j = 1; j < L; ++j) common = row[j] && n[j] >= common ? common : row[j] ? n[j] : 0;
  int64_t x = 0;
  for (; x + L <= common; x += L) {
    T block[L * L];
    transpose_block<T, L>([&](int j) { return lanes + (x + j) * L; }, block, L);
    for (int j = 0; j < L; ++j) std::memcpy(row[j] + x, block + j * L, L * sizeof(T));
  }
  for (int j = 0; j < L; ++j)
    if (row[j])
      for (int64_t i = x; i < n[j]; ++i) row[j][i] = lanes[i * L + j];
}

}  // namespace fastdeblur::signal
