#include <algorithm>
#include <cstdint>
#include <tuple>

#include "bindings/gil.h"
#include "bindings/psf.h"
#include "bindings/psf_arrays.h"
#include "psf/paths.h"

namespace py = pybind11;

namespace fastdeblur {

void bind_psf_paths(py::module_& m) {
  using Words = std::tuple<std::uint64_t, std::uint64_t>;  // high, low
  m.def(
      "psf_paths",
      [](const PsfArray& paths, const PsfArray& times, const PsfIndex& which, const PsfArray& windows,
         const PsfArray& shifts, bool square, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 3);
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        if (times.ndim() != 2 || times.size() == 0)
          throw std::invalid_argument("times: expected shape (paths, points)");
        const auto m_paths = times.shape(0), points = times.shape(1);
        const double* xy = psf_parameters(paths, {m_paths, points, 2}, "paths");
        require_psf_shape(which, {n}, "which");
        const std::int64_t* of = which.data();
        if (!std::all_of(of, of + n, [=](std::int64_t k) { return k >= 0 && k < m_paths; }))
          throw std::invalid_argument("which: expected indices of paths");
        const double *window = psf_parameters(windows, {n, 2}, "windows"),
                     *shift = psf_parameters(shifts, {n, 2}, "shifts"), *time = times.data();
        const Interruptible interruptible;
        psf::rasterise_paths(xy, time, points, of, window, shift, square, n, h, w, to, n_threads);
      },
      py::arg("paths").noconvert(), py::arg("times").noconvert(), py::arg("which").noconvert(),
      py::arg("windows").noconvert(), py::arg("shifts").noconvert(), py::arg("square"),
      py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (n, h, w): what paths (m, points, 2) do in spans of their times (m, points).");
  m.def(
      "psf_camera_shake",
      [](const Words& state, const Words& increment, const PsfArray& anxieties, const PsfArray& exposures,
         std::int64_t steps, double length, const std::tuple<double, double, double>& most, bool square,
         PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 3);
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        const double *anxiety = psf_parameters(anxieties, {n}, "anxieties"),
                     *exposure = psf_parameters(exposures, {n}, "exposures");
        if (!std::all_of(exposure, exposure + n, [](double e) { return e > 0 && e <= 1; }) || steps < 1)
          throw std::invalid_argument("exposures: expected parts of a path of at least one step");
        const psf::ShakeModel model{
            steps, length, square, std::get<0>(most), std::get<1>(most), std::get<2>(most)};
        const Pcg64 generator{{std::get<0>(state), std::get<1>(state)},
                              {std::get<0>(increment), std::get<1>(increment)}};
        const Interruptible interruptible;
        psf::rasterise_shakes(model, generator, anxiety, exposure, n, h, w, to, n_threads);
      },
      py::arg("state"), py::arg("increment"), py::arg("anxieties").noconvert(),
      py::arg("exposures").noconvert(), py::arg("steps"), py::arg("length"), py::arg("most"),
      py::arg("square"), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (n, h, w) with random camera shake; kernel k has stream k of a PCG64 generator.");
}

}  // namespace fastdeblur
