// Convolution by FFT against direct sums: whole grids, tiles and segments on odd, even, prime and tiny sizes;
// meant to be run under the sanitizers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "signal/fft_convolve.h"
#include "signal/local_wiener.h"

using namespace fastdeblur;
using namespace fastdeblur::signal;

namespace {

int64_t size_of(const Shape& s) { return s[0] * s[1] * s[2]; }

void require(bool holds, const char* what, const Shape& image, const Shape& kernel, const Shape& grid) {
  if (holds) return;
  const auto n = [](int64_t i) { return static_cast<long long>(i); };
  std::fprintf(stderr,
               "failed: %s, image %lld x %lld x %lld, kernel %lld x %lld x %lld, grid %lld x %lld x %lld\n",
               what, n(image[0]), n(image[1]), n(image[2]), n(kernel[0]), n(kernel[1]), n(kernel[2]),
               n(grid[0]), n(grid[1]), n(grid[2]));
  std::exit(1);
}

template <class T>
std::vector<T> random_values(int64_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (auto& v : values) v = static_cast<T>(uniform(generator));
  return values;
}

template <class T>
ImageView view(const std::vector<T>& v, const Shape& s, int64_t plane = 0) {
  const auto e = static_cast<std::ptrdiff_t>(sizeof(T));
  return {v.data() + plane * size_of(s), element_of<T>(), {s[1] * s[2] * e, s[2] * e, e}};
}

template <class T>
MutableImageView<T> view_out(std::vector<T>& v, const Shape& s, int64_t plane = 0) {
  const auto e = static_cast<std::ptrdiff_t>(sizeof(T));
  return {v.data() + plane * size_of(s), {s[1] * s[2] * e, s[2] * e, e}};
}

template <class T>
double direct(const T* image, const T* kernel, const Convolution& c, const Shape& at) {
  double sum = 0;
  for (int64_t i = 0; i < c.kernel[0]; ++i)
    for (int64_t j = 0; j < c.kernel[1]; ++j)
      for (int64_t k = 0; k < c.kernel[2]; ++k) {
        const int64_t y = at[0] - i, m = at[1] - j, x = at[2] - k;
        if (y < 0 || m < 0 || x < 0 || y >= c.image[0] || m >= c.image[1] || x >= c.image[2]) continue;
        sum += static_cast<double>(image[(y * c.image[1] + m) * c.image[2] + x]) *
               static_cast<double>(kernel[(i * c.kernel[1] + j) * c.kernel[2] + k]);
      }
  return sum;
}

template <class T>
void compare(const Convolution& c, int64_t planes, int64_t kernels) {
  const auto image = random_values<T>(planes * size_of(c.image), 1);
  const auto kernel = random_values<T>(kernels * size_of(c.kernel), 2);
  std::vector<T> out(static_cast<std::size_t>(planes * size_of(c.out)), T(7));
  std::vector<ConvolutionPlane<T>> all;
  std::vector<ImageView> by;
  for (int64_t p = 0; p < planes; ++p) all.push_back({view(image, c.image, p), view_out(out, c.out, p)});
  for (int64_t p = 0; p < kernels; ++p) by.push_back(view(kernel, c.kernel, p));
  require(fft_convolve<T>(c, all, by), "finite", c.image, c.kernel, c.grid);
  const double tolerance = 30 * static_cast<double>(std::numeric_limits<T>::epsilon()) *
                           std::sqrt(static_cast<double>(size_of(c.kernel)));
  for (int64_t p = 0; p < planes; ++p)
    for (int64_t i = 0; i < size_of(c.out); ++i) {
      const Shape at{c.start[0] + i / c.out[2] / c.out[1], c.start[1] + i / c.out[2] % c.out[1],
                     c.start[2] + i % c.out[2]};
      const double want = direct(image.data() + p * size_of(c.image),
                                 kernel.data() + (kernels == 1 ? 0 : p) * size_of(c.kernel), c, at);
      const double got = static_cast<double>(out[static_cast<std::size_t>(p * size_of(c.out) + i)]);
      require(std::abs(got - want) < tolerance, "sum", c.image, c.kernel, c.grid);
    }
}

enum class Part { full, same, valid };

Convolution problem(const Shape& image, const Shape& kernel, Part part, int threads) {
  Convolution c;
  c.image = image;
  c.kernel = kernel;
  c.threads = threads;
  for (std::size_t a = 0; a < 3; ++a) {
    const int64_t n = image[a], k = kernel[a];
    c.start[a] = part == Part::full ? 0 : part == Part::same ? (k - 1) / 2 : k - 1;
    c.out[a] = part == Part::full ? n + k - 1 : part == Part::same ? n : n - k + 1;
    c.grid[a] = std::max({n, n + k - 1 - c.start[a], c.start[a] + c.out[a]});
  }
  return c;
}

template <class T>
void grids() {
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{1, 1, 1}, {1, 1, 1}},   {{1, 1, 97}, {1, 1, 13}}, {{1, 1, 64}, {1, 1, 64}}, {{31, 1, 29}, {5, 1, 4}},
      {{64, 1, 40}, {8, 1, 7}}, {{17, 1, 1}, {3, 1, 1}},  {{1, 1, 5}, {1, 1, 9}},   {{4, 1, 50}, {9, 1, 3}},
      {{9, 8, 11}, {3, 2, 5}},  {{2, 13, 6}, {2, 13, 6}}, {{5, 3, 16}, {7, 2, 3}}};
  for (const auto& [image, kernel] : shapes)
    for (const Part part : {Part::full, Part::same, Part::valid})
      for (const int threads : {1, 3}) {
        Convolution c = problem(image, kernel, part, threads);
        if (c.out[0] < 1 || c.out[1] < 1 || c.out[2] < 1) continue;
        compare<T>(c, 1, 1);
        compare<T>(c, 3, 1);
        compare<T>(c, 2, 2);
        // Tiles that leave 1, 2, 6 samples each, along some axes or all.
        for (const int64_t more : {0, 1, 5})
          for (int axes = 1; axes < 8; ++axes) {
            Convolution tiled = c;
            for (std::size_t a = 0; a < 3; ++a)
              if (axes >> a & 1) tiled.grid[a] = kernel[a] + more;
            compare<T>(tiled, 1, 1);
          }
      }
}

