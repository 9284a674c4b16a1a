#include "bindings/blind.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "bindings/gil.h"
#include "bindings/restoration_arrays.h"
#include "blind/half_quadratic.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

using Array = RestorationArray<float>;

void half_quadratic(const Array& data, Array x, const Array& kernel, const Array& steps,
                    const std::optional<Array>& table, float density, float power, int n_threads) {
  require(data.ndim() == 2 && data.size() > 0 && kernel.ndim() == 2 && kernel.size() > 0,
          "data, kernel: expected two axes with at least one pixel");
  require(same_shape(data, x), "x: expected the shape of data");
  require(steps.ndim() == 2 && steps.shape(1) == 2, "steps: expected (n, 2)");
  require(!table || (table->ndim() == 1 && table->size() >= 2), "table: expected at least two values");
  require(kernel.shape(0) <= data.shape(0) && kernel.shape(1) <= data.shape(1),
          "kernel: expected no larger than data");
  require(!table || (density > 0 && std::isfinite(density)), "density: expected a finite number above 0");
  blind::HalfQuadratic problem{data.shape(0),   data.shape(1),   data.data(), kernel.data(),
                               kernel.shape(0), kernel.shape(1), {},          nullptr};
  for (py::ssize_t i = 0; i < steps.shape(0); ++i) problem.steps.push_back({steps.at(i, 0), steps.at(i, 1)});
  blind::ShrinkTable shrink;
  if (table) {
    shrink = {{table->data(), table->data() + table->size()}, density, power + 1, power};
    problem.table = &shrink;
  }
  float* out = x.mutable_data();
  const Interruptible interruptible;
  blind::solve(problem, out, n_threads);
}

}  // namespace

void bind_blind(py::module_& m) {
  m.def("blind_half_quadratic", &half_quadratic, py::arg("data").noconvert(), py::arg("x").noconvert(),
        py::arg("kernel").noconvert(), py::arg("steps").noconvert(), py::arg("table").noconvert(),
        py::arg("density"), py::arg("power"), py::arg("n_threads"),
        "Half-quadratic steps (gamma, scale) on x, on a periodic grid; without a table the shrinkage is "
        "hard.");
}

}  // namespace fastdeblur
