// Filters that are one kernel down the columns and one along the rows, in one pass over memory.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "ndimage/extend.h"

namespace fastdeblur::ndimage {

// out[i] = sum_k weights[k] * extended(input)[i + start + k] along one axis; without weights the mean of the
// `taps` elements; no taps: nothing is done.
struct LineKernel {
  const double* weights = nullptr;
  int64_t taps = 0;
  int64_t start = 0;
  Mode mode = Mode::reflect;
};

// C-contiguous planes of height x width, none of the three 0. What the first of the two kernels gives is
// rounded to out's type before the second, as SciPy does, which writes it to its output. Sums are taken in
// SciPy's order: with weights the bits are the same; a mean's running sum is that along rows only, down the
// columns it agrees to rounding.
struct Separable {
  const void* input;
  Element input_element;
  void* out;
  Element out_element;
  int64_t planes, height, width;
  LineKernel vertical, horizontal;
  bool horizontal_first;
  bool accumulate;  // the result, in out's type, is added to what is there
  double constant;
  double limit;  // infinity: not looked at
  int n_threads;
};

// False, and out unspecified, if an element's magnitude is beyond `limit` (or it is not a number): SciPy's
// running sums carry such elements' effects along the line.
bool separable(const Separable& problem);

}  // namespace fastdeblur::ndimage
