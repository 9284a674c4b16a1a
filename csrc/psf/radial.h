// Round PSFs from the share T(r) of the light that lies farther from the centre than r: T' = -2 pi r p(r).
//
// The field F = -T(r) / (2 pi r^2) (x, y) has the divergence p(r) everywhere but at the origin, where it
// hides a light of 1. So a pixel's integral is the flux of F through its four sides, plus 1 in the origin's
// pixel, and an integral over a square is four over its sides. T is small where the PSF is, so no digits
// cancel in the tails.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "psf/lagrange.h"

namespace fastdeblur::psf {

// T of a Moffat profile (1 + r^2 / alpha^2)^(-beta).
struct MoffatTail {
  double alpha, beta;
  double operator()(double r) const {
    const double s = r / alpha;
    // Not a power of the sum, from which a small s, that of a large beta, would lose its digits.
    return std::exp((1 - beta) * std::log1p(s * s));
  }
};

// T from a table at even steps, by 8 neighbours (Lagrange). `warped`: at even steps of asinh(r / scale), of
// T (1 + (r / scale)^2)^(5/6), which is smooth where T is a power law; 0 beyond an unwarped table's end.
struct TableTail {
  const double* values;
  std::int64_t count;
  double scale, step;
  bool warped;

  double operator()(double r) const {
    const double s = r / scale, place = (warped ? std::asinh(s) : s) / step;
    const auto end = static_cast<double>(count - 1);
    if (!warped && place >= end) return 0.0;
    const double inside = std::min(place, end);  // a power law goes on as one
    const auto first = std::clamp<std::int64_t>(static_cast<std::int64_t>(inside) - 3, 0, count - 8);
    double weights[8], value = 0.0;
    lagrange8(inside - static_cast<double>(first + 3), weights);
    for (int k = 0; k < 8; ++k) value += weights[k] * values[first + k];
    return warped ? value * std::pow(1 + s * s, -5.0 / 6) : value;
  }
};

struct Nodes {
  const double *places, *weights;  // on [-1/2, 1/2], of sum 1
  std::int64_t count;
};

// Fluxes to the right through the upright sides of a quadrant's pixels: side (i, j) is at x = i + 1/2, from y
// = j - 1/2 to j + 1/2, and so is what flows down through the level sides, x and y changed over.
template <class Tail>
double side_flux(const Tail& tail, std::int64_t i, std::int64_t j, const Nodes& nodes) {
  constexpr double kTurn = 6.283185307179586477;
  const double x = static_cast<double>(i) + 0.5;
  double sum = 0.0;
  for (std::int64_t k = 0; k < nodes.count; ++k) {
    const double y = static_cast<double>(j) + nodes.places[k], squared = x * x + y * y;
    sum += nodes.weights[k] * tail(std::sqrt(squared)) / squared;
  }
  return -x / kTurn * sum;
}

// Writes row `y` >= 0 of the quadrant [0, reach]^2: pixel integrals, from fluxes (reach + 1, reach + 1).
inline void radial_row(const double* fluxes, std::int64_t reach, std::int64_t y, double* out) {
  const std::int64_t n = reach + 1;
  const auto through = [&](std::int64_t i, std::int64_t j) {  // what leaves through the pixel's far side
    return i >= 0 ? fluxes[i * n + j] : -fluxes[j];           // the side at -1/2 mirrors the one at 1/2
  };
  for (std::int64_t x = 0; x < n; ++x) {
    // Added in one order for (x, y) and (y, x): exactly symmetric.
    const double across = through(x, y) - through(x - 1, y), down = through(y, x) - through(y - 1, x);
    const double value = across + down + (x == 0 && y == 0 ? 1.0 : 0.0);
    out[x] = std::max(value, 0.0);  // rounding
  }
}

}  // namespace fastdeblur::psf
