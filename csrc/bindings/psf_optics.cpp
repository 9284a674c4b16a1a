#include <cstdint>

#include "bindings/gil.h"
#include "bindings/psf.h"
#include "bindings/psf_arrays.h"
#include "psf/optics.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

psf::Nodes nodes_of(const PsfArray& places, const PsfArray& weights) {
  if (places.ndim() != 1 || places.size() == 0)
    throw std::invalid_argument("places: expected shape (nodes,)");
  return {places.data(), psf_parameters(weights, {places.size()}, "weights"), places.size()};
}

}  // namespace

void bind_psf_optics(py::module_& m) {
  m.def(
      "psf_moffat",
      [](double alpha, double beta, const PsfArray& places, const PsfArray& weights, PsfArray out,
         int n_threads) {
        double* to = psf_kernels(out, 2);
        const psf::Nodes nodes = nodes_of(places, weights);
        const auto h = out.shape(0), w = out.shape(1);
        const Interruptible interruptible;
        psf::rasterise_radial(psf::MoffatTail{alpha, beta}, nodes, h, w, to, n_threads);
      },
      py::arg("alpha"), py::arg("beta"), py::arg("places").noconvert(), py::arg("weights").noconvert(),
      py::arg("out").noconvert(), py::arg("n_threads"), "Fill out (h, w) with a Moffat profile.");
  m.def(
      "psf_radial",
      [](const PsfArray& table, double scale, double step, bool warped, const PsfArray& places,
         const PsfArray& weights, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 2);
        if (table.ndim() != 1 || table.size() < 8 || !(scale > 0) || !(step > 0))
          throw std::invalid_argument("table: expected at least 8 values at steps > 0");
        const psf::TableTail tail{table.data(), table.size(), scale, step, warped};
        const psf::Nodes nodes = nodes_of(places, weights);
        const auto h = out.shape(0), w = out.shape(1);
        const Interruptible interruptible;
        psf::rasterise_radial(tail, nodes, h, w, to, n_threads);
      },
      py::arg("table").noconvert(), py::arg("scale"), py::arg("step"), py::arg("warped"),
      py::arg("places").noconvert(), py::arg("weights").noconvert(), py::arg("out").noconvert(),
      py::arg("n_threads"),
      "Fill out (h, w) with a round PSF, given a table of the light beyond each radius.");
  m.def(
      "psf_polygon",
      [](const PsfArray& radii, const PsfArray& rotations, std::int64_t blades, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 3);
        const auto n = out.shape(0), h = out.shape(1), w = out.shape(2);
        const double *radius = psf_parameters(radii, {n}, "radii"),
                     *rotation = psf_parameters(rotations, {n}, "rotations");
        const Interruptible interruptible;
        psf::rasterise_polygons(radius, rotation, blades, n, h, w, to, n_threads);
      },
      py::arg("radii").noconvert(), py::arg("rotations").noconvert(), py::arg("blades"),
      py::arg("out").noconvert(), py::arg("n_threads"), "Fill out (n, h, w) with regular polygons.");
  m.def(
      "psf_turned_gaussian",
      [](double narrow, double smear, double across, double down, double step, std::int64_t half,
         PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 2);
        const auto h = out.shape(0), w = out.shape(1);
        const Interruptible interruptible;
        psf::rasterise_turned({narrow, smear, across, down, step, half}, h, w, to, n_threads);
      },
      py::arg("narrow"), py::arg("smear"), py::arg("across"), py::arg("down"), py::arg("step"),
      py::arg("half"), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (h, w) with a turned Gaussian.");
  m.def(
      "psf_pupil_image",
      [](const PsfArray& x, const PsfArray& y, const PsfArray& real, const PsfArray& imag, double phase,
         const PsfArray& places, const PsfArray& weights, PsfArray out, int n_threads) {
        double* to = psf_kernels(out, 2);
        if (y.ndim() != 2) throw std::invalid_argument("y: expected shape (columns, nodes)");
        const auto columns = y.shape(0), count = y.shape(1);
        const psf::Pupil pupil{psf_parameters(x, {columns}, "x"),
                               y.data(),
                               psf_parameters(real, {columns, count}, "real"),
                               psf_parameters(imag, {columns, count}, "imag"),
                               columns,
                               count};
        const psf::Nodes nodes = nodes_of(places, weights);
        const auto h = out.shape(0), w = out.shape(1);
        const Interruptible interruptible;
        psf::rasterise_pupil(pupil, phase, nodes, h, w, to, n_threads);
      },
      py::arg("x").noconvert(), py::arg("y").noconvert(), py::arg("real").noconvert(),
      py::arg("imag").noconvert(), py::arg("phase"), py::arg("places").noconvert(),
      py::arg("weights").noconvert(), py::arg("out").noconvert(), py::arg("n_threads"),
      "Fill out (h, w) with the image of a point through a pupil's nodes.");
}

}  // namespace fastdeblur
