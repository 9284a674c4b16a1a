// The inner loops of one-dimensional filters; correlation in the order of summation that SciPy has.
#pragma once

#include "ndimage/separable.h"

namespace fastdeblur::ndimage {

// SciPy adds or subtracts the two elements that meet equal or opposite weights before it multiplies.
enum class Symmetry { none, even, odd };

Symmetry symmetry_of(const LineKernel& kernel);

// Writes and reads go on to a multiple of this many elements, and down the columns by a few more.
constexpr int64_t kLineStep = 64;
constexpr int64_t kLineOverrun = 8;

// out[i] = sum_k weights[k] * x[i + k] for i < n. fused: multiplied and added with one rounding, which other
// bits than SciPy's come of.
void correlate_line(const double* x, int64_t n, const LineKernel& kernel, Symmetry symmetry, bool fused,
                    double* out);

// The same down the columns: `rows` rows of out, row r from the rows r to r + taps - 1 of x.
void correlate_columns(const double* x, int64_t x_pitch, int64_t rows, int64_t n, const LineKernel& kernel,
                       Symmetry symmetry, bool fused, double* out, int64_t out_pitch);

// Means of `taps` elements by running sums; reciprocal: multiplied with 1 / taps instead of divided.
// kMeanRows rows of x, each row's out[i] = mean of x[i] to x[i + taps - 1] for i < n. Reads and writes on to
// multiples of kLineStep. scratch: kMeanRows * (n + taps + kLineStep) elements.
constexpr int64_t kMeanRows = 8;
void mean_rows(const double* x, int64_t x_pitch, int64_t n, int64_t taps, bool reciprocal, double* scratch,
               double* out, int64_t out_pitch);

// The same down the columns: `rows` rows of out, each from `taps` rows of x. sums: the running sums, n to a
// multiple of kLineStep, which go on from the rows before unless these are the first.
void mean_columns(const double* x, int64_t x_pitch, int64_t rows, int64_t n, int64_t taps, bool reciprocal,
                  bool first, double* sums, double* out, int64_t out_pitch);

bool all_within(const double* x, int64_t n, double limit);

}  // namespace fastdeblur::ndimage
