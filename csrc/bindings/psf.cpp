#include "bindings/psf.h"
#include "bindings/gil.h"

#include "bindings/psf_arrays.h"
#include "psf/rasterise.h"

namespace py = pybind11;

namespace fastdeblur {

void bind_psf(py::module_& m) {
  m.def(
      "psf_motion",
      [](const PsfArray& lengths, const PsfArray& angles, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 3);
        const double* length = psf_parameters(lengths, {out.shape(0)}, "lengths");
        const double* angle = psf_parameters(angles, {out.shape(0)}, "angles");
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        const Interruptible interruptible;
        psf::rasterise_motion(length, angle, n, h, w, to, n_threads);
      },
      py::arg("lengths").noconvert(), py::arg("angles").noconvert(), py::arg("out").noconvert(),
      py::arg("n_threads"), "Fill out (n, h, w) with lines of lengths (n,) pixels at angles (n,) degrees.");
  m.def(
      "psf_defocus",
      [](const PsfArray& radii, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 3);
        const double* radius = psf_parameters(radii, {out.shape(0)}, "radii");
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        const Interruptible interruptible;
        psf::rasterise_defocus(radius, n, h, w, to, n_threads);
      },
      py::arg("radii").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (n, h, w) with disks of radii (n,) pixels.");
  m.def(
      "psf_gaussian",
      [](const PsfArray& sigmas, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 4);
        const double* sigma = psf_parameters(sigmas, {out.shape(0), 3}, "sigmas");
        const auto n = out.shape(0), d = out.shape(1), h = out.shape(2), w = out.shape(3);
        const Interruptible interruptible;
        psf::rasterise_gaussian(sigma, n, d, h, w, to, n_threads);
      },
      py::arg("sigmas").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (n, d, h, w) with Gaussians of sigmas (n, 3) pixels.");
}

}  // namespace fastdeblur
