// A Gaussian with two widths, turned: the round Gaussian of the smaller width, smeared along the direction of
// the larger by a Gaussian whose variance is the difference. For each place t of the smear both axes
// separate.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "psf/motion.h"

namespace fastdeblur::psf {

// Integral of a normal density of the given deviation around `mean` over [low, high]. erfc keeps the tails'
// digits.
inline double normal_share(double low, double high, double mean, double deviation) {
  constexpr double kSqrt2 = 1.41421356237309504880;
  double a = (low - mean) / (deviation * kSqrt2), b = (high - mean) / (deviation * kSqrt2);
  if (a + b < 0) {
    const double swapped = -a;
    a = -b;
    b = swapped;
  }
  return a > 0.5 ? 0.5 * (std::erfc(a) - std::erfc(b)) : 0.5 * (std::erf(b) - std::erf(a));
}

// `narrow`: the smaller deviation; `smear`: that along (across, down), a unit vector; see
// fastdeblur/psf/_turned_gaussian.py for the step and for when the width is none.
struct TurnedGaussian {
  double narrow, smear, across, down, step;
  std::int64_t half;  // nodes on either side of 0; < 0: the kernel is a line
};

// Shares of all columns and rows at the places t = step k, k = -half..half.
struct SmearProfiles {
  std::vector<double> columns, rows;  // [k][w], [k][h], the latter with the places' weights
};

inline SmearProfiles smear_profiles(const TurnedGaussian& g, std::int64_t h, std::int64_t w) {
  SmearProfiles p;
  const std::int64_t count = g.half < 0 ? 0 : 2 * g.half + 1;
  p.columns.resize(static_cast<std::size_t>(count * w));
  p.rows.resize(static_cast<std::size_t>(count * h));
  constexpr double kRoot = 2.50662827463100050242;  // sqrt(2 pi)
  for (std::int64_t k = 0; k < count; ++k) {
    const double t = g.step * static_cast<double>(k - g.half), z = t / g.smear;
    const double weight = g.step / (kRoot * g.smear) * std::exp(-0.5 * z * z);
    const auto shares = [&](double mean, std::int64_t n, double scale, double* out) {
      for (std::int64_t i = 0; i < n; ++i) {
        const auto centre = static_cast<double>(i - n / 2);
        out[i] = scale * normal_share(centre - 0.5, centre + 0.5, mean, g.narrow);
      }
    };
    shares(t * g.across, w, 1.0, p.columns.data() + k * w);
    shares(t * g.down, h, weight, p.rows.data() + k * h);
  }
  return p;
}

inline double rasterise_turned_row(const TurnedGaussian& g, const SmearProfiles& p, std::int64_t y,
                                   std::int64_t h, std::int64_t w, double* out) {
  std::fill(out, out + w, 0.0);
  double sum = 0.0;
  if (g.half < 0) {  // a line: the smear's share between where the line enters and leaves the pixel
    const double far = 40.0 * g.smear;
    const Stretch in_row = stretch_in_slab(static_cast<double>(y - h / 2), g.down, far);
    for (std::int64_t x = 0; x < w; ++x) {
      const Stretch in_column = stretch_in_slab(static_cast<double>(x - w / 2), g.across, far);
      const double low = std::max(in_row.low, in_column.low), high = std::min(in_row.high, in_column.high);
      if (low < high) sum += out[x] = normal_share(low, high, 0.0, g.smear);
    }
    return sum;
  }
  for (std::int64_t k = 0; k < 2 * g.half + 1; ++k) {
    const double share = p.rows[static_cast<std::size_t>(k * h + y)];
    if (share == 0.0) continue;
    const double* columns = p.columns.data() + k * w;
    for (std::int64_t x = 0; x < w; ++x) out[x] += share * columns[x];
  }
  for (std::int64_t x = 0; x < w; ++x) sum += out[x];
  return sum;
}

}  // namespace fastdeblur::psf
