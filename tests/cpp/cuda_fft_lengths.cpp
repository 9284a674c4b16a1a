// Every length that the kernels cover up to 512, and samples beyond, as rows and as columns: against direct
// sums in long double and against ducc0.
#include <limits>

#include "cpu/fft.h"
#include "cuda_fft_cases.h"

namespace fastdeblur::tests {
namespace {

using Line = std::vector<std::complex<double>>;

// In long double, where there is one: the sums of hundreds of terms are to be better than a transform in
// double.
Line direct(const Line& v) {
  const std::size_t n = v.size();
  std::vector<std::complex<long double>> roots(n);
  for (std::size_t k = 0; k < n; ++k)
    roots[k] = std::polar(
        1.0L, -2 * 3.14159265358979323846264338L * static_cast<long double>(k) / static_cast<long double>(n));
  Line out(n);
  for (std::size_t k = 0; k < n; ++k) {
    long double re = 0, im = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const std::complex<long double> w = roots[j * k % n];
      re += w.real() * v[j].real() - w.imag() * v[j].imag();
      im += w.real() * v[j].imag() + w.imag() * v[j].real();
    }
    out[k] = {static_cast<double>(re), static_cast<double>(im)};
  }
  return out;
}

Line ducc0(const Line& v) {
  const auto n = static_cast<std::int64_t>(v.size());
  const ComplexFft<double, 1> fft(n);
  std::vector<double> in(2 * v.size()), copy(in.size()),
      scratch(static_cast<std::size_t>(fft.scratch()) + 64);
  for (std::size_t i = 0; i < v.size(); ++i) {
    in[2 * i] = v[i].real();
    in[2 * i + 1] = v[i].imag();
  }
  const double* done = fft.exec(in.data(), copy.data(), scratch.data(), true);
  Line out(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) out[i] = {done[2 * i], done[2 * i + 1]};
  return out;
}

template <class T>
struct Source {
  const T* values;
  int x;
  FD_HD T operator()(int c, int m, int i) const { return values[(c + m) * x + i]; }
};

template <class T>
struct Keep {
  Complex<T>* out;
  int half;
  FD_HD void operator()(T& re, T& im, const cuda::Frequency& f) const { out[f.c * half + f.k] = {re, im}; }
};

template <class T>
struct Write {
  using Accumulator = cuda::Nothing;
  T* out;
  int x;
  FD_HD void operator()(T value, int c, int m, int i, cuda::Nothing&) const { out[(c + m) * x + i] = value; }
};

double distance(const Line& a, const Line& b) {
  double difference = 0, power = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::norm(a[i] - b[i]);
    power += std::norm(a[i]);
  }
  return std::sqrt(difference / power);
}

// Grid (c, 1, x): transforms, and back.
template <class T>
void check(std::int64_t c, std::int64_t x, bool sums) {
  const Grid g{{c, 1, x}, {c, 1, x}};
  require(cuda::FusedPlan<T>::can(g, kH100), "covered", g);
  const auto nc = static_cast<std::size_t>(c), nx = static_cast<std::size_t>(x),
             nk = static_cast<std::size_t>(g.half());
  Passes<T> p(g, kH100);
  std::vector<T> image(nc * nx), back(nc * nx);
  const std::vector<double> random = noise(nc * nx, static_cast<unsigned>(c + x));
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<T>(random[i]);
  std::vector<Complex<T>> seen(nc * nk);
  p.passes.rows_forward(nullptr, p.spectrum.data(), Rows::all, Source<T>{image.data(), static_cast<int>(x)});
  p.passes.columns(nullptr, p.spectrum.data(), Rows::all, Rows::all,
                   Keep<T>{seen.data(), static_cast<int>(nk)});
  p.passes.rows_inverse(nullptr, p.spectrum.data(), Rows::all, Write<T>{back.data(), static_cast<int>(x)});

  Line spectrum(nc * nk), mine(nc * nk);
  for (std::size_t r = 0; r < nc; ++r) {
    Line row(nx);
    for (std::size_t i = 0; i < nx; ++i) row[i] = static_cast<double>(image[r * nx + i]);
    row = sums ? direct(row) : ducc0(row);
    std::copy_n(row.begin(), nk, spectrum.begin() + static_cast<std::ptrdiff_t>(r * nk));
  }
  for (std::size_t k = 0; k < nk; ++k) {
    Line column(nc);
    for (std::size_t r = 0; r < nc; ++r) column[r] = spectrum[r * nk + k];
    column = sums ? direct(column) : ducc0(column);
    for (std::size_t r = 0; r < nc; ++r) spectrum[r * nk + k] = column[r];
  }
  for (std::size_t i = 0; i < mine.size(); ++i)
    mine[i] = {static_cast<double>(seen[i].re), static_cast<double>(seen[i].im)};
  const double eps = static_cast<double>(std::numeric_limits<T>::epsilon());
  const double far = distance(spectrum, mine) / eps;
  require(far < 0.6 + 0.15 * std::log2(g.pixels()), "transform", g, far);
  double worst = 0;
  for (std::size_t i = 0; i < image.size(); ++i)
    worst =
        std::max(worst, std::abs(static_cast<double>(back[i]) / g.pixels() - static_cast<double>(image[i])));
  require(worst / eps < 3 + std::log2(g.pixels()), "there and back", g, worst / eps);
}

template <class T>
void check_all() {
  int covered = 0;
  for (std::int64_t n = 1; n <= 512; ++n) {
    if (!cuda::FusedPlan<T>::can({{n, 1, 1}, {n, 1, 1}}, kH100)) continue;
    ++covered;
    check<T>(1, n, true);
    check<T>(1, 2 * n, true);
    check<T>(n, 2, true);
  }
  // Up to 512 there are 169 products of 2, 3, 5, 7, 11 and 13.
  require(covered == 169, "count of covered lengths", Grid{}, covered);
  for (std::int64_t n : {625,  1001, 1024, 1080, 1280, 1331, 1920, 2048, 2160,  2197, 2401,
                         3125, 3840, 4096, 4400, 5120, 6561, 7680, 8192, 10000, 10240})
    for (const bool rows : {false, true}) check<T>(rows ? 2 : n, rows ? n : 2, false);
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  using namespace fastdeblur;
  tests::check_all<float>();
  tests::check_all<double>();

  // What is not covered is said to be so.
  const auto can = [](std::int64_t c, std::int64_t m, std::int64_t x) {
    return cuda::FusedPlan<float>::can({{c, m, x}, {c, m, x}}, tests::kH100);
  };
  const bool right = !can(17, 1, 16) && !can(16, 19, 16) && !can(16, 1, 34) && !can(16, 1, 23) &&
                     can(16, 1, 26) && !can(1, 1, 1 << 20) && !can(1 << 15, 1, 16) &&
                     can(1 << 14, 1, 1 << 15);
  tests::require(right, "what is covered", Grid{});
  return 0;
}
