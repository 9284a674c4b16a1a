// Which passes serve a grid: the fused ones where their kernels cover it, unless a device has been measured
// to be quicker with the library's transforms.
//
// A row is a measurement of benchmarks/gpu_passes.cu, which prints them: the lengths (c, m, x) of a grid,
// bytes of a real number, and which was quicker. None has been made yet.
#pragma once

#include <array>
#include <cstdint>

#include "core/grid.h"

namespace fastdeblur::cuda {

enum class PassKind { fused, plain };

struct Choice {
  std::array<std::int64_t, 3> full;
  int bytes;
  PassKind kind;
};

constexpr std::array<Choice, 0> kMeasured{};

inline PassKind measured_choice(const Grid& g, int bytes) {
  for (const Choice& c : kMeasured)
    if (c.full == g.full && c.bytes == bytes) return c.kind;
  return PassKind::fused;
}

}  // namespace fastdeblur::cuda
