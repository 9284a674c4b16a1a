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

// Share of the pixel at `centre` on an axis, the round Gaussian being at k times `step`.
inline double pixel_share(const TurnedGaussian& g, std::int64_t centre, double step, std::int64_t k) {
  const auto c = static_cast<double>(centre);
  return normal_share(c - 0.5, c + 0.5, step * static_cast<double>(k), g.narrow);
}

// Shares of all columns at the places t = step k, k = -half..half, [k][w]; empty where that would be large,
// which it is for a narrow Gaussian, of which each place meets few columns.
inline std::vector<double> column_shares(const TurnedGaussian& g, std::int64_t w) {
  constexpr std::int64_t kMost = 1 << 22;
  std::vector<double> columns;
  if (g.half < 0 || (2 * g.half + 1) > kMost / w) return columns;
  columns.resize(static_cast<std::size_t>((2 * g.half + 1) * w));
  for (std::int64_t k = -g.half; k <= g.half; ++k) {
    double* out = columns.data() + (k + g.half) * w;
    for (std::int64_t x = 0; x < w; ++x) out[x] = pixel_share(g, x - w / 2, g.across * g.step, k);
  }
  return columns;
}

inline double rasterise_turned_row(const TurnedGaussian& g, const std::vector<double>& columns,
                                   std::int64_t y, std::int64_t h, std::int64_t w, double* out) {
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
  constexpr double kRoot = 2.50662827463100050242;  // sqrt(2 pi)
  const double reach = 0.5 + 9 * g.narrow;
  // The places from which the row is within reach.
  const double row = static_cast<double>(y - h / 2), per_place = g.step * g.down;
  double low = -static_cast<double>(g.half), high = static_cast<double>(g.half);
  if (per_place != 0.0) {
    const double a = (row - reach) / per_place, b = (row + reach) / per_place;
    low = std::max(low, std::ceil(std::min(a, b)));
    high = std::min(high, std::floor(std::max(a, b)));
  }
  for (double place = low; place <= high; ++place) {
    const auto k = static_cast<std::int64_t>(place);
    const double t = g.step * place, z = t / g.smear;
    const double share =
        g.step / (kRoot * g.smear) * std::exp(-0.5 * z * z) * pixel_share(g, y - h / 2, g.down * g.step, k);
    if (!columns.empty()) {
      const double* column = columns.data() + (k + g.half) * w;
      for (std::int64_t x = 0; x < w; ++x) out[x] += share * column[x];
      continue;
    }
    const double middle = t * g.across + static_cast<double>(w / 2);
    const auto first = static_cast<std::int64_t>(std::max(std::ceil(middle - reach), 0.0));
    const auto last = static_cast<std::int64_t>(
        std::min(std::max(std::floor(middle + reach), -1.0), static_cast<double>(w - 1)));
    for (std::int64_t x = first; x <= last; ++x)
      out[x] += share * pixel_share(g, x - w / 2, g.across * g.step, k);
  }
  for (std::int64_t x = 0; x < w; ++x) sum += out[x];
  return sum;
}

}  // namespace fastdeblur::psf
