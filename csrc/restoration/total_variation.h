// Total-variation denoising of one image by Chambolle's projection, with scikit-image's iteration and
// stopping rule.
#pragma once

#include <cstdint>

namespace fastdeblur::restoration {

// A volume (slabs, rows, n) or, with rows = 1 and without differences along rows, an image (slabs, n).
struct TvShape {
  std::int64_t slabs, rows, n;
  bool volume;
};

struct TvOptions {
  double weight, eps;
  std::int64_t iterations;  // at least 2: the original answers with the image itself after one
};

// Returns whether the image's total variation is finite; if not, out is not written.
template <class T>
bool denoise_tv(const T* image, const TvShape& shape, const TvOptions& options, T* out, int n_threads);

extern template bool denoise_tv<float>(const float*, const TvShape&, const TvOptions&, float*, int);
extern template bool denoise_tv<double>(const double*, const TvShape&, const TvOptions&, double*, int);

}  // namespace fastdeblur::restoration
