// Richardson-Lucy in four passes an iteration (five with Biggs-Andrews acceleration, whose step is known only
// once the whole image is updated); fastdeblur/methods/richardson_lucy.py is the specification.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>

#include "core/functors.h"
#include "core/grid.h"

namespace fastdeblur {

enum class Acceleration { none, ogm, biggs_andrews };

// Momentum may take a pixel down to this fraction of its last estimate.
constexpr double kMomentumFloor = 0.75;

struct RichardsonLucyOptions {
  std::int64_t iterations = 0;
  Acceleration acceleration = Acceleration::none;
  double background = 0;
  // A scene pixel that sends less than this into the frame is not estimated: see RlUpdate.
  double sigma = 1e-4;
  // Called after every iteration with the number done and |x_k - x_{k-1}| / |x_k|; false ends the run. May be
  // empty.
  std::function<bool(std::int64_t, double)> goes_on;
};

// Inner products that the update takes on its way.
struct UpdateSums {
  double change = 0;    // |x - x_before|^2
  double size = 0;      // |x|^2
  double step = 0;      // |g|^2, g = x - z
  double step_dot = 0;  // <g, g_before>

  FD_HD void add(const UpdateSums& other) {
    change += other.change;
    size += other.size;
    step += other.step;
    step_dot += other.step_dot;
  }
  FD_HD double relative_change() const { return size > 0 ? std::sqrt(change / size) : 0.0; }
};

constexpr double kLargest = std::numeric_limits<double>::max();

// How far Biggs and Andrews extrapolate: <g, g_before> / |g_before|^2, within [0, 1]; 0 at first, and where
// that is no number.
struct StepLength {
  double step = 0, square_before = 0;

  FD_HD void next(const UpdateSums& sums) {
    const double ratio = square_before > 0 ? sums.step_dot / square_before : 0.0;
    step = ratio > 0 && ratio <= kLargest ? (ratio < 1 ? ratio : 1.0) : 0.0;
    square_before = sums.step;
  }
};

// The scene lives on the rows `domain`, the data on the rows `observed`. state holds the images, makes the
// row programs and keeps the step length, wherever its sums are; the estimate is in it at the end. otf, blur,
// adjoint: the columns' filter and what to do with it (S H, S conj(H)). uniform: the first estimate is one
// value all over the grid, so that H leaves it as it is.
template <class Engine, class Spectrum, class State, class Otf, class Blur, class Adjoint>
void richardson_lucy(Engine& engine, Spectrum spectrum, State& state, Rows domain, Rows observed, Otf otf,
                     Blur blur, Adjoint adjoint, bool uniform, const RichardsonLucyOptions& options) {
  const bool measured_step = options.acceleration == Acceleration::biggs_andrews;
  double t = 1;
  for (std::int64_t k = 0; k < options.iterations; ++k) {
    if (k == 0 && uniform) {
      engine.rows_forward(spectrum, observed, state.ratio_of_uniform());
    } else {
      if (k == 0 || measured_step) engine.rows_forward(spectrum, domain, state.extrapolated());
      engine.columns(spectrum, domain, observed, otf, blur);
      engine.rows(spectrum, observed, state.ratio());
    }
    engine.columns(spectrum, observed, domain, otf, adjoint);

    // Where the next iteration's start is known pixel by pixel, its forward transform joins the update.
    const double t_next = (1 + std::sqrt(1 + 4 * t * t)) / 2;
    auto update = state.update((t - 1) / t_next, t / t_next);
    t = t_next;
    if (measured_step || k + 1 == options.iterations) {
      engine.rows_inverse(spectrum, domain, update);
    } else {
      engine.rows(spectrum, domain, update);
    }
    state.advance();
    if (options.goes_on && !options.goes_on(k + 1, state.change())) return;
  }
}

}  // namespace fastdeblur
