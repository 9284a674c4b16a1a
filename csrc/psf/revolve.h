// Volumes that are round in every plane, from their profiles along the radius, integrated over the pixels'
// squares.
//
// A pixel's integral is a sum over few samples of the profile, with weights that depend on the pixel's place
// and not on the plane: they are found once, for one eighth of the plane, and applied to all planes at once.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cpu/parallel.h"
#include "psf/lagrange.h"

namespace fastdeblur::psf {

// A profile (n, planes) with samples at the radii j * step pixels. It must go on for 4 samples beyond the
// farthest corner. Gauss-Legendre nodes (in pixels, around the pixel's centre) and weights of the squares'
// sides.
struct Profile {
  const double* samples;
  std::int64_t n, planes;
  double step;
  const double *nodes, *weights;
  std::int64_t order;
};

// Weights of the samples first, first + 1, ... in the integral over the pixel (u, v); first may be negative:
// the profile is even. Returns first; `window` is filled as far as needed.
inline std::int64_t pixel_weights(const Profile& p, std::int64_t u, std::int64_t v,
                                  std::vector<double>& window) {
  const auto x = static_cast<double>(u), y = static_cast<double>(v);
  const double near_x = std::max(0.0, x - 0.5), near_y = std::max(0.0, y - 0.5);
  const double nearest = std::sqrt(near_x * near_x + near_y * near_y) / p.step;
  const double farthest = std::sqrt((x + 0.5) * (x + 0.5) + (y + 0.5) * (y + 0.5)) / p.step;
  const auto first = static_cast<std::int64_t>(nearest) - 4;
  window.assign(static_cast<std::size_t>(static_cast<std::int64_t>(farthest) + 6 - first), 0.0);
  for (std::int64_t i = 0; i < p.order; ++i) {
    for (std::int64_t j = 0; j < p.order; ++j) {
      const double dx = x + p.nodes[i], dy = y + p.nodes[j];
      const double t = std::sqrt(dx * dx + dy * dy) / p.step, below = std::floor(t);
      double lagrange[8];
      lagrange8(t - below, lagrange);
      double* to = window.data() + (static_cast<std::int64_t>(below) - 3 - first);
      for (int m = 0; m < 8; ++m) to[m] += p.weights[i] * p.weights[j] * lagrange[m];
    }
  }
  return first;
}

// How many of the n pixels of an axis lie `distance` from the origin n / 2.
inline double copies(std::int64_t distance, std::int64_t n) {
  return (distance <= n / 2 ? 1.0 : 0.0) + (distance > 0 && distance < n - n / 2 ? 1.0 : 0.0);
}

// out: (planes, h, w), of sum 1, origin at (h / 2, w / 2) of each plane.
inline void revolve(const Profile& p, std::int64_t h, std::int64_t w, double* out, int n_threads) {
  const std::int64_t down = h / 2 + 1, across = w / 2 + 1, quarter = down * across;
  std::vector<double> quadrants(static_cast<std::size_t>(p.planes * quarter));
  const std::int64_t major = std::max(down, across), minor = std::min(down, across);
  parallel_for(major, n_threads, [&](std::int64_t u) {
    std::vector<double> window, values(static_cast<std::size_t>(p.planes));
    for (std::int64_t v = 0; v < std::min(u + 1, minor); ++v) {
      const std::int64_t first = pixel_weights(p, u, v, window);
      std::fill(values.begin(), values.end(), 0.0);
      for (std::size_t i = 0; i < window.size(); ++i) {
        if (window[i] == 0.0) continue;
        const double weight = window[i];
        const double* sample = p.samples + std::abs(first + static_cast<std::int64_t>(i)) * p.planes;
        for (std::int64_t k = 0; k < p.planes; ++k) values[static_cast<std::size_t>(k)] += weight * sample[k];
      }
      double* base = quadrants.data();
      for (std::int64_t k = 0; k < p.planes; ++k, base += quarter) {
        // Interpolation overshoots zero by rounding where the light is next to none.
        const double value = std::max(0.0, values[static_cast<std::size_t>(k)]);
        if (v < down && u < across) base[v * across + u] = value;
        if (u < down && v < across) base[u * across + v] = value;
      }
    }
  });

  std::vector<double> sums(static_cast<std::size_t>(p.planes));
  parallel_for(p.planes, n_threads, [&](std::int64_t k) {
    double sum = 0.0;
    for (std::int64_t y = 0; y < down; ++y) {
      const double* row = quadrants.data() + k * quarter + y * across;
      double line = 0.0;
      for (std::int64_t x = 0; x < across; ++x) line += copies(x, w) * row[x];
      sum += copies(y, h) * line;
    }
    sums[static_cast<std::size_t>(k)] = sum;
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;

  const double scale = 1.0 / total;
  parallel_for(p.planes * h, n_threads, [&](std::int64_t i) {
    const std::int64_t k = i / h, y = std::abs(i % h - h / 2);
    const double* from = quadrants.data() + k * quarter + y * across;
    double *to = out + i * w, *origin = to + w / 2;
    for (std::int64_t x = 0; x <= w / 2; ++x) origin[-x] = scale * from[x];
    for (std::int64_t x = 1; x < w - w / 2; ++x) origin[x] = scale * from[x];
  });
}

}  // namespace fastdeblur::psf
