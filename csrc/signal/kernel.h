// A kernel in the precision of the computation, contiguous.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/image.h"
#include "signal/fft_convolve.h"

namespace fastdeblur::signal {

template <class T>
class Kernel {
 public:
  Kernel(const ImageView& view, const Shape& shape)
      : values_(static_cast<std::size_t>(shape[0] * shape[1] * shape[2])) {
    for (int64_t c = 0; c < shape[0]; ++c)
      for (int64_t m = 0; m < shape[1]; ++m) {
        T* row = values_.data() + (c * shape[1] + m) * shape[2];
        convert_row(view.element,
                    static_cast<const char*>(view.data) + c * view.stride[0] + m * view.stride[1],
                    view.stride[2], shape[2], row);
        for (int64_t x = 0; x < shape[2]; ++x) sum_ += std::abs(static_cast<double>(row[x]));
      }
  }

  const T* data() const { return values_.data(); }

  // The largest sample of an image with which no sum of a transform of this many pixels can overflow;
  // negative if the kernel has a value that is not finite, so that no sample is within it.
  T limit(double pixels) const {
    if (!(sum_ <= std::numeric_limits<double>::max())) return T(-1);
    return static_cast<T>(static_cast<double>(std::numeric_limits<T>::max()) /
                          (pixels * std::max(1.0, sum_)));
  }

 private:
  std::vector<T> values_;
  double sum_ = 0;
};

}  // namespace fastdeblur::signal
