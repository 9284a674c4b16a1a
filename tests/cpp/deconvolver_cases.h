// The deconvolver against direct sums, on the smallest, largest and oddest grids; meant to be run under the
// sanitizers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "cpu/deconvolver.h"

namespace fastdeblur::tests {

using Shape = std::array<int64_t, 3>;

inline int64_t size_of(const Shape& s) { return s[0] * s[1] * s[2]; }

inline void require(bool holds, const char* what, const Shape& shape, int threads) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s, grid %lld x %lld x %lld, %d threads\n", what,
               static_cast<long long>(shape[0]), static_cast<long long>(shape[1]),
               static_cast<long long>(shape[2]), threads);
  std::exit(1);
}

template <class T>
ImageView image_view(const std::vector<T>& v, const Shape& s) {
  const auto e = static_cast<std::ptrdiff_t>(sizeof(T));
  return {v.data(), element_of<T>(), {s[1] * s[2] * e, s[2] * e, e}};
}

template <class T>
MutableImageView<T> out_view(std::vector<T>& v, const Shape& s) {
  const auto e = static_cast<std::ptrdiff_t>(sizeof(T));
  return {v.data(), {s[1] * s[2] * e, s[2] * e, e}};
}

// After the frame nothing (w = 0) or its last sample again (w = 1).
inline AxisMap extend(int64_t frame, int64_t full, double w) {
  AxisMap map;
  for (int64_t i = frame; i < full; ++i) {
    map.first.push_back(frame - 1);
    map.second.push_back(0);
    map.w1.push_back(w);
    map.w2.push_back(0.0);
  }
  return map;
}

// Sum over k of h[k] x[p - (k - origin)], or of h[k] x[p + (k - origin)] for the adjoint, periodic, in
// double.
inline std::vector<double> convolve(const std::vector<double>& x, const Shape& n,
                                    const std::vector<double>& h, const Shape& m, bool adjoint) {
  std::vector<double> y(x.size());
  auto wrap = [](int64_t i, int64_t length) { return ((i % length) + length) % length; };
  const int64_t sign = adjoint ? 1 : -1;
  for (int64_t c = 0; c < n[0]; ++c)
    for (int64_t r = 0; r < n[1]; ++r)
      for (int64_t i = 0; i < n[2]; ++i) {
        double sum = 0;
        for (int64_t a = 0; a < m[0]; ++a)
          for (int64_t b = 0; b < m[1]; ++b)
            for (int64_t d = 0; d < m[2]; ++d) {
              const int64_t p = wrap(c + sign * (a - m[0] / 2), n[0]);
              const int64_t q = wrap(r + sign * (b - m[1] / 2), n[1]);
              const int64_t s = wrap(i + sign * (d - m[2] / 2), n[2]);
              sum += h[static_cast<std::size_t>((a * m[1] + b) * m[2] + d)] *
                     x[static_cast<std::size_t>((p * n[1] + q) * n[2] + s)];
            }
        y[static_cast<std::size_t>((c * n[1] + r) * n[2] + i)] = sum;
      }
  return y;
}

template <class T>
Problem<T> problem_of(const Shape& frame, const Shape& full, const Shape& psf_shape,
                      const std::vector<double>& psf, int threads) {
  Problem<T> problem;
  problem.grid.frame = frame;
  problem.grid.full = full;
  problem.psf_shape = psf_shape;
  for (const double value : psf) problem.psfs.push_back(static_cast<T>(value));
  problem.extended = frame == full;
  problem.threads = threads;
  for (std::size_t a = 0; a < 3; ++a) {
    problem.data_maps[a] = extend(frame[a], full[a], 0.0);
    problem.init_maps[a] = extend(frame[a], full[a], 1.0);
  }
  return problem;
}

