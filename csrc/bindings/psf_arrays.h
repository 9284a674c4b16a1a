// How the PSF bindings look at their arrays.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace fastdeblur {

// noconvert() at every argument: a copy of `out` would be filled and thrown away.
using PsfArray = pybind11::array_t<double, pybind11::array::c_style>;
using PsfIndex = pybind11::array_t<std::int64_t, pybind11::array::c_style>;

// Python has checked the values; what is left to check here is what would read or write out of bounds.
inline void require_psf_shape(const pybind11::array& values, std::initializer_list<pybind11::ssize_t> shape,
                              const char* name) {
  bool same = values.ndim() == static_cast<pybind11::ssize_t>(shape.size());
  for (pybind11::ssize_t axis = 0; same && axis < values.ndim(); ++axis)
    same = values.shape(axis) == shape.begin()[axis];
  if (same) return;
  std::string text;
  for (const auto size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  throw std::invalid_argument(std::string(name) + ": expected shape (" + text + ")");
}

inline const double* psf_parameters(const PsfArray& values, std::initializer_list<pybind11::ssize_t> shape,
                                    const char* name) {
  require_psf_shape(values, shape, name);
  return values.data();
}

inline double* psf_kernels(PsfArray& out, pybind11::ssize_t ndim) {
  if (out.ndim() != ndim || out.size() == 0) {
    throw std::invalid_argument("out: expected " + std::to_string(ndim) +
                                "-D kernels with at least one pixel");
  }
  return out.mutable_data();
}

}  // namespace fastdeblur
