// The PSF of straight, uniform motion: exact lengths of a line in the pixels' squares.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "core/ordering.h"

namespace fastdeblur::psf {

// A line through the origin: `across` (to the right, >= 0) and `down` are its unit direction, `half` its
// half-length.
struct MotionLine {
  double across, down, half;
};

// Degrees, counter-clockwise from the x axis with rows running downwards. The angle is brought to [0, 45]
// by steps that do not round, so that lines that differ by a symmetry of the grid differ by nothing else.
inline MotionLine motion_line(double length, double angle) {
  double a = std::fmod(std::fabs(angle), 180.0);
  const bool obtuse = a > 90.0;
  if (obtuse) a = 180.0 - a;
  const bool steep = a > 45.0;
  if (steep) a = 90.0 - a;
  constexpr double kSqrtHalf = 0.70710678118654752440, kDegree = 0.017453292519943295769;
  double along = a == 45.0 ? kSqrtHalf : std::cos(a * kDegree);
  double aside = a == 45.0 ? kSqrtHalf : std::sin(a * kDegree);
  if (steep) std::swap(along, aside);
  return {along, obtuse != (angle < 0) ? aside : -aside, 0.5 * length};
}

// The stretch [low, high] of the line's parameter in which |coordinate - centre| <= 1/2, as far as it lies
// on the line.
struct Stretch {
  double low, high;
};

FD_HD_FUNCTION Stretch stretch_in_slab(double centre, double direction, double half) {
  if (direction == 0.0) {  // the line runs along the slab: in it, or (no pixel border is at 0) wholly outside
    return std::fabs(centre) < 0.5 ? Stretch{-half, half} : Stretch{1.0, 0.0};
  }
  // Swapping x and y, or reflecting, permutes these quotients but never changes their values: symmetry is
  // exact.
  const double a = (centre - 0.5) / direction, b = (centre + 0.5) / direction;
  return {greatest(least(a, b), -half), least(greatest(a, b), half)};
}

// The length of the line inside a pixel, given its stretch in the pixel's row; not positive outside.
FD_HD_FUNCTION double length_in_pixel(const MotionLine& line, const Stretch& in_row, std::int64_t dx) {
  const Stretch in_column = stretch_in_slab(static_cast<double>(dx), line.across, line.half);
  return least(in_row.high, in_column.high) - greatest(in_row.low, in_column.low);
}

// Share of the line in the pixel `dx` columns and `dy` rows from its middle.
FD_HD_FUNCTION double motion_share(const MotionLine& line, std::int64_t dx, std::int64_t dy) {
  if (line.half <= 0.5) return dx == 0 && dy == 0 ? 1.0 : 0.0;  // the whole line is inside the origin's pixel
  const double inside =
      length_in_pixel(line, stretch_in_slab(static_cast<double>(dy), line.down, line.half), dx);
  return inside > 0.0 ? inside / (2.0 * line.half) : 0.0;
}

// Writes row y of an (h, w) kernel with its origin at (h / 2, w / 2): w lengths inside the pixels, over the
// line's length. Returns their sum.
inline double rasterise_motion_row(const MotionLine& line, std::int64_t y, std::int64_t h, std::int64_t w,
                                   double* out) {
  std::fill(out, out + w, 0.0);
  const std::int64_t origin_x = w / 2;
  const auto row = static_cast<double>(y - h / 2);
  if (line.half <= 0.5) {
    if (y != h / 2) return 0.0;
    out[origin_x] = 1.0;
    return 1.0;
  }
  const Stretch in_row = stretch_in_slab(row, line.down, line.half);
  if (!(in_row.low < in_row.high)) return 0.0;
  // The columns that the stretch crosses, one more at either end against rounding.
  const auto column = [&](double t) {
    const double x = std::floor(t * line.across + 0.5) + static_cast<double>(origin_x);
    return static_cast<std::int64_t>(std::clamp(x, -2.0, static_cast<double>(w) + 1.0));
  };
  const std::int64_t first = std::max<std::int64_t>(column(in_row.low) - 1, 0);
  const std::int64_t last = std::min<std::int64_t>(column(in_row.high) + 1, w - 1);
  const double length = 2.0 * line.half;
  double sum = 0.0;
  for (std::int64_t x = first; x <= last; ++x) {
    const double inside = length_in_pixel(line, in_row, x - origin_x);
    if (inside > 0.0) sum += out[x] = inside / length;
  }
  return sum;
}

}  // namespace fastdeblur::psf
