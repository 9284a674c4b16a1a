#include "bindings/psf.h"

#include <pybind11/numpy.h>

#include <initializer_list>
#include <stdexcept>
#include <string>

#include "psf/rasterise.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

// noconvert() at every argument: a copy of `out` would be filled and thrown away.
using Array = py::array_t<double, py::array::c_style>;

// Python has checked the values; what is left to check here is what would read or write out of bounds.
const double* parameters(const Array& values, std::initializer_list<py::ssize_t> shape, const char* name) {
  bool same = values.ndim() == static_cast<py::ssize_t>(shape.size());
  for (py::ssize_t axis = 0; same && axis < values.ndim(); ++axis)
    same = values.shape(axis) == shape.begin()[axis];
  if (!same) throw std::invalid_argument(std::string(name) + ": expected one row for each kernel of out");
  return values.data();
}

double* kernels(Array& out, py::ssize_t ndim) {
  if (out.ndim() != ndim || out.size() == 0) {
    throw std::invalid_argument("out: expected " + std::to_string(ndim) +
                                "-D kernels with at least one pixel");
  }
  return out.mutable_data();
}

}  // namespace

void bind_psf(py::module_& m) {
  m.def(
      "psf_motion",
      [](const Array& lengths, const Array& angles, Array out, int n_threads) {
        double* to = kernels(out, 3);
        const double* length = parameters(lengths, {out.shape(0)}, "lengths");
        const double* angle = parameters(angles, {out.shape(0)}, "angles");
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        py::gil_scoped_release nogil;
        psf::rasterise_motion(length, angle, n, h, w, to, n_threads);
      },
      py::arg("lengths").noconvert(), py::arg("angles").noconvert(), py::arg("out").noconvert(),
      py::arg("n_threads"), "Fill out (n, h, w) with lines of lengths (n,) pixels at angles (n,) degrees.");
  m.def(
      "psf_defocus",
      [](const Array& radii, Array out, int n_threads) {
        double* to = kernels(out, 3);
        const double* radius = parameters(radii, {out.shape(0)}, "radii");
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        py::gil_scoped_release nogil;
        psf::rasterise_defocus(radius, n, h, w, to, n_threads);
      },
      py::arg("radii").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (n, h, w) with disks of radii (n,) pixels.");
  m.def(
      "psf_gaussian",
      [](const Array& sigmas, Array out, int n_threads) {
        double* to = kernels(out, 4);
        const double* sigma = parameters(sigmas, {out.shape(0), 3}, "sigmas");
        const auto n = out.shape(0), d = out.shape(1), h = out.shape(2), w = out.shape(3);
        py::gil_scoped_release nogil;
        psf::rasterise_gaussian(sigma, n, d, h, w, to, n_threads);
      },
      py::arg("sigmas").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (n, d, h, w) with Gaussians of sigmas (n, 3) pixels.");
}

}  // namespace fastdeblur
