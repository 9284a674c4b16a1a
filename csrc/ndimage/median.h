// Medians over small windows, in vectors of the array's own type.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"
#include "ndimage/extend.h"

namespace fastdeblur::ndimage {

// out[i] = median of extended(input)[i + start + k], k in the window: an odd number of elements, 3 to
// kMostInWindow. Arrays are C-contiguous, of one type and shape (>= 1 axis), none with a 0.
constexpr int64_t kMostInWindow = 125;

struct Median {
  const void* input;
  void* out;
  Element element;
  std::vector<int64_t> shape, window, start;
  Mode mode;
  const void* constant;  // one element
  int n_threads;
};

// False, and out unspecified, where there is a NaN, which has no place in an order.
bool median(const Median& problem);

}  // namespace fastdeblur::ndimage
