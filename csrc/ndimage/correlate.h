// Direct correlation with a small kernel in any number of dimensions.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "ndimage/extend.h"

namespace fastdeblur::ndimage {

// exact: in double, each product rounded, summed in the kernel's C order, as SciPy's: the same bits.
// fused: in double with fused multiply-adds, for results that are rounded to float32 anyway; as exact where
// weights have both signs, so that what cancels is 0.
// modular: whole numbers modulo 2^32 or 2^64, as NumPy's integers.
enum class Arithmetic { exact, fused, modular };

// out[i] = sum_k weights[k] * extended(input)[i + start + k]; arrays are C-contiguous, all shapes of one
// length (>= 1), none with a 0. Weights are double, or for modular uint64_t; double ones within DBL_EPSILON
// of 0 are left out, as SciPy does (0 * infinity would be NaN).
struct Correlation {
  const void* input;
  Element input_element;
  std::vector<int64_t> input_shape;
  const void* weights;
  std::vector<int64_t> weights_shape;
  void* out;
  Element out_element;
  std::vector<int64_t> out_shape;
  std::vector<int64_t> start;
  Mode mode;
  double constant;
  Arithmetic arithmetic;
  int n_threads;
};

void correlate(const Correlation& problem);

}  // namespace fastdeblur::ndimage
