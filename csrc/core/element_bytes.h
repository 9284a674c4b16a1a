// How large an element is.
#pragma once

#include <cstdint>

#include "core/image.h"

namespace fastdeblur {

inline std::int64_t bytes_of(Element element) {
  switch (element) {
    case Element::u8:
    case Element::i8:
      return 1;
    case Element::u16:
    case Element::i16:
      return 2;
    case Element::f32:
    case Element::u32:
    case Element::i32:
      return 4;
    default:
      return 8;
  }
}

}  // namespace fastdeblur
