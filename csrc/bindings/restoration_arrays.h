// Checked views of NumPy arrays for the restoration bindings.
#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <cstdint>

#include "bindings/arrays.h"

namespace fastdeblur {

template <class T>
using RestorationArray = pybind11::array_t<T, pybind11::array::c_style>;

inline bool same_shape(const pybind11::array& a, const pybind11::array& b) {
  if (a.ndim() != b.ndim()) return false;
  for (pybind11::ssize_t i = 0; i < a.ndim(); ++i)
    if (a.shape(i) != b.shape(i)) return false;
  return true;
}

// Shape as (c, m, x); only arrays of 1 to 3 axes with at least one element.
inline std::array<std::int64_t, 3> axes_of(const pybind11::array& a, const char* message) {
  require(a.ndim() >= 1 && a.ndim() <= 3 && a.size() > 0, message);
  switch (a.ndim()) {
    case 1:
      return {1, 1, a.shape(0)};
    case 2:
      return {a.shape(0), 1, a.shape(1)};
    default:
      return {a.shape(0), a.shape(1), a.shape(2)};
  }
}

}  // namespace fastdeblur
