// Products with factors that are outer products of one table per axis: Gaussian and shift in the frequency
// domain.
#pragma once

#include <cstdint>
#include <vector>

#include "core/image.h"

namespace fastdeblur::ndimage {

using std::int64_t;

struct Factors {
  std::vector<int64_t> shape;         // slowest axis first, none 0
  std::vector<const double*> tables;  // one number, or a pair (real, imaginary), for each index
};

// out = input * factor, in double; arrays of one float type.
void fourier_scale(const void* input, void* out, Element element, const Factors& factors, int n_threads);

// out = input * factor with complex factors; input is real or pairs, out pairs.
void fourier_rotate(const void* input, Element input_element, bool real_input, void* out, Element out_element,
                    const Factors& factors, int n_threads);

}  // namespace fastdeblur::ndimage
