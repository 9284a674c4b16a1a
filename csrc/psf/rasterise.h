// Batches of kernels in parallel. Which thread does what never changes a result: every row is computed by
// itself and a kernel's rows are summed in their order.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/parallel.h"
#include "psf/defocus.h"
#include "psf/gaussian.h"
#include "psf/motion.h"

namespace fastdeblur::psf {

// Calls f(kernel, first row, last row + 1) in parallel for all rows of n kernels of (rows, row_size), in
// pieces large enough to be worth a thread's while.
template <class F>
void for_each_piece(std::int64_t n, std::int64_t rows, std::int64_t row_size, int n_threads, F f) {
  constexpr std::int64_t kPieceSize = 1 << 13;
  const std::int64_t piece = std::clamp<std::int64_t>(kPieceSize / row_size, 1, rows);
  const std::int64_t pieces = (rows + piece - 1) / piece;
  parallel_for(n * pieces, n_threads, [&](std::int64_t i) {
    const std::int64_t kernel = i / pieces, first = i % pieces * piece;
    f(kernel, first, std::min(first + piece, rows));
  });
}

// Writes n kernels (n, h, w), each scaled to sum 1. row(kernel, y, out) writes one row and returns its sum.
template <class Row>
void rasterise_rows(std::int64_t n, std::int64_t h, std::int64_t w, double* out, int n_threads, Row row) {
  std::vector<double> sums(static_cast<std::size_t>(n * h));
  for_each_piece(n, h, w, n_threads, [&](std::int64_t kernel, std::int64_t first, std::int64_t last) {
    for (std::int64_t y = first; y < last; ++y) {
      const std::int64_t i = kernel * h + y;
      sums[static_cast<std::size_t>(i)] = row(kernel, y, out + i * w);
    }
  });
  for_each_piece(n, h, w, n_threads, [&](std::int64_t kernel, std::int64_t first, std::int64_t last) {
    double total = 0.0;
    for (std::int64_t y = 0; y < h; ++y) total += sums[static_cast<std::size_t>(kernel * h + y)];
    double* begin = out + (kernel * h + first) * w;
    std::for_each(begin, begin + (last - first) * w, [total](double& value) { value /= total; });
  });
}

// lengths, angles: n each, lengths >= 0, all finite. out: (n, h, w).
inline void rasterise_motion(const double* lengths, const double* angles, std::int64_t n, std::int64_t h,
                             std::int64_t w, double* out, int n_threads) {
  rasterise_rows(n, h, w, out, n_threads, [=](std::int64_t kernel, std::int64_t y, double* row) {
    return rasterise_motion_row(motion_line(lengths[kernel], angles[kernel]), y, h, w, row);
  });
}

// radii: n, >= 0, finite. out: (n, h, w).
inline void rasterise_defocus(const double* radii, std::int64_t n, std::int64_t h, std::int64_t w,
                              double* out, int n_threads) {
  rasterise_rows(n, h, w, out, n_threads, [=](std::int64_t kernel, std::int64_t y, double* row) {
    return rasterise_defocus_row(radii[kernel], y, h, w, row);
  });
}

// sigmas: (n, 3) in the order of the axes, >= 0, finite. out: (n, d, h, w).
inline void rasterise_gaussian(const double* sigmas, std::int64_t n, std::int64_t d, std::int64_t h,
                               std::int64_t w, double* out, int n_threads) {
  const std::int64_t sizes[3] = {d, h, w}, stride = d + h + w;
  std::vector<double> profiles(static_cast<std::size_t>(n * stride));
  for_each_piece(n, 1, stride, n_threads, [&](std::int64_t kernel, std::int64_t, std::int64_t) {
    double* profile = profiles.data() + kernel * stride;
    for (int axis = 0; axis < 3; profile += sizes[axis++]) {
      const double sum = rasterise_gaussian_axis(sigmas[3 * kernel + axis], sizes[axis], profile);
      std::for_each(profile, profile + sizes[axis], [sum](double& value) { value /= sum; });
    }
  });
  for_each_piece(n, d * h, w, n_threads, [&](std::int64_t kernel, std::int64_t first, std::int64_t last) {
    const double* z = profiles.data() + kernel * stride;
    const double *y = z + d, *x = y + h;
    for (std::int64_t i = first; i < last; ++i) {
      const double scale = z[i / h] * y[i % h];
      double* row = out + (kernel * d * h + i) * w;
      for (std::int64_t j = 0; j < w; ++j) row[j] = scale * x[j];
    }
  });
}

}  // namespace fastdeblur::psf
