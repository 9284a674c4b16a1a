#include "bindings/ndimage.h"
#include "bindings/gil.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <variant>
#include <vector>

#include "bindings/arrays.h"
#include "ndimage/correlate.h"
#include "ndimage/fourier.h"
#include "ndimage/median.h"
#include "ndimage/separable.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

using ndimage::Arithmetic;
using ndimage::Mode;
using Shape = std::vector<std::int64_t>;

// Python has checked and arranged everything; what is left to check here is what would read or write out of
// bounds.
Element element(const py::array& array) {
  require(array.flags() & py::array::c_style, "expected C-contiguous arrays");
  return element_of(array);
}

bool is_float(Element element) { return element == Element::f32 || element == Element::f64; }

Mode as_mode(int code) {
  require(code >= 0 && code <= static_cast<int>(Mode::constant), "unknown boundary mode");
  return static_cast<Mode>(code);
}

Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

void correlate(const py::array& input, const py::array& weights, py::array out, const Shape& start, int mode,
               double cval, int arithmetic, int n_threads) {
  require(arithmetic >= 0 && arithmetic <= static_cast<int>(Arithmetic::modular), "unknown arithmetic");
  ndimage::Correlation problem{};
  problem.arithmetic = static_cast<Arithmetic>(arithmetic);
  problem.input_element = element(input);
  problem.out_element = element(out);
  const Element weight = element(weights);
  const bool modular = problem.arithmetic == Arithmetic::modular;
  require(weight == (modular ? Element::u64 : Element::f64),
          "weights: expected float64, or uint64 when modular");
  require(!modular || (!is_float(problem.input_element) && !is_float(problem.out_element)),
          "modular arithmetic: expected integers");
  require(input.ndim() >= 1 && weights.ndim() == input.ndim() && out.ndim() == input.ndim() &&
              static_cast<py::ssize_t>(start.size()) == input.ndim(),
          "expected arrays of one number of axes, at least 1");
  if (out.size() == 0) return;
  require(input.size() > 0 && weights.size() > 0, "expected arrays with at least one element");
  for (const auto first : start)
    require(first > -(std::int64_t(1) << 60) && first < (std::int64_t(1) << 60), "start: too far away");
  problem.input = input.data();
  problem.input_shape = shape_of(input);
  problem.weights = weights.data();
  problem.weights_shape = shape_of(weights);
  problem.out = out.mutable_data();
  problem.out_shape = shape_of(out);
  problem.start = start;
  problem.mode = as_mode(mode);
  problem.constant = cval;
  problem.n_threads = n_threads;
  const Unlocked unlocked;
  ndimage::correlate(problem);
}

// Two arrays of one shape, seen as planes of rows of one axis (and the next, where a pair is filtered at
// once).
struct Planes {
  std::int64_t planes = 1, height = 1, width = 1;
};

Planes planes_along(const py::array& input, const py::array& out, int axis, bool pair) {
  require(input.ndim() == out.ndim() && axis >= 0 && axis + (pair ? 2 : 1) <= input.ndim(),
          "axis out of range");
  require(!pair || axis + 2 == input.ndim(), "only the last two axes are filtered at once");
  Planes result;
  for (py::ssize_t i = 0; i < input.ndim(); ++i) {
    require(input.shape(i) == out.shape(i), "out: expected input's shape");
    (i < axis ? result.planes : i == axis ? result.height : result.width) *= input.shape(i);
  }
  return result;
}

// The last axis alone: its lines are the rows of one plane.
Planes as_rows(const Planes& along) { return {1, along.planes, along.height}; }

using Weights = py::array_t<double, py::array::c_style>;

// Weights, or a number of elements whose mean is wanted.
using Kernel = std::variant<std::int64_t, Weights>;

ndimage::LineKernel line_kernel(const Kernel& kernel, std::int64_t start, int mode) {
  constexpr auto far = std::int64_t(1) << 60;
  require(start > -far && start < far, "start: too far away");
  if (const auto* taps = std::get_if<std::int64_t>(&kernel)) {
    require(*taps > 0 && *taps < (std::int64_t(1) << 30), "taps: out of range");
    return {nullptr, *taps, start, as_mode(mode)};
  }
  const auto& weights = std::get<Weights>(kernel);
  require(weights.ndim() == 1 && weights.size() > 0, "weights: expected one axis, and at least one");
  return {weights.data(), weights.size(), start, as_mode(mode)};
}

