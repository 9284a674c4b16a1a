// Bindings of the device's PSF rasterisers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "bindings/gil.h"
#include "bindings/psf_arrays.h"
#include "cuda/psf.h"

namespace fastdeblur {

// (address, dtype, shape) of contiguous kernels in device memory.
inline cuda::PsfTarget psf_target(const pybind11::tuple& given, std::size_t ndim) {
  if (given.size() != 3) throw pybind11::value_error("out: expected (address, dtype, shape)");
  const auto dtype = given[1].cast<std::string>();
  if (dtype != "<f4" && dtype != "<f8")
    throw pybind11::type_error("out: expected float32 or float64, got " + dtype);
  auto shape = given[2].cast<std::vector<std::int64_t>>();
  if (shape.size() != ndim) throw pybind11::value_error("out: expected " + std::to_string(ndim) + " axes");
  if (ndim == 3) shape.insert(shape.begin() + 1, 1);
  return {reinterpret_cast<void*>(given[0].cast<std::uintptr_t>()),
          dtype == "<f8",
          shape[0],
          shape[1],
          shape[2],
          shape[3]};
}

inline void bind_cuda_psf(pybind11::module_& m) {
  namespace py = pybind11;
  const auto as_stream = [](std::uintptr_t stream) { return reinterpret_cast<cuda::Stream>(stream); };
  m.def(
      "psf_motion",
      [=](int device, const PsfArray& lengths, const PsfArray& angles, const py::tuple& out,
          std::uintptr_t stream) {
        const cuda::PsfTarget target = psf_target(out, 3);
        const double* length = psf_parameters(lengths, {target.n}, "lengths");
        const double* angle = psf_parameters(angles, {target.n}, "angles");
        const Unlocked unlocked;
        cuda::rasterise_motion(device, length, angle, target, as_stream(stream));
      },
      py::kw_only(), py::arg("device"), py::arg("lengths").noconvert(), py::arg("angles").noconvert(),
      py::arg("out"), py::arg("stream"),
      "Fill out (n, h, w) with lines of lengths (n,) pixels at angles (n,) degrees.");
  m.def(
      "psf_defocus",
      [=](int device, const PsfArray& radii, const py::tuple& out, std::uintptr_t stream) {
        const cuda::PsfTarget target = psf_target(out, 3);
        const double* radius = psf_parameters(radii, {target.n}, "radii");
        const Unlocked unlocked;
        cuda::rasterise_defocus(device, radius, target, as_stream(stream));
      },
      py::kw_only(), py::arg("device"), py::arg("radii").noconvert(), py::arg("out"), py::arg("stream"),
      "Fill out (n, h, w) with disks of radii (n,) pixels.");
  m.def(
      "psf_gaussian",
      [=](int device, const PsfArray& sigmas, const py::tuple& out, std::uintptr_t stream) {
        const cuda::PsfTarget target = psf_target(out, 4);
        const double* sigma = psf_parameters(sigmas, {target.n, 3}, "sigmas");
        const Unlocked unlocked;
        cuda::rasterise_gaussian(device, sigma, target, as_stream(stream));
      },
      py::kw_only(), py::arg("device"), py::arg("sigmas").noconvert(), py::arg("out"), py::arg("stream"),
      "Fill out (n, d, h, w) with Gaussians of sigmas (n, 3) pixels.");
}

}  // namespace fastdeblur
