// Intensity in the image of a point through a round pupil, along the radius, for many defoci at once.
//
// The amplitude at the optical radius b (wavenumber times NA times radius) is the Hankel transform of the
// pupil f:
//   A(b) = int_0^1 f(r) J0(b r) r dr.
// With f as a sum of c_m J0(s_m r) every term has a closed form (Li, Xue and Blu 2017,
// doi:10.1364/JOSAA.34.001029),
//   int_0^1 J0(s r) J0(b r) r dr = (s J1(s) J0(b) - b J0(s) J1(b)) / (s^2 - b^2);
// with f at the nodes r_m of a quadrature, whose weights are in c_m, the term is J0(b r_m). Either way A is a
// matrix that no defocus enters, times the coefficients.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cpu/parallel.h"
#include "psf/bessel.h"

namespace fastdeblur::psf {

struct PupilTerms {
  bool series;  // sums of Bessel functions, else a quadrature
  std::int64_t terms, planes;
  const double* nodes;         // (terms): s_m or r_m
  const double* coefficients;  // (terms, 2, planes): real and imaginary parts
};

// The terms' factors at one optical radius. j0, j1: of the terms' own nodes, for the series.
inline void pupil_row(const PupilTerms& f, const double* j0, const double* j1, double b, double* row) {
  if (!f.series) {
    for (std::int64_t m = 0; m < f.terms; ++m) row[m] = bessel_j0(b * f.nodes[m]);
    return;
  }
  const double b0 = bessel_j0(b), b1 = bessel_j1(b);
  for (std::int64_t m = 0; m < f.terms; ++m) {
    const double s = f.nodes[m], apart = s - b;
    // At s = b the quotient is (J0^2 + J1^2) / 2; nearer than this its digits cancel, and the limit has more.
    row[m] = std::fabs(apart) > 1e-8 ? (s * j1[m] * b0 - b * j0[m] * b1) / (apart * (s + b))
                                     : 0.5 * (b0 * b0 + b1 * b1);
  }
}

// out[k] = |sum_m row[m] c[m][k]|^2 for `width` planes from `first` on, whose sums stay in registers.
template <std::int64_t width>
void pupil_planes(const PupilTerms& f, const double* row, std::int64_t first, double* out) {
  double real[width] = {}, imaginary[width] = {};
  for (std::int64_t m = 0; m < f.terms; ++m) {
    const double *re = f.coefficients + 2 * m * f.planes + first, *im = re + f.planes;
    for (std::int64_t k = 0; k < width; ++k) {
      real[k] += row[m] * re[k];
      imaginary[k] += row[m] * im[k];
    }
  }
  for (std::int64_t k = 0; k < width; ++k) out[first + k] = real[k] * real[k] + imaginary[k] * imaginary[k];
}

// Multiplies out (n, planes) by the intensities at the optical radii j * step, j = 0, ..., n - 1.
inline void multiply_pupil_intensity(const PupilTerms& f, double step, std::int64_t n, double* out,
                                     int n_threads) {
  std::vector<double> j0, j1;
  if (f.series) {
    for (std::int64_t m = 0; m < f.terms; ++m) {
      j0.push_back(bessel_j0(f.nodes[m]));
      j1.push_back(bessel_j1(f.nodes[m]));
    }
  }
  constexpr std::int64_t kPiece = 32;
  parallel_for((n + kPiece - 1) / kPiece, n_threads, [&](std::int64_t piece) {
    std::vector<double> row(static_cast<std::size_t>(f.terms)), intensity(static_cast<std::size_t>(f.planes));
    const std::int64_t last = std::min(n, (piece + 1) * kPiece);
    for (std::int64_t j = piece * kPiece; j < last; ++j) {
      pupil_row(f, j0.data(), j1.data(), step * static_cast<double>(j), row.data());
      std::int64_t k = 0;
      for (; k + 16 <= f.planes; k += 16) pupil_planes<16>(f, row.data(), k, intensity.data());
      for (; k + 4 <= f.planes; k += 4) pupil_planes<4>(f, row.data(), k, intensity.data());
      for (; k < f.planes; ++k) pupil_planes<1>(f, row.data(), k, intensity.data());
      double* to = out + j * f.planes;
      for (k = 0; k < f.planes; ++k) to[k] *= intensity[static_cast<std::size_t>(k)];
    }
  });
}

}  // namespace fastdeblur::psf
