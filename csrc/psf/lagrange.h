// Interpolation of what is known at even steps, by the polynomial through 8 neighbours.
#pragma once

namespace fastdeblur::psf {

// Lagrange's weights of the samples floor(t) - 3, ..., floor(t) + 4 for the value at t = floor(t) + x.
inline void lagrange8(double x, double* w) {
  // 1 / prod_{m != i} (i - m)
  static constexpr double kScale[8] = {-1.0 / 5040, 1.0 / 720, -1.0 / 240, 1.0 / 144,
                                       -1.0 / 144,  1.0 / 240, -1.0 / 720, 1.0 / 5040};
  double after = 1.0;
  for (int i = 0; i < 8; ++i) {
    w[i] = kScale[i] * after;
    after *= x - (i - 3);
  }
  double before = 1.0;
  for (int i = 7; i >= 0; --i) {
    w[i] *= before;
    before *= x - (i - 3);
  }
}

}  // namespace fastdeblur::psf
