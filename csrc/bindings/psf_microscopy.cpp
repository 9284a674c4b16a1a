#include <cmath>

#include "bindings/arrays.h"
#include "bindings/gil.h"
#include "bindings/psf.h"
#include "bindings/psf_arrays.h"
#include "psf/bessel.h"
#include "psf/pupil.h"
#include "psf/revolve.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

bool is_vector(const PsfArray& array, py::ssize_t n) { return array.ndim() == 1 && array.shape(0) == n; }

}  // namespace

void bind_psf_microscopy(py::module_& m) {
  m.def(
      "psf_bessel",
      [](const PsfArray& x, PsfArray j0, PsfArray j1) {
        require(x.ndim() == 1 && is_vector(j0, x.size()) && is_vector(j1, x.size()),
                "j0, j1: expected the shape (n,) of x");
        double *zero = j0.mutable_data(), *one = j1.mutable_data();
        for (py::ssize_t i = 0; i < x.size(); ++i) {
          zero[i] = psf::bessel_j0(x.data()[i]);
          one[i] = psf::bessel_j1(x.data()[i]);
        }
      },
      py::arg("x").noconvert(), py::arg("j0").noconvert(), py::arg("j1").noconvert(),
      "Fill j0 and j1 (n,) with the Bessel functions at x (n,) >= 0.");
  m.def(
      "psf_pupil",
      [](bool series, const PsfArray& nodes, const PsfArray& coefficients, double step, PsfArray out,
         int n_threads) {
        require(out.ndim() == 2 && out.size() > 0, "out: expected (n, planes) with at least one element");
        require(nodes.ndim() == 1 && coefficients.ndim() == 3 && coefficients.shape(0) == nodes.size() &&
                    coefficients.shape(1) == 2 && coefficients.shape(2) == out.shape(1),
                "coefficients: expected the shape (nodes, 2, planes of out)");
        const psf::PupilTerms terms{series, nodes.size(), out.shape(1), nodes.data(), coefficients.data()};
        double* to = out.mutable_data();
        const auto n = out.shape(0);
        const Interruptible interruptible;
        psf::multiply_pupil_intensity(terms, step, n, to, n_threads);
      },
      py::arg("series"), py::arg("nodes").noconvert(), py::arg("coefficients").noconvert(), py::arg("step"),
      py::arg("out").noconvert(), py::arg("n_threads"),
      "Multiply out (n, planes) by a pupil's intensities at the optical radii j * step.");
  m.def(
      "psf_revolve",
      [](const PsfArray& profile, double step, const PsfArray& nodes, const PsfArray& weights, PsfArray out,
         int n_threads) {
        require(out.ndim() == 3 && out.size() > 0, "out: expected (d, h, w) with at least one pixel");
        require(nodes.ndim() == 1 && is_vector(weights, nodes.size()), "weights: expected one for each node");
        const auto d = out.shape(0), h = out.shape(1), w = out.shape(2);
        const double corner = std::hypot(static_cast<double>(h / 2) + 0.5, static_cast<double>(w / 2) + 0.5);
        require(step > 0 && profile.ndim() == 2 && profile.shape(1) == d &&
                    static_cast<double>(profile.shape(0)) >= corner / step + 6.0,
                "profile: expected (n, d), reaching 6 samples beyond the farthest corner");
        const psf::Profile p{profile.data(), profile.shape(0), d,           step,
                             nodes.data(),   weights.data(),   nodes.size()};
        double* to = out.mutable_data();
        const Interruptible interruptible;
        psf::revolve(p, h, w, to, n_threads);
      },
      py::arg("profile").noconvert(), py::arg("step"), py::arg("nodes").noconvert(),
      py::arg("weights").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (d, h, w) with round planes, from profile (n, d) at the radii j * step pixels.");
}

}  // namespace fastdeblur
