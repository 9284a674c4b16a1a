// The Gaussian PSF, integrated over each pixel.
#pragma once

#include <cmath>
#include <cstdint>

namespace fastdeblur::psf {

// Integral of a centred normal density over [k - 1/2, k + 1/2], k >= 0. Near the middle erf keeps the
// digits of the difference, in the tail erfc does.
inline double gaussian_share(double sigma, std::int64_t k) {
  if (sigma == 0.0) return k == 0 ? 1.0 : 0.0;
  constexpr double kSqrt2 = 1.41421356237309504880;
  const double scale = sigma * kSqrt2, outer = (static_cast<double>(k) + 0.5) / scale;
  if (k == 0) return std::erf(outer);
  const double inner = (static_cast<double>(k) - 0.5) / scale;
  return outer < 0.5 ? 0.5 * (std::erf(outer) - std::erf(inner))
                     : 0.5 * (std::erfc(inner) - std::erfc(outer));
}

// Writes the n pixels of one axis, with its origin at n / 2, exactly symmetric. Returns their sum.
inline double rasterise_gaussian_axis(double sigma, std::int64_t n, double* out) {
  const std::int64_t origin = n / 2;
  double sum = 0.0;
  for (std::int64_t i = 0; i < n; ++i) {
    out[i] = i > origin ? out[2 * origin - i] : gaussian_share(sigma, origin - i);
    sum += out[i];
  }
  return sum;
}

}  // namespace fastdeblur::psf
