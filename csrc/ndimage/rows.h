// Rows of an array of any element type, as the kernels want them: extended, in one type.
#pragma once

#include <cstdint>

#include "core/element_bytes.h"
#include "ndimage/extend.h"

namespace fastdeblur::ndimage {

// A row of `width` contiguous elements; none (data == nullptr) where a row lies in the constant.
struct Row {
  const char* data = nullptr;
  Element element = Element::f64;
  int64_t width = 0;
};

// out[i] = element begin + i of the extended row, for i < end - begin. T: double, or an unsigned integer, of
// which elements of integer type are taken modulo its range.
template <class T>
void load_row(const Row& row, Mode mode, T constant, int64_t begin, int64_t end, T* out);

// Rows that are far apart in memory are no stream to the processor: it is told of the next one.
void prefetch_row(const Row& row, int64_t begin, int64_t end);
void prefetch_for_writing(const char* row, int64_t bytes);

// A C cast of each value, as SciPy's on x86: cut towards 0; NaN and what does not fit become the least int32
// or int64, and smaller or unsigned integers its low bits.
void store_row(const double* values, int64_t n, Element element, char* out);
// The low bits of each value.
void store_row(const std::uint64_t* values, int64_t n, Element element, char* out);
void store_row(const std::uint32_t* values, int64_t n, Element element, char* out);

// What SciPy's filters with n-D windows store: as store_row, but unsigned integers of negative values are
// made of the positive ones, which shows where those are beyond 2^63.
void store_window_row(const double* values, int64_t n, Element element, char* out);
inline void store_window_row(const std::uint64_t* values, int64_t n, Element element, char* out) {
  store_row(values, n, element, out);
}
inline void store_window_row(const std::uint32_t* values, int64_t n, Element element, char* out) {
  store_row(values, n, element, out);
}

// out += values, both in out's type, modulo 2^bits for integers.
void add_row(const double* values, int64_t n, Element element, char* out);

// values as they would come back after store_row.
void round_row(double* values, int64_t n, Element element);

}  // namespace fastdeblur::ndimage
