// The kernels behind fastdeblur.skimage.restoration against plain loops, on the smallest and oddest shapes;
// meant to be run under the sanitizers.
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "restoration/db2_detail.h"
#include "restoration/deconvolve.h"
#include "restoration/gibbs.h"
#include "restoration/normal_stream.h"
#include "restoration/total_variation.h"

namespace {

using std::int64_t;
using namespace fastdeblur;
using namespace fastdeblur::restoration;

void require(bool holds, const char* what, const Shape& s) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s, %lld x %lld x %lld\n", what, static_cast<long long>(s[0]),
               static_cast<long long>(s[1]), static_cast<long long>(s[2]));
  std::exit(1);
}

template <class T>
std::vector<T> random_image(int64_t size) {
  std::mt19937 engine(7);
  std::uniform_real_distribution<double> uniform(0.1, 1.0);
  std::vector<T> image(static_cast<std::size_t>(size));
  for (T& v : image) v = static_cast<T>(uniform(engine));
  return image;
}

template <class T>
double distance(const std::vector<T>& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

int64_t volume(const Shape& s) { return s[0] * s[1] * s[2]; }

// Sum of h[k] x[p - k + origin], zero outside.
std::vector<double> convolved(const std::vector<double>& x, const Shape& n, const std::vector<double>& h,
                              const Shape& k, bool mirrored) {
  std::vector<double> out(x.size(), 0.0);
  int64_t at = 0;
  for (int64_t a = 0; a < n[0]; ++a)
    for (int64_t b = 0; b < n[1]; ++b)
      for (int64_t c = 0; c < n[2]; ++c, ++at)
        for (int64_t i = 0; i < k[0]; ++i)
          for (int64_t j = 0; j < k[1]; ++j)
            for (int64_t l = 0; l < k[2]; ++l) {
              const int64_t p = a - i + (k[0] - 1) / 2, q = b - j + (k[1] - 1) / 2,
                            r = c - l + (k[2] - 1) / 2;
              if (p < 0 || q < 0 || r < 0 || p >= n[0] || q >= n[1] || r >= n[2]) continue;
              const int64_t from = (i * k[1] + j) * k[2] + l;
              const std::size_t tap = static_cast<std::size_t>(mirrored ? volume(k) - 1 - from : from);
              out[static_cast<std::size_t>(at)] +=
                  h[tap] * x[static_cast<std::size_t>((p * n[1] + q) * n[2] + r)];
            }
  return out;
}

template <class T>
void check_richardson_lucy(const Shape& n, const Shape& k, double tolerance) {
  const auto image = random_image<T>(volume(n));
  auto h = std::vector<double>(static_cast<std::size_t>(volume(k)));
  for (std::size_t i = 0; i < h.size(); ++i) h[i] = (1.0 + static_cast<double>(i % 3)) / (2.0 * h.size());
  std::vector<double> x(image.size(), 0.5);
  for (int step = 0; step < 3; ++step) {
    auto ratio = convolved(x, n, h, k, false);
    for (std::size_t i = 0; i < x.size(); ++i) ratio[i] = static_cast<double>(image[i]) / (ratio[i] + 1e-12);
    const auto update = convolved(ratio, n, h, k, true);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= update[i];
  }
  // Even axes get a zero in front, which puts the origin (k - 1) / 2 at half their length.
  const Shape padded{k[0] | 1, k[1] | 1, k[2] | 1};
  std::vector<T> psf(static_cast<std::size_t>(volume(padded)), T(0));
  for (int64_t i = 0; i < k[0]; ++i)
    for (int64_t j = 0; j < k[1]; ++j)
      for (int64_t l = 0; l < k[2]; ++l)
        psf[static_cast<std::size_t>(((i + 1 - k[0] % 2) * padded[1] + j + 1 - k[1] % 2) * padded[2] + l + 1 -
                                     k[2] % 2)] =
            static_cast<T>(h[static_cast<std::size_t>((i * k[1] + j) * k[2] + l)]);
  RichardsonLucyCall<T> call{};
  call.image = image.data();
  call.shape = n;
  for (std::size_t a = 0; a < 3; ++a) {
    call.grid[a] = k[a] > 1 ? n[a] + k[a] / 2 : n[a];
    call.shifted[a] = k[a] % 2 == 0;
  }
  call.psf = {psf.data(), padded};
  call.iterations = 3;
  for (const int threads : {1, 3}) {
    std::vector<T> out(image.size());
    require(richardson_lucy(call, out.data(), threads), "richardson_lucy is finite", n);
    require(distance(out, x) <= tolerance * 10, "richardson_lucy", n);
  }
}

// With the identity as PSF and no regularisation at all the image comes back.
template <class T>
void check_wiener(const Shape& n, double tolerance) {
  const auto image = random_image<T>(volume(n));
  const T one = 1;
  const std::vector<T> power(static_cast<std::size_t>(n[0] * n[1] * (n[2] / 2 + 1)), T(0));
  const std::vector<double> expected(image.begin(), image.end());
  for (const int threads : {1, 3}) {
    std::vector<T> out(image.size());
    const WienerCall<T> call{image.data(), n, {&one, {1, 1, 1}}, power.data(), 1.0, true};
    require(wiener(call, out.data(), threads), "wiener is finite", n);
    require(distance(out, expected) <= tolerance, "wiener", n);
    const T zero = 0;
    const WienerCall<T> hopeless{image.data(), n, {&zero, {1, 1, 1}}, power.data(), 1.0, true};
    require(!wiener(hopeless, out.data(), threads), "wiener of a dark PSF", n);
  }
}

template <class T>
void check_total_variation(const Shape& n, bool is_volume, int64_t iterations, double tolerance) {
  const auto image = random_image<T>(volume(n));
  const std::size_t size = image.size();
  const std::vector<double> f(image.begin(), image.end());
  std::vector<std::vector<double>> p(3, std::vector<double>(size, 0.0));
  std::vector<double> out = f;
  const int64_t step[3] = {n[1] * n[2], n[2], 1};
  const double tau = is_volume ? 1.0 / 6 : 1.0 / 4, weight = 0.2;
  for (int64_t k = 0; k < iterations; ++k) {
    auto g = std::vector<std::vector<double>>(3, std::vector<double>(size, 0.0));
    for (std::size_t i = 0; i < size; ++i) {
      const int64_t at = static_cast<int64_t>(i);
      const int64_t index[3] = {at / step[0], at / step[1] % n[1], at % n[2]};
      out[i] = f[i];
      for (std::size_t a = 0; a < 3; ++a) {
        out[i] -= p[a][i];
        if (index[a] > 0) out[i] += p[a][static_cast<std::size_t>(at - step[a])];
      }
    }
    for (std::size_t i = 0; i < size; ++i) {
      const int64_t at = static_cast<int64_t>(i);
      const int64_t index[3] = {at / step[0], at / step[1] % n[1], at % n[2]};
      double square = 0;
      for (std::size_t a = 0; a < 3; ++a) {
        if (index[a] + 1 < n[a]) g[a][i] = out[static_cast<std::size_t>(at + step[a])] - out[i];
        square += g[a][i] * g[a][i];
      }
      const double norm = 1 + tau / weight * std::sqrt(square);
      for (std::size_t a = 0; a < 3; ++a) p[a][i] = (p[a][i] - tau * g[a][i]) / norm;
    }
  }
  for (const int threads : {1, 3}) {
    std::vector<T> result(size);
    require(denoise_tv(image.data(), {n[0], n[1], n[2], is_volume}, {weight, 0.0, iterations}, result.data(),
                       threads),
            "total variation is finite", n);
    require(distance(result, out) <= tolerance, "total variation", n);
  }
}

template <class T>
void check_db2(int64_t outer, int64_t n, int64_t inner, double tolerance) {
  const double h[4] = {-0.48296291314453416, 0.8365163037378079, -0.2241438680420134, -0.12940952255126037};
  const auto image = random_image<T>(outer * n * inner);
  const int64_t m = db2_length(n);
  std::vector<double> expected;
  for (int64_t a = 0; a < outer; ++a)
    for (int64_t o = 0; o < m; ++o)
      for (int64_t b = 0; b < inner; ++b) {
        double sum = 0;
        for (int64_t j = 0; j < 4; ++j) {
          int64_t i = 2 * o + 1 - j;
          while (i < 0 || i >= n) i = i < 0 ? -1 - i : 2 * n - 1 - i;
          sum += h[j] * static_cast<double>(image[static_cast<std::size_t>((a * n + i) * inner + b)]);
        }
        expected.push_back(sum);
      }
  for (const int threads : {1, 3}) {
    std::vector<T> out(expected.size());
    db2_detail(image.data(), outer, n, inner, out.data(), threads);
    require(distance(out, expected) <= tolerance, "db2 detail", {outer, n, inner});
  }
}

// Any number of threads draws the same numbers, of mean 0 and variance 1, and so do two draws for one.
void check_normals(int64_t count) {
  const Shape shape{1, 1, count};
  std::vector<double> whole(static_cast<std::size_t>(count)), parts(whole.size());
  Pcg64 one{{1, 2}, {3, 5}}, other = one;
  NormalStream<double> stream;
  Team::run(1, [&](Team& team) {
    stream.draw(one, count, team);
    stream.copy(0, count, whole.data());
  });
  const int64_t first = count / 3;
  Team::run(3, [&](Team& team) {
    stream.draw(other, first, team);
    stream.copy(0, first, parts.data());
    stream.draw(other, count - first, team);
    stream.copy(0, count - first, parts.data() + first);
  });
  require(whole == parts, "normal numbers of two draws", shape);
  require(one.state.high == other.state.high && one.state.low == other.state.low, "state", shape);
  double sum = 0, square = 0;
  for (const double v : whole) {
    sum += v;
    square += v * v;
  }
  const double n = static_cast<double>(count);
  if (count > 1000)
    require(std::abs(sum / n) < 5 / std::sqrt(n) && std::abs(square / n - 1) < 8 / std::sqrt(n), "moments",
            shape);
}

template <class T>
void check_gibbs(int64_t rows, int64_t n, double tolerance) {
  const std::size_t size = static_cast<std::size_t>(rows * n);
  const auto values = random_image<T>(5 * rows * n);
  std::vector<std::complex<T>> otf(size), data(size), mean(size, {T(1), T(2)});
  std::vector<T> reg(size);
  std::vector<double> normals(2 * size), expected;
  double residual = 0, first = 0;
  for (std::size_t i = 0; i < size; ++i) {
    otf[i] = {values[i], values[size + i]};
    data[i] = {values[2 * size + i], values[3 * size + i]};
    reg[i] = values[4 * size + i];
    normals[i] = static_cast<double>(values[i]);
    normals[size + i] = -static_cast<double>(values[i]);
    const std::complex<double> h(otf[i]), y(data[i]);
    const double r = static_cast<double>(reg[i]), precision = 2.0 * std::norm(h) + 3.0 * r * r;
    const std::complex<double> x =
        2.0 * std::conj(h) * y / precision +
        std::sqrt(0.5 / precision) * std::complex<double>(normals[i], normals[size + i]);
    const double error = std::norm(y - h * x);
    residual += error;
    if (i % static_cast<std::size_t>(n) == 0) first += error;
    expected.push_back(x.real() + 1);
  }
  Gibbs<T> gibbs({rows, n, otf.data(), data.data(), reg.data(), mean.data()}, 3);
  const GibbsSums sums = gibbs.step({2.0, 3.0, true, 2}, normals.data());
  std::vector<T> real;
  for (const auto& v : mean) real.push_back(v.real());
  require(distance(real, expected) <= tolerance * 10, "gibbs sample", {rows, 1, n});
  require(std::abs(sums.residual - residual) <= tolerance * 10 * residual, "residual", {rows, 1, n});
  require(std::abs(sums.residual_first - first) <= tolerance * 10 * residual, "first column", {rows, 1, n});
  Pcg64 generator{{1, 2}, {3, 5}};
  Team::run(gibbs.threads(), [&](Team& team) {
    for (int k = 0; k < 3; ++k)
      require(std::isfinite(gibbs.step({2.0, 3.0, false, 0}, generator, team).residual),
              "gibbs with its own numbers", {rows, 1, n});
  });
}

template <class T>
void check_all(double tolerance) {
  for (const Shape& n : {Shape{1, 1, 1}, Shape{1, 1, 7}, Shape{3, 1, 1}, Shape{17, 1, 13}, Shape{200, 1, 180},
                         Shape{5, 4, 9}, Shape{8, 3, 16}})
    check_wiener<T>(n, tolerance);
  check_richardson_lucy<T>({1, 1, 9}, {1, 1, 4}, tolerance);
  check_richardson_lucy<T>({1, 1, 1}, {1, 1, 1}, tolerance);
  check_richardson_lucy<T>({6, 1, 1}, {2, 1, 1}, tolerance);
  check_richardson_lucy<T>({13, 1, 11}, {3, 1, 4}, tolerance);
  check_richardson_lucy<T>({16, 1, 8}, {4, 1, 5}, tolerance);
  check_richardson_lucy<T>({190, 1, 185}, {3, 1, 2}, tolerance);
  check_richardson_lucy<T>({5, 4, 6}, {3, 2, 3}, tolerance);
  check_richardson_lucy<T>({4, 9, 7}, {2, 3, 4}, tolerance);
  for (const int64_t iterations : {2, 3, 6, 7, 20}) {
    for (const Shape& n : {Shape{1, 1, 1}, Shape{1, 1, 5}, Shape{5, 1, 1}, Shape{2, 1, 3}, Shape{37, 1, 17},
                           Shape{210, 1, 160}})
      check_total_variation<T>(n, false, iterations, tolerance);
    for (const Shape& n :
         {Shape{1, 1, 1}, Shape{2, 3, 1}, Shape{1, 4, 5}, Shape{19, 7, 5}, Shape{33, 40, 30}})
      check_total_variation<T>(n, true, iterations, tolerance);
  }
  for (int64_t n = 1; n < 12; ++n) {
    check_db2<T>(3, n, 1, tolerance);
    check_db2<T>(2, n, 5, tolerance);
  }
  check_db2<T>(1, 1500, 1501, tolerance);
  check_db2<T>(1501, 1500, 1, tolerance);
  check_gibbs<T>(1, 1, tolerance);
  check_gibbs<T>(7, 5, tolerance);
  check_gibbs<T>(300, 301, tolerance);
}

}  // namespace

int main() {
  check_all<float>(1e-5);
  check_all<double>(1e-12);
  for (const int64_t count : {0, 1, 2, 3, 1000, 4096, 12289, 200000}) check_normals(count);
  return 0;
}
