// Arrays as the CUDA core takes them: (address, dtype as in the array interface, strides in bytes, whether in
// device memory).
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bindings/problem.h"
#include "cuda/deconvolver.h"

namespace fastdeblur {

// The element type that a string like "<f4" names.
inline Element element_named(const std::string& name) {
  const auto unsupported = [&] { return pybind11::type_error("unsupported dtype: " + name); };
  if (name.size() != 3 || name[0] == '>') throw unsupported();
  const bool is_signed = name[1] == 'i';
  if (name[1] == 'f') {
    if (name[2] == '4') return Element::f32;
    if (name[2] == '8') return Element::f64;
    throw unsupported();
  }
  if (!is_signed && name[1] != 'u' && name[1] != 'b') throw unsupported();
  switch (name[2]) {
    case '1':
      return is_signed ? Element::i8 : Element::u8;
    case '2':
      return is_signed ? Element::i16 : Element::u16;
    case '4':
      return is_signed ? Element::i32 : Element::u32;
    case '8':
      return is_signed ? Element::i64 : Element::u64;
    default:
      throw unsupported();
  }
}

struct Located {
  ImageView view;
  bool on_device = false;

  explicit Located(const pybind11::object& given) {
    if (given.is_none()) return;
    const auto array = given.cast<pybind11::tuple>();
    if (array.size() != 4) throw pybind11::value_error("expected (address, dtype, strides, on the device)");
    view.data = reinterpret_cast<const void*>(array[0].cast<std::uintptr_t>());
    view.element = element_named(array[1].cast<std::string>());
    view.stride = as_axes<std::ptrdiff_t>(array[2].cast<std::vector<std::ptrdiff_t>>(), 0);
    on_device = array[3].cast<bool>();
  }

  template <class T>
  MutableImageView<T> as_output() const {
    if (view.element != element_of<T>())
      throw pybind11::type_error("out: expected the precision of the plan");
    return {static_cast<T*>(const_cast<void*>(view.data)), view.stride};
  }
};

// (image, out, psf, weights or None, init or None)
template <class T>
std::vector<cuda::LocatedPlane<T>> located_planes(const std::vector<pybind11::tuple>& planes) {
  std::vector<cuda::LocatedPlane<T>> result;
  for (const pybind11::tuple& plane : planes) {
    const Located image(plane[0]), out(plane[1]), weights(plane[3]), init(plane[4]);
    result.push_back({{image.view, out.as_output<T>(), plane[2].cast<int64_t>(), weights.view, init.view},
                      image.on_device,
                      out.on_device,
                      weights.on_device,
                      init.on_device});
  }
  return result;
}

}  // namespace fastdeblur
