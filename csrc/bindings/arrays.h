// What the bindings ask of NumPy arrays before they hand them to the core.
#pragma once

#include <pybind11/numpy.h>

#include <stdexcept>

#include "core/image.h"

namespace fastdeblur {

inline void require(bool holds, const char* message) {
  if (!holds) throw std::invalid_argument(message);
}

// The element type of a real array in native byte order.
inline Element element_of(const pybind11::array& array) {
  const char kind = array.dtype().kind();
  const auto size = array.itemsize();
  require(array.dtype().byteorder() != '>', "expected arrays in native byte order");
  if (kind == 'f' && size == 4) return Element::f32;
  if (kind == 'f' && size == 8) return Element::f64;
  const bool with_sign = kind == 'i';
  require(with_sign || kind == 'u' || kind == 'b', "expected real arrays of at most 64 bits");
  switch (size) {
    case 1:
      return with_sign ? Element::i8 : Element::u8;
    case 2:
      return with_sign ? Element::i16 : Element::u16;
    case 4:
      return with_sign ? Element::i32 : Element::u32;
    default:
      return with_sign ? Element::i64 : Element::u64;
  }
}

}  // namespace fastdeblur
