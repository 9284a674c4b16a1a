// Grids on the host: a spectrum, tables and launches of the fused passes, against sums taken one by one.
#pragma once

#include <cmath>
#include <complex>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "cuda/fft/passes.h"

namespace fastdeblur::tests {

using Volume = std::vector<double>;
using cuda::Complex;
using cuda::HostLauncher;

constexpr cuda::Limits kH100{227 << 10, 228 << 10, 132};

inline void require(bool holds, const char* what, const Grid& g, double seen = 0) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s, grid %d x %d x %d, frame %d x %d x %d: %g\n", what,
               static_cast<int>(g.full[0]), static_cast<int>(g.full[1]), static_cast<int>(g.full[2]),
               static_cast<int>(g.frame[0]), static_cast<int>(g.frame[1]), static_cast<int>(g.frame[2]),
               seen);
  std::exit(1);
}

inline std::vector<double> noise(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<double> v(n);
  for (double& x : v) x = uniform(random);
  return v;
}

// A plan with its tables, and passes over it.
template <class T>
struct Passes {
  cuda::FusedPlan<T> plan;
  HostLauncher launcher;
  std::vector<Complex<T>> spectrum;
  std::vector<double> parts;
  cuda::FusedPasses<T, HostLauncher> passes;

  Passes(const Grid& g, const cuda::Limits& limits,
         HostLauncher::Order order = HostLauncher::Order::ascending)
      : plan(g, limits),
        launcher(order),
        spectrum(static_cast<std::size_t>(plan.spectrum_size()), Complex<T>{T(NAN), T(NAN)}),
        parts(static_cast<std::size_t>(4 * plan.row_blocks(Rows::all))),
        passes(plan, launcher, parts.data()) {
    plan.place(plan.tables().roots.data(), plan.tables().orders.data());
  }
  Passes(const Passes&) = delete;
};

}  // namespace fastdeblur::tests
