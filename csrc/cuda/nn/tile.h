// Products of small matrices on tensor cores: D (16 x 8) += A (16 x 16) B (16 x 8), of one warp.
//
// The tensor cores' own layout is written down here once. On a device A comes from shared memory by ldmatrix
// and the product is one mma; on the host, and in float32, every thread computes its own four sums from the
// same memory.
#pragma once

#include "cuda/launch.h"
#include "cuda/nn/numbers.h"

namespace fastdeblur::cuda::nn {

constexpr int kWarp = 32;

// Lane l's i-th sum (of four) is that of this row and column of D.
FD_HD constexpr int sum_row(int lane, int i) { return lane / 4 + (i & 2) * 4; }
FD_HD constexpr int sum_column(int lane, int i) { return lane % 4 * 2 + (i & 1); }

// B is stored as lanes hold it, four numbers each; where element (k, n) lies. Tiles side by side (`tiles` of
// them, 1 or even) lie in pairs, so that a lane reads 16 bytes.
FD_HD constexpr int packed_at(int k, int n, int tile, int tiles) {
  const int lane = n * 4 + k % 8 / 2, element = k / 8 * 2 + k % 2;
  return tiles == 1 ? lane * 4 + element : (tile / 2 * kWarp + lane) * 8 + tile % 2 * 4 + element;
}
constexpr int kPackedTile = 128;

// Rows of A in shared memory: row r of tile m begins at base + m * tile + r * row, its columns 0..7 at low
// and 8..15 at high from there; all in numbers.
struct Rows16 {
  int base, tile, row;
};

#if defined(__CUDA_ARCH__)
// cp.async; what was asked for is there after the wait and a barrier.
__device__ __forceinline__ void copy_later(void* to, const void* from, bool there) {
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(there ? 16 : 0)
               : "memory");
}
#endif

// 16 bytes from global to shared memory, or zeros; there after wait_for_copies() and a barrier.
FD_HD void copy16(void* to, const void* from, bool there) {
#if defined(__CUDA_ARCH__)
  copy_later(to, from, there);
#else
  if (there)
    std::memcpy(to, from, 16);
  else
    std::memset(to, 0, 16);
#endif
}

FD_HD void wait_for_copies() {
#if defined(__CUDA_ARCH__)
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

#if defined(__CUDA_ARCH__)
template <class T, int MT, int NT>
__device__ __forceinline__ void multiply_by_tensor_cores(float (&sum)[MT][NT][4], const T* shared,
                                                         const Rows16& rows, const std::int32_t* offsets,
                                                         const T* b, int lane) {
  std::uint32_t right[NT][2];
  if constexpr (NT == 1) {
    const uint2 v = *reinterpret_cast<const uint2*>(b + lane * 4);
    right[0][0] = v.x;
    right[0][1] = v.y;
  } else {
    FD_UNROLL
    for (int n = 0; n < NT; n += 2) {
      const Words v = load_words(b + (n / 2 * kWarp + lane) * 8);
      right[n][0] = v.w[0];
      right[n][1] = v.w[1];
      right[n + 1][0] = v.w[2];
      right[n + 1][1] = v.w[3];
    }
  }
  // Lanes 0-7, 8-15, 16-23, 24-31 name the rows of four 8 x 8 matrices: rows 0-7 and 8-15 of the low columns,
  // then of the high ones.
  const T* from = shared + rows.base + lane % 16 * rows.row + offsets[lane / 16];
  FD_UNROLL
  for (int m = 0; m < MT; ++m) {
    std::uint32_t left[4];
    const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(from + m * rows.tile));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(left[0]), "=r"(left[1]), "=r"(left[2]), "=r"(left[3])
                 : "r"(at)
                 : "memory");
    FD_UNROLL
    for (int n = 0; n < NT; ++n) {
      float (&d)[4] = sum[m][n];
      if constexpr (format_of<T> == Format::half)
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
            "{%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[n][0]), "r"(right[n][1]));
      else
        asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
            "{%8, %9}, {%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[n][0]), "r"(right[n][1]));
    }
  }
}
#endif

template <class T, int MT, int NT>
FD_HD void multiply_by_threads(float (&sum)[MT][NT][4], const T* shared, const Rows16& rows,
                               const std::int32_t* offsets, const T* b, int lane) {
  const std::int32_t low = offsets[0], high = offsets[1];
#if defined(__CUDA_ARCH__)
#pragma unroll 8
#endif
  for (int k = 0; k < 16; ++k) {
    const int column = (k < 8 ? low : high) + k % 8;
    float left[MT][2], right[NT][2];
    FD_UNROLL
    for (int n = 0; n < NT; ++n)
      for (int j = 0; j < 2; ++j) right[n][j] = to_float(b[packed_at(k, sum_column(lane, j), n, NT)]);
    FD_UNROLL
    for (int m = 0; m < MT; ++m)
      for (int j = 0; j < 2; ++j)
        left[m][j] = to_float(shared[rows.base + m * rows.tile + sum_row(lane, 2 * j) * rows.row + column]);
    FD_UNROLL
    for (int m = 0; m < MT; ++m)
      for (int n = 0; n < NT; ++n)
        for (int i = 0; i < 4; ++i) sum[m][n][i] += left[m][i / 2] * right[n][i & 1];
  }
}

// sum[m][n] += A_m B_n for MT tiles of A below one another and NT tiles of B. offsets: (low, high) of A.
template <class T, int MT, int NT>
FD_HD void multiply(float (&sum)[MT][NT][4], const T* shared, const Rows16& rows, const std::int32_t* offsets,
                    const T* b, int lane) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 2)
    multiply_by_tensor_cores<T, MT, NT>(sum, shared, rows, offsets, b, lane);
  else
#endif
    multiply_by_threads<T, MT, NT>(sum, shared, rows, offsets, b, lane);
}

}  // namespace fastdeblur::cuda::nn
