// Half-quadratic splitting for deblurring with a prior on the gradient:
//
//   min over x, w of  |k * x - y|^2 + gamma |grad x - w|^2 + prior(w),   gamma growing from step to step,
//
// on a periodic grid. A step shrinks the gradient of x to w, then solves for x in the frequency domain:
//
//   X = (conj(K) Y + gamma conj(F) . W) / (|K|^2 + gamma |F|^2),   F: forward differences.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace fastdeblur::blind {

struct Step {
  float gamma;
  // Hard shrinkage: both components of a gradient become 0 where their squares' sum is below it.
  // Table: the unit in which gradients are looked up.
  float scale;
};

// What becomes of a component |v| / scale: values[i] at i / density, linear in between; beyond the table
// v - slope v^power, the first-order answer for the prior |w|^(power + 1).
struct ShrinkTable {
  std::vector<float> values;
  float density = 1, slope = 0, power = 0;
};

struct HalfQuadratic {
  std::int64_t height, width;  // of the grid
  const float* data;           // y, (height, width)
  const float* kernel;         // (kernel_height, kernel_width), origin at shape / 2
  std::int64_t kernel_height, kernel_width;
  std::vector<Step> steps;
  const ShrinkTable* table = nullptr;  // null: hard shrinkage
};

// x: (height, width), the first estimate on entry, the last on return. The result does not depend on the
// number of threads.
void solve(const HalfQuadratic& problem, float* x, int n_threads);

}  // namespace fastdeblur::blind