bool run_separable(ndimage::Separable& problem, const py::array& input, py::array& out, const Planes& planes,
                   double cval, double limit, bool accumulate, int n_threads) {
  problem.input_element = element(input);
  problem.out_element = element(out);
  if (out.size() == 0) return true;
  problem.input = input.data();
  problem.out = out.mutable_data();
  problem.planes = planes.planes;
  problem.height = planes.height;
  problem.width = planes.width;
  problem.constant = cval;
  problem.limit = limit;
  problem.accumulate = accumulate;
  problem.n_threads = n_threads;
  const Unlocked unlocked;
  return ndimage::separable(problem);
}

bool correlate_axis(const py::array& input, py::array out, int axis, const Kernel& kernel, std::int64_t start,
                    int mode, double cval, double limit, bool accumulate, int n_threads) {
  ndimage::Separable problem{};
  const Planes along = planes_along(input, out, axis, false);
  const bool rows = axis + 1 == input.ndim();
  (rows ? problem.horizontal : problem.vertical) = line_kernel(kernel, start, mode);
  return run_separable(problem, input, out, rows ? as_rows(along) : along, cval, limit, accumulate,
                       n_threads);
}

bool correlate_pair(const py::array& input, py::array out, const Kernel& vertical, std::int64_t start_y,
                    int mode_y, const Kernel& horizontal, std::int64_t start_x, int mode_x,
                    bool horizontal_first, double cval, double limit, bool accumulate, int n_threads) {
  ndimage::Separable problem{};
  const Planes planes = planes_along(input, out, static_cast<int>(input.ndim()) - 2, true);
  problem.vertical = line_kernel(vertical, start_y, mode_y);
  problem.horizontal = line_kernel(horizontal, start_x, mode_x);
  problem.horizontal_first = horizontal_first;
  return run_separable(problem, input, out, planes, cval, limit, accumulate, n_threads);
}

bool median(const py::array& input, py::array out, const Shape& window, const Shape& start, int mode,
            const py::array& constant, int n_threads) {
  ndimage::Median problem{};
  problem.element = element(input);
  require(element(out) == problem.element && element(constant) == problem.element && constant.size() == 1,
          "out, constant: expected input's dtype");
  problem.shape = shape_of(input);
  require(input.ndim() >= 1 && shape_of(out) == problem.shape && window.size() == problem.shape.size() &&
              start.size() == problem.shape.size(),
          "expected arrays of one shape, with at least 1 axis");
  std::int64_t elements = 1;
  for (std::size_t axis = 0; axis < window.size(); ++axis) {
    require(window[axis] > 0 && window[axis] <= ndimage::kMostInWindow, "window: out of range");
    require(start[axis] > -window[axis] && start[axis] <= 0, "start: out of range");
    elements = std::min(elements * window[axis], ndimage::kMostInWindow + 1);
  }
  require(elements % 2 == 1 && elements >= 3 && elements <= ndimage::kMostInWindow,
          "window: expected an odd number of elements, 3 to 125");
  if (out.size() == 0) return true;
  problem.input = input.data();
  problem.out = out.mutable_data();
  problem.window = window;
  problem.start = start;
  problem.mode = as_mode(mode);
  problem.constant = constant.data();
  problem.n_threads = n_threads;
  const Unlocked unlocked;
  return ndimage::median(problem);
}

using Tables = std::vector<py::array_t<double, py::array::c_style>>;

// One table for each axis, `parts` numbers for each of its indices.
ndimage::Factors factors_of(const Tables& tables, const Shape& shape, std::int64_t parts) {
  require(!shape.empty() && tables.size() == shape.size(), "tables: expected one for each axis");
  ndimage::Factors factors;
  factors.shape = shape;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    require(tables[axis].size() == parts * shape[axis], "tables: expected one factor for each index");
    factors.tables.push_back(tables[axis].data());
  }
  return factors;
}

