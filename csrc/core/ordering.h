// std::min, max and clamp for code that a device runs too, which may not call the standard library's.
#pragma once

#include "core/host_device.h"

namespace fastdeblur {

template <class Value>
FD_HD_FUNCTION Value least(Value a, Value b) {
  return b < a ? b : a;
}

template <class Value>
FD_HD_FUNCTION Value greatest(Value a, Value b) {
  return a < b ? b : a;
}

template <class Value>
FD_HD_FUNCTION Value within(Value value, Value low, Value high) {
  return value < low ? low : high < value ? high : value;
}

}  // namespace fastdeblur