template <class T>
void segments() {
  for (const int64_t n : {1, 2, 31, 97, 500})
    for (const int64_t k : {1, 2, 7, 32, 61})
      for (const Part part : {Part::full, Part::same, Part::valid})
        for (const int64_t more : {0, 1, 2, 29, 600}) {
          const Convolution c = problem({1, 1, n}, {1, 1, k}, part, 1);
          if (c.out[2] < 1) continue;
          const int64_t rows = 3;
          const auto image = random_values<T>(rows * n, 3), kernel = random_values<T>(k, 4);
          std::vector<T> out(static_cast<std::size_t>(rows * c.out[2]), T(7));
          const OverlapSave o{rows, n, k, c.out[2], c.start[2], k + more, 2};
          const bool finite = overlap_save<T>(
              o, {view(image, {rows, 1, n}), view_out(out, {rows, 1, c.out[2]})}, view(kernel, {1, 1, k}));
          require(finite, "finite segments", c.image, c.kernel, {1, 1, o.segment});
          for (int64_t i = 0; i < rows * c.out[2]; ++i) {
            const double want =
                direct(image.data() + i / c.out[2] * n, kernel.data(), c, {0, 0, c.start[2] + i % c.out[2]});
            require(std::abs(static_cast<double>(out[static_cast<std::size_t>(i)]) - want) <
                        30 * static_cast<double>(std::numeric_limits<T>::epsilon()) *
                            std::sqrt(static_cast<double>(k)),
                    "segment", c.image, c.kernel, {1, 1, o.segment});
          }
        }
}

template <class T>
void not_finite() {
  for (const T bad : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity()}) {
    for (const bool in_kernel : {false, true}) {
      const Convolution c = problem({20, 1, 21}, {3, 1, 4}, Part::same, 1);
      auto image = random_values<T>(size_of(c.image), 5), kernel = random_values<T>(size_of(c.kernel), 6);
      (in_kernel ? kernel : image)[7] = bad;
      std::vector<T> out(image.size());
      require(!fft_convolve<T>(c, {{view(image, c.image), view_out(out, c.out)}}, {view(kernel, c.kernel)}),
              "not finite", c.image, c.kernel, c.grid);
      const OverlapSave o{1, 420, 12, 420, 0, 40, 1};
      require(!overlap_save<T>(o, {view(image, {1, 1, 420}), view_out(out, {1, 1, 420})},
                               view(kernel, {1, 1, 12})),
              "not finite segments", c.image, c.kernel, c.grid);
    }
  }
}

void refused() {
  Convolution c = problem({20, 1, 21}, {3, 1, 4}, Part::same, 1);
  c.grid[2] = 3;
  const auto image = random_values<double>(size_of(c.image), 5),
             kernel = random_values<double>(size_of(c.kernel), 6);
  std::vector<double> out(image.size());
  try {
    fft_convolve<double>(c, {{view(image, c.image), view_out(out, c.out)}}, {view(kernel, c.kernel)});
  } catch (const std::invalid_argument&) {
    return;
  }
  require(false, "a grid shorter than the kernel", c.image, c.kernel, c.grid);
}

void wiener() {
  for (const int64_t n : {1, 5, 4096, 40001}) {
    const auto image = random_values<float>(n, 7);
    std::vector<double> sums, squares;
    for (int64_t i = 0; i < n; ++i) {
      sums.push_back(0.3 * static_cast<double>(i % 7));
      squares.push_back(1.0 + static_cast<double>(i % 11));
    }
    const auto sums_before = sums, squares_before = squares;
    const LocalWiener p{image.data(), Element::f32, sums.data(), squares.data(), n, 9.0, 2};
    const Variances found = local_variances(p);
    double total = 0;
    for (std::size_t i = 0; i < image.size(); ++i)
      total += squares_before[i] / 9 - sums_before[i] / 9 * (sums_before[i] / 9);
    const double noise = total / static_cast<double>(n);
    const Shape s{1, 1, n};
    require(found.regular && std::abs(found.mean - noise) < 1e-12, "mean of variances", s, s, s);
    local_wiener(p, noise);
    for (std::size_t i = 0; i < image.size(); ++i) {
      const double mean = sums_before[i] / 9, variance = squares_before[i] / 9 - mean * mean;
      const double x = static_cast<double>(image[i]);
      const double want = variance < noise ? mean : (x - mean) * (1 - noise / variance) + mean;
      require(std::abs(sums[i] - want) < 1e-12, "local wiener", s, s, s);
    }
    squares[0] = 0;
    sums[0] = 0;
    require(!local_variances(p).regular, "a variance of 0", s, s, s);
  }
}

}  // namespace

int main() {
  grids<float>();
  grids<double>();
  segments<float>();
  segments<double>();
  not_finite<float>();
  not_finite<double>();
  refused();
  wiener();
  return 0;
}
