// Richardson-Lucy in four passes an iteration (five with Biggs-Andrews acceleration, whose step is known only
// once the whole image is updated); fastdeblur/methods/richardson_lucy.py is the specification.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

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
};

// The scene lives on the rows `domain`, the data on the rows `observed`. state holds the images and makes the
// row programs; the estimate is in it at the end. otf, blur, adjoint: the columns' filter and what to do with
// it (S H, S conj(H)). uniform: the first estimate is one value all over the grid, so that H leaves it as it
// is.
template <class Engine, class Spectrum, class State, class Otf, class Blur, class Adjoint>
void richardson_lucy(Engine& engine, Spectrum spectrum, State& state, Rows domain, Rows observed, Otf otf,
                     Blur blur, Adjoint adjoint, bool uniform, const RichardsonLucyOptions& options) {
  const bool measured_step = options.acceleration == Acceleration::biggs_andrews;
  double step = 0, square_before = 0, t = 1;
  for (std::int64_t k = 0; k < options.iterations; ++k) {
    if (k == 0 && uniform) {
      engine.rows_forward(spectrum, observed, state.ratio_of_uniform());
    } else {
      if (k == 0 || measured_step) engine.rows_forward(spectrum, domain, state.extrapolated(step));
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
    const UpdateSums sums = state.sums();
    const double ratio = k > 0 && square_before > 0 ? sums.step_dot / square_before : 0.0;
    step = std::isfinite(ratio) ? std::clamp(ratio, 0.0, 1.0) : 0.0;
    square_before = sums.step;
    if (options.goes_on && !options.goes_on(k + 1, sums.size > 0 ? std::sqrt(sums.change / sums.size) : 0.0))
      return;
  }
}

}  // namespace fastdeblur
