// The rasterisers of paths, shakes, polygons, round PSFs, turned Gaussians and pupils on the smallest and
// oddest frames; meant to be run under the sanitizers too.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "psf/optics.h"
#include "psf/paths.h"

namespace {

using namespace fastdeblur;
using namespace fastdeblur::psf;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

bool close_to(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

std::vector<double> unset(std::int64_t n) { return std::vector<double>(static_cast<std::size_t>(n), -1.0); }

double sum(const std::vector<double>& values) {
  double total = 0.0;
  for (const double value : values) {
    require(value >= 0.0, "non-negative");
    total += value;
  }
  return total;
}

void test_paths() {
  // Still, along the grid's lines, through its corners, back and forth, far out of the frame.
  const std::vector<double> points = {0, 0, 0, 0, 3, 0, 3, 3, 0, 0, -0.5, 1.5, 1e6, -1e6};
  const std::vector<double> times = {0, 1, 1, 2, 3, 3, 4};
  const std::vector<std::int64_t> which = {0, 0, 0, 0};
  const std::vector<double> windows = {0, 3, 0.5, 0.5, 1, 1, 0, 4}, shifts = {0, 0, 0.25, 0.25, -1, 0, 0, 0};
  for (const bool square : {true, false}) {
    for (const std::int64_t h : {1, 2, 9}) {
      for (const std::int64_t w : {1, 8, 9}) {
        auto out = unset(4 * h * w);
        rasterise_paths(points.data(), times.data(), 7, which.data(), windows.data(), shifts.data(), square,
                        4, h, w, out.data(), 2);
        require(sum(out) <= 4 + 1e-12, "paths: no more than their time");
      }
    }
    auto out = unset(4 * 81);
    rasterise_paths(points.data(), times.data(), 7, which.data(), windows.data(), shifts.data(), square, 4, 9,
                    9, out.data(), 1);
    double first = 0.0;
    for (std::size_t i = 0; i < 81; ++i) first += out[i];
    require(close_to(first, 1.0, 1e-12), "paths: all of a path that is in the frame");
  }
  const double one[2] = {0.5, -0.5}, clock[1] = {0}, window[2] = {0, 0}, shift[2] = {0, 0};
  const std::int64_t index[1] = {0};
  auto out = unset(9);
  rasterise_paths(one, clock, 1, index, window, shift, true, 1, 3, 3, out.data(), 1);
  require(close_to(out[4], 0.25, 1e-15) && close_to(out[2], 0.25, 1e-15), "paths: one point is a rest");
}

void test_shakes() {
  const Pcg64 generator{{1, 2}, {3, 5}};
  for (const std::int64_t n : {1, 3, 37}) {
    const auto size = static_cast<std::size_t>(n);
    std::vector<double> anxiety(size), exposure(size);
    for (std::size_t i = 0; i < size; ++i) {
      anxiety[i] = i % 3 == 0 ? 0.0 : 1.0 / static_cast<double>(i);
      exposure[i] = 1.0 / static_cast<double>(1 + i);
    }
    for (const std::int64_t side : {1, 2, 31}) {
      for (const std::int64_t steps : {1, 100}) {
        const double length = 2.0 * static_cast<double>((side - 1) / 2);
        const ShakeModel model{steps, length, steps > 1, 447.2, 89600, 400};
        auto one = unset(n * side * side), many = one;
        rasterise_shakes(model, generator, anxiety.data(), exposure.data(), n, side, side, one.data(), 1);
        rasterise_shakes(model, generator, anxiety.data(), exposure.data(), n, side, side, many.data(), 3);
        require(close_to(sum(one), static_cast<double>(n), 1e-9), "shakes: every path fits");
        require(one == many, "shakes: same bits for any number of threads");
      }
    }
  }
}

void test_shapes() {
  const std::vector<double> radii = {0.5, 2.0, 3.4999999}, rotations = {0.0, 45.0, -1e300};
  for (const std::int64_t blades : {3, 4, 11}) {
    auto out = unset(3 * 9 * 10);
    rasterise_polygons(radii.data(), rotations.data(), blades, 3, 9, 10, out.data(), 2);
    require(close_to(sum(out), 3.0, 1e-12), "polygons: their own area");
    auto small = unset(3);
    rasterise_polygons(radii.data(), rotations.data(), blades, 3, 1, 1, small.data(), 2);
    require(sum(small) <= 3.0, "polygons: cut by the frame");
  }
  for (const TurnedGaussian g :
       {TurnedGaussian{1.0, 2.0, 0.8, -0.6, 0.4, 60}, TurnedGaussian{0, 2, 0.8, -0.6, 1, -1},
        TurnedGaussian{0.02, 0.5, 0.8, 0.6, 0.01, 600}}) {
    auto out = unset(41 * 40);
    rasterise_turned(g, 41, 40, out.data(), 2);
    require(close_to(sum(out), 1.0, 1e-9), "turned Gaussian: sum 1");
  }
  // The same where the table of columns would be too large.
  const TurnedGaussian thin{0.02, 0.5, 0.8, 0.6, 0.01, 600};
  auto wide = unset(3 * 9000), narrow = unset(3 * 9);
  rasterise_turned(thin, 3, 9000, wide.data(), 2);
  rasterise_turned(thin, 3, 9, narrow.data(), 2);
  for (std::size_t y = 0; y < 3; ++y)
    for (std::size_t x = 0; x < 9; ++x)
      require(close_to(wide[y * 9000 + 4496 + x], narrow[y * 9 + x], 1e-15),
              "turned Gaussian: with and without table");
}

void test_optics() {
  const double places[2] = {-0.28867513459481288, 0.28867513459481288}, weights[2] = {0.5, 0.5};
  const Nodes nodes{places, weights, 2};
  for (const std::int64_t h : {1, 2, 7}) {
    for (const std::int64_t w : {1, 6, 9}) {
      auto out = unset(h * w);
      rasterise_radial(MoffatTail{1.0, 3.0}, nodes, h, w, out.data(), 2);
      require(sum(out) < 1.0, "moffat: the frame's share");
      const double table[8] = {1, 1, 1, 1, 1, 1, 1, 1};
      for (const bool warped : {false, true})
        rasterise_radial(TableTail{table, 8, 0.1, 0.5, warped}, nodes, h, w, out.data(), 1);
      const double x[1] = {0.5}, y[2] = {-0.5, 0.5}, real[2] = {1, 1}, imag[2] = {0, 1};
      rasterise_pupil(Pupil{x, y, real, imag, 1, 2}, 1.0, nodes, h, w, out.data(), 2);
      sum(out);
    }
  }
}

}  // namespace

int main() {
  test_paths();
  test_shakes();
  test_shapes();
  test_optics();
  std::puts("psf_photo: all passed");
}
