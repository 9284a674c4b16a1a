#include "bindings/ndimage.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "ndimage/correlate.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

using ndimage::Arithmetic;
using ndimage::Mode;
using Shape = std::vector<std::int64_t>;

// Python has checked and arranged everything; what is left to check here is what would read or write out of
// bounds.
void require(bool holds, const char* what) {
  if (!holds) throw std::invalid_argument(what);
}

Element element(const py::array& array) {
  const char kind = array.dtype().kind();
  const auto size = array.itemsize();
  require(array.dtype().byteorder() != '>' && (array.flags() & py::array::c_style),
          "expected C-contiguous arrays in native byte order");
  if (kind == 'f' && size == 4) return Element::f32;
  if (kind == 'f' && size == 8) return Element::f64;
  const bool with_sign = kind == 'i';
  require(with_sign || kind == 'u' || kind == 'b', "expected real arrays of at most 64 bits");
  switch (size) {
    case 1:
      return with_sign ? Element::i8 : Element::u8;
    case 2:
      return with_sign ? Element::i16 : Element::u16;
    case 4:
      return with_sign ? Element::i32 : Element::u32;
    default:
      return with_sign ? Element::i64 : Element::u64;
  }
}

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
  const auto is_float = [](Element e) { return e == Element::f32 || e == Element::f64; };
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
  py::gil_scoped_release nogil;
  ndimage::correlate(problem);
}

}  // namespace

void bind_ndimage(py::module_& m) {
  m.def("ndimage_correlate", &correlate, py::arg("input").noconvert(), py::arg("weights").noconvert(),
        py::arg("out").noconvert(), py::arg("start"), py::arg("mode"), py::arg("cval"), py::arg("arithmetic"),
        py::arg("n_threads") = 0,
        "out[i] = sum_k weights[k] * extended(input)[i + start + k]. mode: 0 nearest, 1 wrap, 2 reflect, 3 "
        "mirror, "
        "4 constant. arithmetic: 0 exact, 1 fused, 2 modular (weights: uint64, else float64).");
}

}  // namespace fastdeblur