void fourier_scale(const py::array& input, py::array out, const Tables& tables, int n_threads) {
  const Element type = element(input);
  require(type == element(out) && is_float(type), "expected floats of one dtype");
  const Shape shape = shape_of(input);
  require(shape == shape_of(out), "out: expected input's shape");
  const auto factors = factors_of(tables, shape, 1);
  if (out.size() == 0) return;
  const void* from = input.data();
  void* to = out.mutable_data();
  const Unlocked unlocked;
  ndimage::fourier_scale(from, to, type, factors, n_threads);
}

void fourier_rotate(const py::array& input, py::array out, const Tables& tables, bool real_input,
                    int n_threads) {
  // Complex numbers are seen as pairs: a last axis of 2.
  const Element type = element(input), out_type = element(out);
  require(is_float(type) && is_float(out_type), "expected floats");
  Shape shape = shape_of(out);
  require(!shape.empty() && shape.back() == 2, "out: expected pairs");
  if (!real_input) require(shape_of(input) == shape, "out: expected input's shape");
  shape.pop_back();
  if (real_input) require(shape_of(input) == shape, "out: expected input's shape");
  const auto factors = factors_of(tables, shape, 2);
  if (out.size() == 0) return;
  const void* from = input.data();
  void* to = out.mutable_data();
  const Unlocked unlocked;
  ndimage::fourier_rotate(from, type, real_input, to, out_type, factors, n_threads);
}

}  // namespace

void bind_ndimage(py::module_& m) {
  m.def("ndimage_correlate", &correlate, py::arg("input").noconvert(), py::arg("weights").noconvert(),
        py::arg("out").noconvert(), py::arg("start"), py::arg("mode"), py::arg("cval"), py::arg("arithmetic"),
        py::arg("n_threads") = 0,
        "out[i] = sum_k weights[k] * extended(input)[i + start + k]. mode: 0 nearest, 1 wrap, 2 reflect, 3 "
        "mirror, "
        "4 constant. arithmetic: 0 exact, 1 fused, 2 modular (weights: uint64, else float64).");
  m.def("ndimage_correlate_axis", &correlate_axis, py::arg("input").noconvert(), py::arg("out").noconvert(),
        py::arg("axis"), py::arg("kernel").noconvert(), py::arg("start"), py::arg("mode"), py::arg("cval"),
        py::arg("limit"), py::arg("accumulate"), py::arg("n_threads") = 0,
        "Correlation along one axis; modes as above. kernel: weights, or a number of elements to take the "
        "mean of. "
        "False, and out unspecified, if an element's magnitude is beyond a finite limit. accumulate: added "
        "to out.");
  m.def("ndimage_correlate_pair", &correlate_pair, py::arg("input").noconvert(), py::arg("out").noconvert(),
        py::arg("vertical").noconvert(), py::arg("start_y"), py::arg("mode_y"),
        py::arg("horizontal").noconvert(), py::arg("start_x"), py::arg("mode_x"), py::arg("horizontal_first"),
        py::arg("cval"), py::arg("limit"), py::arg("accumulate"), py::arg("n_threads") = 0,
        "Correlation along the last two axes, what the first gives rounded to out's dtype.");
  m.def("ndimage_median", &median, py::arg("input").noconvert(), py::arg("out").noconvert(),
        py::arg("window"), py::arg("start"), py::arg("mode"), py::arg("constant").noconvert(),
        py::arg("n_threads") = 0,
        "Medians of an odd number of elements, 3 to 125; False, and out unspecified, where there is a NaN.");
  m.def("ndimage_fourier_scale", &fourier_scale, py::arg("input").noconvert(), py::arg("out").noconvert(),
        py::arg("tables").noconvert(), py::arg("n_threads") = 0,
        "out = input times one factor per index of each axis.");
  m.def("ndimage_fourier_rotate", &fourier_rotate, py::arg("input").noconvert(), py::arg("out").noconvert(),
        py::arg("tables").noconvert(), py::arg("real_input"), py::arg("n_threads") = 0,
        "The same with complex factors; complex arrays are passed as pairs of floats.");
}

}  // namespace fastdeblur
