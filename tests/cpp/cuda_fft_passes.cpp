// Sequences of fused passes: what a filter sees is the discrete Fourier transform of what the source gave,
// what a sink sees is the image again, sums are the sums, and neither the threads' order nor the tiles' size
// changes a bit.
#include <cstring>
#include <initializer_list>

#include "cuda_fft_cases.h"

namespace fastdeblur::tests {
namespace {

template <class T>
struct ReadImage {
  const T* image;
  Grid g;
  FD_HD T operator()(int c, int m, int x) const { return image[(c * g.full[1] + m) * g.full[2] + x]; }
};

// Keeps the spectrum twice, by frequency and by `at`; shifts the image by one pixel along every axis.
template <class T>
struct Look {
  Complex<T>* by_frequency;
  Complex<T>* by_order;
  Grid g;
  FD_HD void operator()(T& re, T& im, const cuda::Frequency& f) const {
    const auto k = (f.c * g.full[1] + f.m) * g.half() + f.k;
    by_frequency[k] = {re, im};
    by_order[f.at] = {re, im};
    const double turns =
        double(f.c) / double(g.full[0]) + double(f.m) / double(g.full[1]) + double(f.k) / double(g.full[2]);
    const double angle = -2 * 3.14159265358979323846 * turns;
    const double a = double(re) * std::cos(angle) - double(im) * std::sin(angle);
    const double b = double(re) * std::sin(angle) + double(im) * std::cos(angle);
    re = static_cast<T>(a);
    im = static_cast<T>(b);
  }
};

struct Sums {
  double sum = 0, index = 0;
  FD_HD void add(const Sums& o) {
    sum += o.sum;
    index += o.index;
  }
};

// Scales the image to what it was, adds 1, keeps it; sums it, and where it was.
template <class T>
struct Program {
  using Accumulator = Sums;
  T* image;
  Grid g;
  T scale;
  FD_HD T operator()(T value, int c, int m, int x, Sums& sums) const {
    const auto at = (c * g.full[1] + m) * g.full[2] + x;
    image[at] = value * scale;
    sums.sum += double(value) * double(scale);
    sums.index += double(at);
    return value * scale + T(1);
  }
};

template <class T>
struct Write {
  using Accumulator = cuda::Nothing;
  T* image;
  Grid g;
  T scale;
  FD_HD void operator()(T value, int c, int m, int x, cuda::Nothing&) const {
    image[(c * g.full[1] + m) * g.full[2] + x] = value * scale;
  }
};

std::vector<std::complex<double>> line_dft(const std::vector<std::complex<double>>& v) {
  const std::size_t n = v.size();
  std::vector<std::complex<double>> w(n), out(n);
  for (std::size_t k = 0; k < n; ++k)
    w[k] = std::polar(1.0, -2 * 3.14159265358979323846 * double(k) / double(n));
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t j = 0; j < n; ++j) out[k] += v[j] * w[j * k % n];
  return out;
}

// Half spectrum by direct sums, one axis after the other.
std::vector<std::complex<double>> dft(const std::vector<double>& image, const Grid& g) {
  const auto nc = std::size_t(g.full[0]), nm = std::size_t(g.full[1]), nx = std::size_t(g.full[2]),
             nk = std::size_t(g.half());
  std::vector<std::complex<double>> s(nc * nm * nk), line;
  for (std::size_t r = 0; r < nc * nm; ++r) {
    line.assign(image.begin() + std::ptrdiff_t(r * nx), image.begin() + std::ptrdiff_t((r + 1) * nx));
    line = line_dft(line);
    std::copy_n(line.begin(), nk, s.begin() + std::ptrdiff_t(r * nk));
  }
  for (int axis : {0, 1}) {
    const std::size_t n = axis ? nm : nc, stride = axis ? nk : nm * nk;
    for (std::size_t i = 0; i < nc * nm * nk; ++i) {
      if (i / stride % n) continue;
      line.resize(n);
      for (std::size_t j = 0; j < n; ++j) line[j] = s[i + j * stride];
      line = line_dft(line);
      for (std::size_t j = 0; j < n; ++j) s[i + j * stride] = line[j];
    }
  }
  return s;
}

template <class T>
struct Result {
  std::vector<Complex<T>> by_frequency, by_order;
  std::vector<T> middle, last;
  Sums sums;
};

template <class T>
Result<T> run(const Grid& g, const std::vector<T>& image, Rows in, Rows out, const cuda::Limits& limits,
              HostLauncher::Order order) {
  const auto pixels = static_cast<std::size_t>(g.pixels());
  Passes<T> p(g, limits, order);
  Result<T> r;
  r.by_frequency.assign(static_cast<std::size_t>(g.rows() * g.half()), {T(NAN), T(NAN)});
  r.by_order.assign(p.spectrum.size(), {T(0), T(0)});
  r.middle.assign(pixels, T(0));
  r.last.assign(pixels, T(0));
  const T scale = static_cast<T>(1 / g.pixels());
  Complex<T>* s = p.spectrum.data();
  const Look<T> look{r.by_frequency.data(), r.by_order.data(), g};
  p.passes.rows_forward(nullptr, s, in, ReadImage<T>{image.data(), g});
  p.passes.columns(nullptr, s, in, out, look);
  p.passes.rows(nullptr, s, out, Program<T>{r.middle.data(), g, scale}, &r.sums);
  Result<T> again = r;
  p.passes.columns(nullptr, s, out, out, Look<T>{again.by_frequency.data(), again.by_order.data(), g});
  p.passes.rows_inverse(nullptr, s, out, Write<T>{r.last.data(), g, scale});
  return r;
}

bool inside(const Grid& g, Rows which, std::int64_t at) {
  return which == Rows::all || g.in_frame(at / g.full[2]);
}

template <class T>
void check(const Grid& g, Rows in, Rows out) {
  const cuda::Limits tight{99 << 10, 100 << 10, 1};
  require(cuda::FusedPlan<T>::can(g, kH100) && cuda::FusedPlan<T>::can(g, tight), "covered", g);
  const auto pixels = static_cast<std::int64_t>(g.pixels());
  std::vector<double> exact = noise(static_cast<std::size_t>(pixels), 1);
  std::vector<T> image(exact.size());
  for (std::int64_t i = 0; i < pixels; ++i) {
    const auto at = static_cast<std::size_t>(i);
    image[at] = static_cast<T>(exact[at]);
    exact[at] = inside(g, in, i) ? double(image[at]) : 0.0;
  }
  const Result<T> r = run<T>(g, image, in, out, kH100, HostLauncher::Order::ascending);
  for (auto order : {HostLauncher::Order::descending, HostLauncher::Order::shuffled}) {
    const Result<T> other = run<T>(g, image, in, out, kH100, order);
    const auto same = [](const auto& a, const auto& b) {
      return std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
    };
    require(same(r.by_frequency, other.by_frequency) && same(r.by_order, other.by_order) &&
                same(r.middle, other.middle) && same(r.last, other.last) && r.sums.sum == other.sums.sum &&
                r.sums.index == other.sums.index,
            "threads in another order", g);
  }
  const Result<T> tiles = run<T>(g, image, in, out, tight, HostLauncher::Order::ascending);
  const double eps = std::numeric_limits<T>::epsilon() * (2 + std::log2(g.pixels()));

  const auto expected = dft(exact, g);
  double power = 1e-300, error = 0, other = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    power += std::norm(expected[i]);
    error += std::norm(expected[i] - std::complex<double>(r.by_frequency[i].re, r.by_frequency[i].im));
    other +=
        std::norm(expected[i] - std::complex<double>(tiles.by_frequency[i].re, tiles.by_frequency[i].im));
  }
  require(std::sqrt(error / power) < eps, "spectrum", g, std::sqrt(error / power) / eps);
  require(std::sqrt(other / power) < eps, "spectrum, other tiles", g, std::sqrt(other / power) / eps);
  double kept = 0, seen = 0;  // every frequency has an order of its own
  for (const auto& v : r.by_order) kept += double(v.re) * double(v.re) + double(v.im) * double(v.im);
  for (const auto& v : r.by_frequency) seen += double(v.re) * double(v.re) + double(v.im) * double(v.im);
  require(std::abs(kept - seen) <= 1e-12 * seen, "orders", g, kept - seen);

