// The rasterisers on the smallest, largest and oddest frames; meant to be run under the sanitizers too.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "psf/rasterise.h"

namespace {

using fastdeblur::psf::disk_area_in_cell;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

bool close_to(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

void require_sums_of_one(const std::vector<double>& kernels, std::int64_t n, const char* what) {
  const auto size = static_cast<std::int64_t>(kernels.size()) / n;
  for (std::int64_t k = 0; k < n; ++k) {
    double sum = 0.0;
    for (std::int64_t i = k * size; i < (k + 1) * size; ++i) {
      const double value = kernels[static_cast<std::size_t>(i)];
      require(value >= 0.0, what);
      sum += value;
    }
    require(close_to(sum, 1.0, 1e-12), what);
  }
}

std::vector<double> unset(std::int64_t n) { return std::vector<double>(static_cast<std::size_t>(n), -1.0); }

void test_motion() {
  const std::vector<double> lengths = {0.0, 5e-324, 1.0, 1.0000001, 3.0, 7.3, 4.0, 8.0};
  for (const double angle :
       {0.0, 1e-300, 1e-9, 30.0, 45.0, 89.9999999, 90.0, 135.0, -45.0, 180.0, 1e300, -1e18}) {
    const std::vector<double> angles(lengths.size(), angle);
    const auto n = static_cast<std::int64_t>(lengths.size());
    for (const std::int64_t h : {1, 2, 9, 10}) {
      for (const std::int64_t w : {1, 2, 9, 10}) {
        auto out = unset(n * h * w);
        fastdeblur::psf::rasterise_motion(lengths.data(), angles.data(), n, h, w, out.data(), 2);
        require_sums_of_one(out, n, "motion: non-negative, sum 1");
        require(close_to(out[static_cast<std::size_t>(h / 2 * w + w / 2)], 1.0, 0.0),
                "motion: length 0 is an impulse");
      }
    }
  }
}

void test_defocus() {
  require(close_to(disk_area_in_cell(10.0, 0.0, 1.0, 0.0, 1.0), 1.0, 0.0), "defocus: a cell inside");
  require(disk_area_in_cell(1.0, 1.0, 2.0, 0.0, 1.0) == 0.0, "defocus: a cell that touches from outside");
  require(close_to(disk_area_in_cell(2.0, 0.0, 2.0, 0.0, 2.0), std::acos(-1.0), 1e-14),
          "defocus: a whole quadrant");
  require(close_to(disk_area_in_cell(2.0, 0.0, 9.0, 0.0, 9.0), std::acos(-1.0), 1e-14),
          "defocus: a cell with a quadrant");
  const std::vector<double> radii = {0.0, 5e-324, 0.5,         0.50000001, 0.70710678118654752,
                                     1.0, 3.5,    4.4999999999};
  const auto n = static_cast<std::int64_t>(radii.size());
  for (const std::int64_t h : {1, 2, 9, 10}) {
    for (const std::int64_t w : {1, 2, 9, 10}) {
      auto out = unset(n * h * w);
      fastdeblur::psf::rasterise_defocus(radii.data(), n, h, w, out.data(), 2);
      require_sums_of_one(out, n, "defocus: non-negative, sum 1");
    }
  }
}

void test_gaussian() {
  const std::vector<double> sigmas = {0.0, 5e-324, 1e-3, 0.05, 0.5, 1.0, 3.0, 1e3, 1e300};
  const auto n = static_cast<std::int64_t>(sigmas.size() / 3);
  for (const std::int64_t d : {1, 4}) {
    for (const std::int64_t h : {1, 2, 7}) {
      for (const std::int64_t w : {1, 6, 9}) {
        auto out = unset(n * d * h * w);
        fastdeblur::psf::rasterise_gaussian(sigmas.data(), n, d, h, w, out.data(), 2);
        require_sums_of_one(out, n, "gaussian: non-negative, sum 1");
      }
    }
  }
}

void test_threads_never_change_a_bit() {
  const std::vector<double> length = {251.7}, angle = {33.0}, radius = {120.3};
  constexpr std::int64_t size = 301;
  auto one = unset(size * size), many = one;
  fastdeblur::psf::rasterise_motion(length.data(), angle.data(), 1, size, size, one.data(), 1);
  fastdeblur::psf::rasterise_motion(length.data(), angle.data(), 1, size, size, many.data(), 5);
  require(one == many, "motion: same bits for any number of threads");
  fastdeblur::psf::rasterise_defocus(radius.data(), 1, size, size, one.data(), 1);
  fastdeblur::psf::rasterise_defocus(radius.data(), 1, size, size, many.data(), 5);
  require(one == many, "defocus: same bits for any number of threads");
}

}  // namespace

int main() {
  test_motion();
  test_defocus();
  test_gaussian();
  test_threads_never_change_a_bit();
  std::puts("psf: all passed");
}
