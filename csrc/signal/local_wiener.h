// Lee's adaptive filter after the local sums have been taken: a pixel is drawn to the local mean, the more
// the less its neighbourhood varies beyond the noise.
#pragma once

#include <cstdint>

#include "core/image.h"

namespace fastdeblur::signal {

using std::int64_t;

struct LocalWiener {
  const void* image;
  Element element;
  double* sums;     // of a window; the result afterwards
  double* squares;  // sums of squares; the local variances afterwards
  int64_t n;
  double window;  // pixels of a window
  int threads = 0;
};

// Local means to `sums`, local variances to `squares`. What it returns is the mean of the variances, and
// whether all of them can be divided by: none 0, all finite.
struct Variances {
  double mean;
  bool regular;
};
Variances local_variances(const LocalWiener& problem);

// mean + (x - mean) (1 - noise / variance) where the variance is not below the noise, else the mean.
void local_wiener(const LocalWiener& problem, double noise);

}  // namespace fastdeblur::signal