  const auto shifted = [&](std::int64_t i, int by) {
    const std::int64_t c = i / (g.full[1] * g.full[2]), m = i / g.full[2] % g.full[1], x = i % g.full[2];
    const auto wrap = [&](std::int64_t k, std::int64_t n) { return ((k - by) % n + n) % n; };
    return (wrap(c, g.full[0]) * g.full[1] + wrap(m, g.full[1])) * g.full[2] + wrap(x, g.full[2]);
  };
  const auto shift = [&](const std::vector<double>& v) {
    std::vector<double> moved(v.size());
    for (std::int64_t i = 0; i < pixels; ++i)
      moved[static_cast<std::size_t>(i)] = v[static_cast<std::size_t>(shifted(i, 1))];
    return moved;
  };
  std::vector<double> middle = shift(exact), masked(middle.size()), last;
  double worst = 0, worst_last = 0;
  Sums sums;
  for (std::int64_t i = 0; i < pixels; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (!inside(g, out, i)) continue;
    worst = std::max(worst, std::abs(middle[at] - double(r.middle[at])));
    worst = std::max(worst, std::abs(middle[at] - double(tiles.middle[at])));
    sums.sum += double(r.middle[at]);
    sums.index += double(i);
    masked[at] = middle[at] + 1;
  }
  last = shift(masked);
  for (std::int64_t i = 0; i < pixels; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (inside(g, out, i)) worst_last = std::max(worst_last, std::abs(last[at] - double(r.last[at])));
  }
  require(worst < 12 * eps, "image", g, worst / eps);
  require(worst_last < 24 * eps, "second image", g, worst_last / eps);
  require(std::abs(sums.sum - r.sums.sum) < eps * g.pixels() && sums.index == r.sums.index, "sums", g);
}

template <class T>
void check_all(const Grid& g) {
  for (Rows in : {Rows::all, Rows::frame})
    for (Rows out : {Rows::all, Rows::frame}) check<T>(g, in, out);
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  using fastdeblur::Grid;
  using namespace fastdeblur::tests;
  const Grid grids[] = {
      {{1, 1, 1}, {1, 1, 1}},         {{1, 1, 2}, {1, 1, 2}},     {{1, 1, 3}, {1, 1, 5}},
      {{1, 1, 40}, {1, 1, 64}},       {{5, 1, 7}, {6, 1, 8}},     {{3, 1, 9}, {4, 1, 11}},
      {{13, 1, 30}, {16, 1, 32}},     {{40, 1, 50}, {49, 1, 60}}, {{60, 1, 100}, {64, 1, 128}},
      {{100, 1, 120}, {143, 1, 150}}, {{2, 3, 4}, {3, 5, 7}},     {{7, 9, 10}, {8, 11, 12}},
      {{9, 13, 15}, {16, 16, 16}},    {{5, 20, 30}, {7, 32, 36}}, {{13, 5, 33}, {13, 8, 64}},
      {{1, 8, 20}, {1, 9, 22}},       {{30, 1, 1}, {35, 1, 2}},   {{3, 2, 1}, {4, 64, 6}},
  };
  for (const Grid& g : grids) {
    check_all<float>(g);
    check_all<double>(g);
  }
  return 0;
}
