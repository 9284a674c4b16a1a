// Kernels of paths: a point or a pixel's square of light carried along straight pieces at even speed, the
// time that it spends over each pixel integrated exactly.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace fastdeblur::psf {

struct Point {
  double x, y;  // columns to the right and rows down, from the origin
};

// An (h, w) kernel that is added to. What falls outside is lost.
struct Canvas {
  double* pixels;
  std::int64_t h, w;

  void add(std::int64_t x, std::int64_t y, double weight) const {
    const std::int64_t column = x + w / 2, row = y + h / 2;
    if (column >= 0 && column < w && row >= 0 && row < h) pixels[row * w + column] += weight;
  }
};

// The piece a + t (b - a), 0 <= t <= 1, cut where a coordinate is an integer: visit(x, y, t0, t1) for each
// part, x and y the integers below it.
template <class Visit>
void walk(Point a, Point b, Visit visit) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  double x_border = dx > 0 ? std::floor(a.x) + 1 : std::ceil(a.x) - 1;
  double y_border = dy > 0 ? std::floor(a.y) + 1 : std::ceil(a.y) - 1;
  // crossing.
  double t = 0;
  for (;;) {
    const double tx = dx != 0 ? (x_border - a.x) / dx : 1, ty = dy != 0 ? (y_border - a.y) / dy : 1;
    const double end = std::min({tx, ty, 1.0});
    if (end > t) {
      const double middle = 0.5 * (t + end);
      visit(std::floor(a.x + middle * dx), std::floor(a.y + middle * dy), t, end);
      t = end;
    }
    if (!(end < 1)) return;
    if (tx == end) x_border += dx > 0 ? 1 : -1;
    if (ty == end) y_border += dy > 0 ? 1 : -1;
  }
}

// A point of light: `weight` is shared out by the time in each pixel.
inline void add_point_piece(const Canvas& canvas, Point a, Point b, double weight) {
  walk({a.x + 0.5, a.y + 0.5}, {b.x + 0.5, b.y + 0.5}, [&](double x, double y, double t0, double t1) {
    canvas.add(static_cast<std::int64_t>(x), static_cast<std::int64_t>(y), weight * (t1 - t0));
  });
}

// Shares of a pixel's square that moves from (u0, v0) to (u1, v1), both in [0, 1]^2, in the four pixels that
// it overlaps: integrals of (1-u)(1-v), u (1-v), (1-u) v and u v.
struct Overlap {
  double left_top, right_top, left_bottom, right_bottom;
};

inline Overlap overlap(double u0, double v0, double u1, double v1) {
  const double u = 0.5 * (u0 + u1), v = 0.5 * (v0 + v1);
  const double both = u * v + (u1 - u0) * (v1 - v0) * (1.0 / 12.0);
  return {1 - u - v + both, u - both, v - both, both};
}

// Adds shares of the four pixels from (x, y) on.
inline void add_overlap(const Canvas& canvas, double x, double y, const Overlap& share, double weight) {
  const auto column = static_cast<std::int64_t>(x), row = static_cast<std::int64_t>(y);
  // Rounding must not leave a share below 0.
  const double left_top = weight * std::max(0.0, share.left_top);
  const double right_top = weight * std::max(0.0, share.right_top);
  const double left_bottom = weight * std::max(0.0, share.left_bottom);
  const double right_bottom = weight * std::max(0.0, share.right_bottom);
  const std::int64_t i = column + canvas.w / 2, j = row + canvas.h / 2;
  if (i >= 0 && i + 1 < canvas.w && j >= 0 && j + 1 < canvas.h) {
    double* at = canvas.pixels + j * canvas.w + i;
    at[0] += left_top;
    at[1] += right_top;
    at[canvas.w] += left_bottom;
    at[canvas.w + 1] += right_bottom;
    return;
  }
  canvas.add(column, row, left_top);
  canvas.add(column + 1, row, right_top);
  canvas.add(column, row + 1, left_bottom);
  canvas.add(column + 1, row + 1, right_bottom);
}

// A pixel's square of light: `weight` is shared out by the overlap with each pixel.
inline void add_square_piece(const Canvas& canvas, Point a, Point b, double weight) {
  const double column = std::floor(a.x), row = std::floor(a.y);
  if (column == std::floor(b.x) && row == std::floor(b.y)) {  // most steps of a shake
    add_overlap(canvas, column, row, overlap(a.x - column, a.y - row, b.x - column, b.y - row), weight);
    return;
  }
  walk(a, b, [&](double x, double y, double t0, double t1) {
    const auto at = [](double from, double to, double t, double cell) {
      return std::clamp(from + t * (to - from) - cell, 0.0, 1.0);
    };
    const Overlap share =
        overlap(at(a.x, b.x, t0, x), at(a.y, b.y, t0, y), at(a.x, b.x, t1, x), at(a.y, b.y, t1, y));
    add_overlap(canvas, x, y, share, weight * (t1 - t0));
  });
}

inline void add_piece(const Canvas& canvas, Point a, Point b, double weight, bool square) {
  if (square)
    add_square_piece(canvas, a, b, weight);
  else
    add_point_piece(canvas, a, b, weight);
}

// A path: `count` points at times that never fall.
struct Path {
  const Point* points;
  const double* times;
  std::int64_t count;
};

// Adds what the path does between the times `begin` <= `end`, moved by `shift`. Weights are shares of that
// span; of no time at all, the place at `begin` has weight 1.
inline void rasterise_path(const Path& path, double begin, double end, Point shift, bool square,
                           const Canvas& canvas) {
  const auto at = [&](std::int64_t i, double time) {
    const Point a = path.points[i], b = path.points[i + 1];
    const double span = path.times[i + 1] - path.times[i];
    const double t = span > 0 ? std::clamp((time - path.times[i]) / span, 0.0, 1.0) : 0.0;
    return Point{a.x + t * (b.x - a.x) + shift.x, a.y + t * (b.y - a.y) + shift.y};
  };
  const double* last = path.times + path.count - 1;
  std::int64_t i = std::max<std::int64_t>(std::upper_bound(path.times, last, begin) - path.times - 1, 0);
  if (!(begin < end) || path.count == 1) {
    const Point here =
        path.count == 1 ? Point{path.points[0].x + shift.x, path.points[0].y + shift.y} : at(i, begin);
    add_piece(canvas, here, here, 1.0, square);
    return;
  }
  for (; i + 1 < path.count && path.times[i] < end; ++i) {
    const double from = std::max(path.times[i], begin), to = std::min(path.times[i + 1], end);
    if (from < to) add_piece(canvas, at(i, from), at(i, to), (to - from) / (end - begin), square);
  }
}

}  // namespace fastdeblur::psf
