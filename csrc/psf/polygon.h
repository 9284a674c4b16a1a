// The PSF of a lens out of focus whose aperture is a polygon: exact areas of a convex polygon in the pixels'
// squares, by clipping (Sutherland and Hodgman 1974, doi:10.1145/360767.360802).
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "psf/path.h"

namespace fastdeblur::psf {

using Polygon = std::vector<Point>;

// The part of a convex polygon where sign (c - border) <= 0, c the coordinate of an axis.
inline void clip(const Polygon& from, double Point::* axis, double border, double sign, Polygon& to) {
  to.clear();
  const std::size_t n = from.size();
  for (std::size_t i = 0; i < n; ++i) {
    const Point &a = from[i], &b = from[i + 1 < n ? i + 1 : 0];
    const double da = sign * (a.*axis - border), db = sign * (b.*axis - border);
    if (da <= 0) to.push_back(a);
    if ((da < 0 && db > 0) || (da > 0 && db < 0)) {
      const double t = da / (da - db);
      Point crossing{a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)};
      crossing.*axis = border;
      to.push_back(crossing);
    }
  }
}

inline double area(const Polygon& p) {
  double twice = 0.0;
  for (std::size_t i = 2; i < p.size();
       ++i)  // fans from the first vertex: no digits lost far from the origin
    twice += (p[i - 1].x - p[0].x) * (p[i].y - p[0].y) - (p[i].x - p[0].x) * (p[i - 1].y - p[0].y);
  return 0.5 * std::fabs(twice);
}

// Writes row y of an (h, w) kernel: areas of the polygon in the pixels. Returns their sum.
inline double rasterise_polygon_row(const Polygon& polygon, std::int64_t y, std::int64_t h, std::int64_t w,
                                    double* out) {
  Polygon a, b, c;
  const auto centre = static_cast<double>(y - h / 2);
  clip(polygon, &Point::y, centre - 0.5, -1, a);
  clip(a, &Point::y, centre + 0.5, 1, b);
  // What remains is cut column by column.
  double sum = 0.0;
  clip(b, &Point::x, -static_cast<double>(w / 2) - 0.5, -1, a);
  for (std::int64_t x = 0; x < w; ++x) {
    const double right = static_cast<double>(x - w / 2) + 0.5;
    clip(a, &Point::x, right, 1, b);
    sum += out[x] = area(b);
    clip(a, &Point::x, right, -1, c);
    a.swap(c);
  }
  return sum;
}

// The vertices of a regular polygon, the first one `rotation` degrees counter-clockwise from the x axis with
// rows running downwards.
inline Polygon regular_polygon(double radius, std::int64_t blades, double rotation) {
  constexpr double kPi = 3.14159265358979323846;
  Polygon result;
  for (std::int64_t i = 0; i < blades; ++i) {
    const double angle = std::fmod(rotation, 360.0) * (kPi / 180) +
                         2 * kPi * static_cast<double>(i) / static_cast<double>(blades);
    result.push_back({radius * std::cos(angle), -radius * std::sin(angle)});
  }
  return result;
}

}  // namespace fastdeblur::psf