template <class T>
void check_grid(const Shape& n, const Shape& m, bool one_axis, int threads, double tolerance) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> uniform(0.1, 1.0);
  std::vector<double> psf(static_cast<std::size_t>(size_of(m)));
  double total = 0;
  for (double& value : psf) total += value = uniform(random);
  for (double& value : psf) value /= total;
  std::vector<T> image(static_cast<std::size_t>(size_of(n)));
  for (T& value : image) value = static_cast<T>(uniform(random));
  const std::vector<double> y(image.begin(), image.end());

  // Wiener, periodic: (H^T H + balance) x = H^T y.
  const auto deconvolver = make_deconvolver<T>(problem_of<T>(n, n, m, psf, threads), one_axis);
  WienerOptions<T> options;
  options.balance = T(0.1);
  std::vector<T> out(image.size());
  const std::vector<PlaneView<T>> planes{{image_view(image, n), out_view(out, n), 0, {}, {}}};
  deconvolver->wiener(planes, options, [] {});
  const std::vector<double> x(out.begin(), out.end());
  const auto left = convolve(convolve(x, n, psf, m, false), n, psf, m, true),
             right = convolve(y, n, psf, m, true);
  for (std::size_t i = 0; i < x.size(); ++i)
    require(std::fabs(left[i] + double(options.balance) * x[i] - right[i]) <= tolerance, "wiener", n,
            threads);

  // Richardson-Lucy, periodic: one step from the mean is mean * H^T(y / mean) = H^T y.
  RichardsonLucyOptions iterate;
  iterate.iterations = 1;
  deconvolver->richardson_lucy(planes, iterate, false, {}, [] {});
  double sum = 0, expected = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    require(std::fabs(double(out[i]) - right[i]) <= tolerance, "first iteration of richardson_lucy", n,
            threads);
    sum += double(out[i]);
    expected += y[i];
  }
  require(std::fabs(sum - expected) <= tolerance * static_cast<double>(out.size()), "flux", n, threads);

  // A flat scene that goes on past the frame stays flat, with every acceleration; far outside the frame
  // rounding is divided by what little of a pixel the frame has seen.
  Shape full = n;
  for (std::size_t a = 0; a < 3; ++a) full[a] += m[a] - 1;
  const auto unknown = make_deconvolver<T>(problem_of<T>(n, full, m, psf, threads), one_axis);
  const std::vector<T> flat(image.size(), T(0.5));
  const std::vector<PlaneView<T>> scene{{image_view(flat, n), out_view(out, n), 0, {}, {}}};
  iterate.iterations = 5;
  for (const auto kind : {Acceleration::none, Acceleration::ogm, Acceleration::biggs_andrews}) {
    iterate.acceleration = kind;
    unknown->richardson_lucy(scene, iterate, true, {}, [] {});
    for (const T value : out)
      require(std::fabs(double(value) - 0.5) <= 100 * tolerance, "flat scene", n, threads);
  }

  // An image with a NaN is refused before anything is written.
  auto bad = image;
  bad.back() = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> untouched(image.size(), T(-3));
  bool refused = false;
  try {
    deconvolver->richardson_lucy({{image_view(bad, n), out_view(untouched, n), 0, {}, {}}}, iterate, false,
                                 {}, [] {});
  } catch (const BadImage&) {
    refused = true;
  }
  require(refused && untouched == std::vector<T>(image.size(), T(-3)), "image with a NaN", n, threads);
}

template <class T>
int check_all(double tolerance) {
  for (const int threads : {1, 3}) {
    check_grid<T>({1, 1, 1}, {1, 1, 1}, true, threads, tolerance);
    check_grid<T>({1, 1, 31}, {1, 1, 4}, true, threads, tolerance);
    check_grid<T>({1, 1, 64}, {1, 1, 9}, true, threads, tolerance);
    check_grid<T>({1, 1, 1}, {1, 1, 1}, false, threads, tolerance);
    check_grid<T>({2, 1, 3}, {2, 1, 3}, false, threads, tolerance);
    check_grid<T>({1, 1, 17}, {1, 1, 3}, false, threads, tolerance);
    check_grid<T>({19, 1, 1}, {4, 1, 1}, false, threads, tolerance);
    check_grid<T>({37, 1, 41}, {5, 1, 6}, false, threads, tolerance);
    check_grid<T>({48, 1, 64}, {7, 1, 7}, false, threads, tolerance);
    check_grid<T>({5, 7, 11}, {3, 2, 3}, false, threads, tolerance);
    check_grid<T>({8, 9, 16}, {3, 3, 3}, false, threads, tolerance);
  }
  return 0;
}

}  // namespace fastdeblur::tests
