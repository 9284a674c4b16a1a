// Rows of an array of any element type, as the kernels want them: extended, in one type.
#pragma once

#include <cstdint>

#include "core/image.h"
#include "ndimage/extend.h"

namespace fastdeblur::ndimage {

int64_t bytes_of(Element element);

// A row of `width` contiguous elements; none (data == nullptr) where a row lies in the constant.
struct Row {
  const char* data = nullptr;
  Element element = Element::f64;
  int64_t width = 0;
};

// out[i] = element begin + i of the extended row, for i < end - begin. T: double, uint32_t or uint64_t;
// integers are taken modulo 2^32 or 2^64.
template <class T>
void load_row(const Row& row, Mode mode, T constant, int64_t begin, int64_t end, T* out);

// A C cast of each value, as SciPy's: cut towards 0; what does not fit an 8- or 16-bit integer keeps its low
// bits.
void store_row(const double* values, int64_t n, Element element, char* out);
// The low bits of each value.
void store_row(const std::uint64_t* values, int64_t n, Element element, char* out);
void store_row(const std::uint32_t* values, int64_t n, Element element, char* out);

// out += values, both in out's type, modulo 2^bits for integers.
void add_row(const double* values, int64_t n, Element element, char* out);

// values as they would come back after store_row.
void round_row(double* values, int64_t n, Element element);

}  // namespace fastdeblur::ndimage
