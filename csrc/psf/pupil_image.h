// The image of a point through any pupil, integrated over pixels: |sum of pupil nodes' waves|^2 at
// Gauss-Legendre nodes in each pixel. Pupil nodes lie in columns, all at one x, so that the double sum
// separates.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "psf/radial.h"

namespace fastdeblur::psf {

// Columns of nodes in a pupil of radius 1: (columns) x, (columns, nodes) y and complex amplitudes times
// weights.
struct Pupil {
  const double *x, *y, *real, *imag;
  std::int64_t columns, nodes;
};

// Sums of waves a_j exp(-i phase c_j s) at s = start, start + 1, ...: each step turns every wave by a fixed
// angle.
class Waves {
 public:
  void begin(const double* c, const double* real, const double* imag, std::int64_t n, double phase,
             double start) {
    const auto size = static_cast<std::size_t>(n);
    for (auto* part : {&re_, &im_, &cos_, &sin_}) part->resize(size);
    for (std::size_t j = 0; j < size; ++j) {
      const double at = -phase * c[j] * start, turn = -phase * c[j];
      const double cosine = std::cos(at), sine = std::sin(at);
      re_[j] = real[j] * cosine - imag[j] * sine;
      im_[j] = real[j] * sine + imag[j] * cosine;
      cos_[j] = std::cos(turn);
      sin_[j] = std::sin(turn);
    }
  }

  void step(double& real, double& imag) {
    double sum_re = 0, sum_im = 0;
    for (std::size_t j = 0; j < re_.size(); ++j) {
      const double re = re_[j], im = im_[j];
      sum_re += re;
      sum_im += im;
      re_[j] = re * cos_[j] - im * sin_[j];
      im_[j] = re * sin_[j] + im * cos_[j];
    }
    real = sum_re;
    imag = sum_im;
  }

 private:
  std::vector<double> re_, im_, cos_, sin_;
};

// Each column's sum over its nodes for all places along y: (columns, h * nodes.count) real and imaginary
// parts.
inline void column_waves(const Pupil& p, std::int64_t column, double phase, const Nodes& nodes,
                         std::int64_t h, double* real, double* imag) {
  Waves waves;
  const double* y = p.y + column * p.nodes;
  for (std::int64_t q = 0; q < nodes.count; ++q) {
    waves.begin(y, p.real + column * p.nodes, p.imag + column * p.nodes, p.nodes, phase,
                nodes.places[q] - static_cast<double>(h / 2));
    for (std::int64_t i = 0; i < h; ++i) waves.step(real[i * nodes.count + q], imag[i * nodes.count + q]);
  }
}

// exp(-i phase x s) for all places along x: (w * nodes.count).
inline void carrier(double x, double phase, const Nodes& nodes, std::int64_t w, double* real, double* imag) {
  for (std::int64_t i = 0; i < w; ++i) {
    for (std::int64_t q = 0; q < nodes.count; ++q) {
      const double at = -phase * x * (static_cast<double>(i - w / 2) + nodes.places[q]);
      real[i * nodes.count + q] = std::cos(at);
      imag[i * nodes.count + q] = std::sin(at);
    }
  }
}

// The waves of all columns along y, [column][place], and what carries each along x.
struct PupilWaves {
  std::vector<double> y_real, y_imag, x_real, x_imag;

  PupilWaves(std::int64_t columns, std::int64_t along_y, std::int64_t along_x)
      : y_real(static_cast<std::size_t>(columns * along_y)),
        y_imag(y_real.size()),
        x_real(static_cast<std::size_t>(columns * along_x)),
        x_imag(x_real.size()) {}
};

// Writes row y of an (h, w) image, the intensities' integrals over the pixels.
inline void pupil_image_row(const PupilWaves& waves, std::int64_t columns, const Nodes& nodes, std::int64_t y,
                            std::int64_t h, std::int64_t w, double* out) {
  const std::int64_t along_x = w * nodes.count, along_y = h * nodes.count;
  std::vector<double> real(static_cast<std::size_t>(along_x)), imag(real.size());
  for (std::int64_t x = 0; x < w; ++x) out[x] = 0.0;
  for (std::int64_t q = 0; q < nodes.count; ++q) {
    real.assign(real.size(), 0.0);
    imag.assign(imag.size(), 0.0);
    for (std::int64_t c = 0; c < columns; ++c) {
      const auto at = static_cast<std::size_t>(c * along_y + y * nodes.count + q);
      const double a = waves.y_real[at], b = waves.y_imag[at];
      const double *cosine = waves.x_real.data() + c * along_x, *sine = waves.x_imag.data() + c * along_x;
      for (std::size_t i = 0; i < real.size(); ++i) {
        real[i] += a * cosine[i] - b * sine[i];
        imag[i] += a * sine[i] + b * cosine[i];
      }
    }
    for (std::int64_t x = 0; x < w; ++x) {
      double sum = 0.0;
      for (std::int64_t k = 0; k < nodes.count; ++k) {
        const auto i = static_cast<std::size_t>(x * nodes.count + k);
        sum += nodes.weights[k] * (real[i] * real[i] + imag[i] * imag[i]);
      }
      out[x] += nodes.weights[q] * sum;
    }
  }
}

}  // namespace fastdeblur::psf
