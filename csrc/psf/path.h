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
  // Where the last border was crossed, as a share of the way.
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

// A pixel's square of light. While it is over the same four pixels, with its place (u, v) in [0, 1]^2 from
// the first, they get the integrals over time of (1-u)(1-v), u (1-v), (1-u) v and u v, of which 1, u, v and u
// v are kept until it moves on.
class Square {
 public:
  explicit Square(const Canvas& canvas) : canvas_(canvas) {}

  // `weight` is the piece's share of the time.
  void add(Point a, Point b, double weight) {
    walk(a, b, [&](double x, double y, double t0, double t1) {
      const auto at = [](double from, double to, double t, double cell) {
        return std::clamp(from + t * (to - from) - cell, 0.0, 1.0);
      };
      move_to(x, y);
      keep(at(a.x, b.x, t0, x), at(a.y, b.y, t0, y), at(a.x, b.x, t1, x), at(a.y, b.y, t1, y),
           weight * (t1 - t0));
    });
  }

  // Pieces of one weight between the points at(0), at(1), ..., at(count), short ones, of which most stay over
  // the same four pixels: their sums are kept in registers.
  template <class At>
  void add_each(At at, std::int64_t count, double weight) {
    Point from = at(0);
    double x = std::floor(from.x), y = std::floor(from.y), u0 = from.x - x, v0 = from.y - y;
    double pieces = 0.0, u = 0.0, v = 0.0, both = 0.0;  // u and v twice, both four times
    const auto hand_over = [&] {
      move_to(x, y);
      time_ += weight * pieces;
      u_ += weight * 0.5 * u;
      v_ += weight * 0.5 * v;
      both_ += weight * 0.25 * both;
      pieces = u = v = both = 0.0;
    };
    for (std::int64_t i = 1; i <= count; ++i) {
      const Point to = at(i);
      const double u1 = to.x - x, v1 = to.y - y;
      if ((u1 >= 0) & (u1 < 1) & (v1 >= 0) & (v1 < 1)) {
        pieces += 1.0;
        u += u0 + u1;
        v += v0 + v1;
        both += (u0 + u1) * (v0 + v1) + (u1 - u0) * (v1 - v0) * (1.0 / 3.0);
        u0 = u1;
        v0 = v1;
      } else {
        hand_over();
        add(from, to, weight);
        x = std::floor(to.x);
        y = std::floor(to.y);
        u0 = to.x - x;
        v0 = to.y - y;
      }
      from = to;
    }
    hand_over();
  }

  void finish() {
    const auto column = static_cast<std::int64_t>(x_), row = static_cast<std::int64_t>(y_);
    // Rounding must not leave a share below 0.
    canvas_.add(column, row, std::max(0.0, time_ - u_ - v_ + both_));
    canvas_.add(column + 1, row, std::max(0.0, u_ - both_));
    canvas_.add(column, row + 1, std::max(0.0, v_ - both_));
    canvas_.add(column + 1, row + 1, std::max(0.0, both_));
    time_ = u_ = v_ = both_ = 0.0;
  }

 private:
  void move_to(double x, double y) {
    if (x == x_ && y == y_) return;
    finish();
    x_ = x;
    y_ = y;
  }

  void keep(double u0, double v0, double u1, double v1, double weight) {
    const double u = 0.5 * (u0 + u1), v = 0.5 * (v0 + v1);
    time_ += weight;
    u_ += weight * u;
    v_ += weight * v;
    both_ += weight * (u * v + (u1 - u0) * (v1 - v0) * (1.0 / 12.0));
  }

  const Canvas canvas_;
  double x_ = 0.0, y_ = 0.0, time_ = 0.0, u_ = 0.0, v_ = 0.0, both_ = 0.0;
};

// A point of light: its time is shared out among the pixels that it is in.
class Spot {
 public:
  explicit Spot(const Canvas& canvas) : canvas_(canvas) {}

  void add(Point a, Point b, double weight) {
    walk({a.x + 0.5, a.y + 0.5}, {b.x + 0.5, b.y + 0.5}, [&](double x, double y, double t0, double t1) {
      canvas_.add(static_cast<std::int64_t>(x), static_cast<std::int64_t>(y), weight * (t1 - t0));
    });
  }

  template <class At>
  void add_each(At at, std::int64_t count, double weight) {
    for (std::int64_t i = 0; i < count; ++i) add(at(i), at(i + 1), weight);
  }

  void finish() {}

 private:
  const Canvas canvas_;
};

// A path: `count` points at times that never fall.
struct Path {
  const Point* points;
  const double* times;
  std::int64_t count;
};

// Adds what the path does between the times `begin` <= `end`, moved by `shift`. Weights are shares of that
// span; of no time at all, the place at `begin` has weight 1.
template <class Light>
void rasterise_path(const Path& path, double begin, double end, Point shift, Light light) {
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
    light.add(here, here, 1.0);
    light.finish();
    return;
  }
  for (; i + 1 < path.count && path.times[i] < end; ++i) {
    const double from = std::max(path.times[i], begin), to = std::min(path.times[i + 1], end);
    if (from < to) light.add(at(i, from), at(i, to), (to - from) / (end - begin));
  }
  light.finish();
}

}  // namespace fastdeblur::psf
