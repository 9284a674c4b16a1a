// The inner loop of one-dimensional correlation, in the order of summation that SciPy has.
#pragma once

#include "ndimage/separable.h"

namespace fastdeblur::ndimage {

// SciPy adds or subtracts the two elements that meet equal or opposite weights before it multiplies.
enum class Symmetry { none, even, odd };

Symmetry symmetry_of(const LineKernel& kernel);

// out[i] = sum_k weights[k] * x[i + k * step] for i < n. Writes up to a multiple of kLineStep elements, and
// reads as far.
constexpr int64_t kLineStep = 64;
void correlate_line(const double* x, int64_t step, int64_t n, const LineKernel& kernel, Symmetry symmetry,
                    double* out);

}  // namespace fastdeblur::ndimage
