// Random camera shake after Boracchi and Foi 2012, doi:10.1109/TIP.2012.2192126: a particle whose velocity is
// disturbed by noise, by a pull back and by abrupt reversals, and then brought back to its length.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/pcg64.h"
#include "core/ziggurat.h"
#include "psf/path.h"

namespace fastdeblur::psf {

// What all kernels share.
struct ShakeModel {
  std::int64_t steps;  // of the whole path
  double length;       // of the whole path, pixels
  bool square;
  // Per kernel: the most that each disturbance can be; see fastdeblur/psf/camera_shake.py.
  double noise, pull, reversals;
};

// Moves kLanes particles at once: the velocities' square roots and divisions of one alone would wait for each
// other.
class ShakePaths {
 public:
  static constexpr int kLanes = 4;

  explicit ShakePaths(const ShakeModel& model)
      : model_(model),
        xs_(static_cast<std::size_t>(kLanes * (model.steps + 1))),
        ys_(xs_.size()),
        noise_(2 * static_cast<std::size_t>(kLanes * model.steps)),
        turns_(static_cast<std::size_t>(model.steps)) {}

  // Paths of which `most` steps are wanted: one of the stream, one of the stream a jump further, and so on;
  // the stream is left behind them.
  void run(Pcg64& stream, const Pcg64::Leap& jump, const double* anxieties, int count, std::int64_t most) {
    double vx[kLanes] = {}, vy[kLanes] = {}, pull[kLanes] = {};
    std::fill(turns_.begin(), turns_.end(), 0);
    reversals_.clear();
    for (int lane = 0; lane < count; ++lane) {
      Pcg64 generator = stream;
      stream.advance(jump);
      draw(generator, anxieties[lane], lane, most, vx[lane], vy[lane], pull[lane]);
    }
    const double step = 1.0 / static_cast<double>(model_.steps);  // of a path of length 1
    double x[kLanes] = {}, y[kLanes] = {};
    store(0, x, y);
    for (std::int64_t i = 0; i < most; ++i) {
      if (turns_[static_cast<std::size_t>(i)]) reverse(i, vx, vy);
      const double* noise = noise_.data() + 2 * kLanes * i;
      for (int l = 0; l < kLanes; ++l) {
        const double ax = vx[l] + noise[l] - pull[l] * x[l], ay = vy[l] + noise[kLanes + l] - pull[l] * y[l];
        const double scale = 1.0 / std::sqrt(ax * ax + ay * ay);
        vx[l] = ax * scale;
        vy[l] = ay * scale;
        x[l] += step * vx[l];
        y[l] += step * vy[l];
      }
      store(i + 1, x, y);
    }
  }

  // A lane's points: one each `kLanes`.
  const double* xs(int lane) const { return xs_.data() + lane; }
  const double* ys(int lane) const { return ys_.data() + lane; }

 private:
  struct Reversal {
    std::int64_t step;
    int lane;
    double angle;
  };

  void store(std::int64_t i, const double* x, const double* y) {
    for (int l = 0; l < kLanes; ++l) {
      xs_[static_cast<std::size_t>(kLanes * i + l)] = model_.length * x[l];
      ys_[static_cast<std::size_t>(kLanes * i + l)] = model_.length * y[l];
    }
  }

  // The order of the draws is the one of the NumPy reference: direction, pull, reversals, noise; then the
  // reversals; then the noise, x and y of each step.
  void draw(Pcg64& generator, double anxiety, int lane, std::int64_t most, double& vx, double& vy,
            double& pull) {
    constexpr double kTurn = 6.283185307179586477;
    const double direction = kTurn * generator.uniform();
    vx = std::cos(direction);
    vy = std::sin(direction);
    const auto steps = static_cast<double>(model_.steps);
    pull = anxiety * model_.pull * generator.uniform() / steps;
    const double rate = anxiety * model_.reversals * generator.uniform();
    const double deviation = anxiety * model_.noise * generator.uniform() / std::sqrt(steps);
    double time = 0.0;  // of the whole path; reversals come at random times, `rate` of them on average
    for (;;) {
      time -= std::log1p(-generator.uniform()) / rate;
      if (!(time < 1.0)) break;
      const auto at = static_cast<std::int64_t>(time * steps);
      const double angle = generator.uniform() - 0.5;  // radians off straight back
      if (at < most) {
        ++turns_[static_cast<std::size_t>(at)];
        reversals_.push_back({at, lane, angle});
      }
    }
    const Ziggurat& z = ziggurat();
    double* out = noise_.data() + lane;
    for (std::int64_t i = 0; i < 2 * most; ++i) out[kLanes * i] = deviation * normal(z, generator);
  }

  static double normal(const Ziggurat& z, Pcg64& generator) {
    for (;;) {
      const ZigguratDraw draw(z, generator.next());
      if (draw.inside(z)) return draw.x;
      bool accepted;
      const double x = finish_draw(z, draw, [&generator] { return generator.uniform(); }, accepted);
      if (accepted) return x;
    }
  }

  void reverse(std::int64_t step, double* vx, double* vy) const {
    for (const Reversal& r : reversals_) {
      if (r.step != step) continue;
      const double c = -std::cos(r.angle), s = -std::sin(r.angle), x = vx[r.lane], y = vy[r.lane];
      vx[r.lane] = c * x - s * y;
      vy[r.lane] = s * x + c * y;
    }
  }

  ShakeModel model_;
  std::vector<double> xs_, ys_;  // [step][lane]
  std::vector<double> noise_;    // [step][x, y][lane]
  std::vector<int> turns_;       // reversals in a step, of all lanes
  std::vector<Reversal> reversals_;
};

// The first `wanted` steps (the last perhaps in part) as a kernel of sum 1, the path's centroid on the
// origin.
template <class Light>
void rasterise_shake(const double* xs, const double* ys, double wanted, Light light) {
  constexpr std::int64_t stride = ShakePaths::kLanes;
  const auto last = static_cast<std::int64_t>(std::ceil(wanted)) - 1;
  const double rest = wanted - static_cast<double>(last);  // in (0, 1]
  const auto point = [&](std::int64_t i) { return Point{xs[stride * i], ys[stride * i]}; };
  const Point a = point(last), b = point(last + 1);
  const Point end{a.x + rest * (b.x - a.x), a.y + rest * (b.y - a.y)};
  // Trapezoids of the whole steps, of which the start is 0, and of the part.
  double sx = 0.5 * (rest * (a.x + end.x) - a.x), sy = 0.5 * (rest * (a.y + end.y) - a.y);
  for (std::int64_t i = 1; i <= last; ++i) {
    sx += xs[stride * i];
    sy += ys[stride * i];
  }
  const Point mean{sx / wanted, sy / wanted};
  const auto moved = [&](Point p) { return Point{p.x - mean.x, p.y - mean.y}; };
  light.add_each([&](std::int64_t i) { return moved(point(i)); }, last, 1.0 / wanted);
  light.add(moved(a), moved(end), rest / wanted);
  light.finish();
}

}  // namespace fastdeblur::psf
