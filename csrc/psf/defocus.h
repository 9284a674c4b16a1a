// The PSF of a lens out of focus: exact areas of a disk in the pixels' squares.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/ordering.h"

namespace fastdeblur::psf {

// theta - sin(theta) without cancellation for the short arcs that a pixel cuts from a large circle.
FD_HD_FUNCTION double angle_minus_sine(double theta) {
  if (theta > 0.5) return theta - std::sin(theta);
  const double s = theta * theta;
  double tail = 1.0;  // Taylor: theta^3/3! (1 - s/(4 5) (1 - s/(6 7) (1 - ...)))
  for (int k = 14; k >= 4; k -= 2) tail = 1.0 - s / (k * (k + 1.0)) * tail;
  return theta * s / 6.0 * tail;
}

// Area of the disk of the given radius around (0, 0) in [x0, x1] x [y0, y1], all >= 0. In the first
// quadrant the arc falls, so that it enters the cell once and leaves it once: the area is that of a polygon
// and of the circle's segment on the chord. Every length is that of the cell, not of the disk, so that no
// digits cancel for a large radius.
FD_HD_FUNCTION double disk_area_in_cell(double radius, double x0, double x1, double y0, double y1) {
  const auto on_arc = [radius](double v) { return std::sqrt(greatest(0.0, (radius - v) * (radius + v))); };
  if (x1 * x1 + y1 * y1 <= radius * radius) return (x1 - x0) * (y1 - y0);
  if (x0 * x0 + y0 * y0 >= radius * radius) return 0.0;
  // Where the arc enters (through the top, else through the left side) and leaves (right side, else bottom).
  double enter_x = y1 < radius ? on_arc(y1) : 0.0, enter_y = y1;
  if (enter_x < x0 || y1 >= radius) enter_x = x0, enter_y = within(on_arc(x0), y0, y1);
  double leave_y = x1 < radius ? on_arc(x1) : 0.0, leave_x = x1;
  if (leave_y < y0 || x1 >= radius) leave_y = y0, leave_x = within(on_arc(y0), x0, x1);
  enter_x = least(enter_x, leave_x);
  const double under_chord =
      (enter_x - x0) * (y1 - y0) + 0.5 * ((enter_y - y0) + (leave_y - y0)) * (leave_x - enter_x);
  const double chord = std::hypot(leave_x - enter_x, enter_y - leave_y);
  const double theta = 2.0 * std::asin(least(1.0, 0.5 * chord / radius));
  return under_chord + 0.5 * radius * radius * angle_minus_sine(theta);
}

// Share of the disk in the pixel whose centre is `dx` columns and `dy` rows from the disk's.
FD_HD_FUNCTION double disk_share(double radius, std::int64_t dx, std::int64_t dy) {
  const std::int64_t across = dx < 0 ? -dx : dx, down = dy < 0 ? -dy : dy;
  const std::int64_t u = greatest(across, down),
                     v = least(across, down);  // one value for all eight reflections
  if (radius <= 0.5) return u == 0 ? 1.0 : 0.0;
  const auto x = static_cast<double>(u), y = static_cast<double>(v);
  // The axes halve the pixels on them; each half lies in one quadrant.
  const double copies = (u == 0 ? 2.0 : 1.0) * (v == 0 ? 2.0 : 1.0);
  const double area =
      disk_area_in_cell(radius, greatest(0.0, x - 0.5), x + 0.5, greatest(0.0, y - 0.5), y + 0.5);
  constexpr double kPi = 3.14159265358979323846;
  return copies * area / (kPi * radius * radius);
}

// Writes row y of an (h, w) kernel with its origin at (h / 2, w / 2). Returns the row's sum.
inline double rasterise_defocus_row(double radius, std::int64_t y, std::int64_t h, std::int64_t w,
                                    double* out) {
  const std::int64_t dy = y - h / 2, origin_x = w / 2;
  double sum = 0.0;
  for (std::int64_t x = 0; x < w; ++x) {
    // A row mirrors itself at its origin: what lies to the right is copied.
    const std::int64_t mirror = 2 * origin_x - x;
    out[x] = mirror >= 0 && mirror < x ? out[mirror] : disk_share(radius, x - origin_x, dy);
    sum += out[x];
  }
  return sum;
}

}  // namespace fastdeblur::psf
