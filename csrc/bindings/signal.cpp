#include "bindings/signal.h"
#include "bindings/gil.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <stdexcept>
#include <vector>

#include "bindings/arrays.h"
#include "signal/fft_convolve.h"
#include "signal/local_wiener.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

using signal::Convolution;
using signal::ConvolutionPlane;
using signal::OverlapSave;
using Axes = std::vector<int64_t>;

// Planes of an array whose last `spatial` axes are (c, m, x); the axis before them, if there is one, counts
// planes.
struct Planes {
  signal::Shape shape{1, 1, 1};
  std::array<std::ptrdiff_t, 3> stride{0, 0, 0};
  int64_t count = 1;
  std::ptrdiff_t step = 0;

  Planes(const py::array& array, std::size_t spatial) {
    const std::size_t ndim = static_cast<std::size_t>(array.ndim());
    if (spatial < 1 || spatial > 3 || (ndim != spatial && ndim != spatial + 1))
      throw std::invalid_argument("expected 1 to 3 axes, and at most one of planes before them");
    const std::size_t lead = ndim - spatial;
    if (lead) {
      count = array.shape(0);
      step = array.strides(0);
    }
    static constexpr int place[4][3] = {{}, {2, 0, 0}, {0, 2, 0}, {0, 1, 2}};
    for (std::size_t i = 0; i < spatial; ++i) {
      const std::size_t a = static_cast<std::size_t>(place[spatial][i]);
      shape[a] = array.shape(static_cast<py::ssize_t>(lead + i));
      stride[a] = array.strides(static_cast<py::ssize_t>(lead + i));
    }
    if (array.size() == 0) throw std::invalid_argument("expected at least one element");
  }
};

signal::Shape as_shape(const Axes& given, int64_t missing) {
  switch (given.size()) {
    case 1:
      return {missing, missing, given[0]};
    case 2:
      return {given[0], missing, given[1]};
    default:
      return {given[0], given[1], given[2]};
  }
}

void require_part(int64_t image, int64_t kernel, int64_t start, int64_t count) {
  if (start < 0 || count < 1 || start + count > image + kernel - 1)
    throw std::invalid_argument("start, out: expected a part of the full convolution");
}

template <class T>
bool fft_convolve_as(const py::array& image, const py::array& kernel, py::array& out, const Axes& start,
                     const Axes& grid) {
  const std::size_t spatial = start.size();
  const Planes from(image, spatial), by(kernel, spatial), to(out, spatial);
  if (grid.size() != spatial || from.count != to.count || (by.count != 1 && by.count != to.count))
    throw std::invalid_argument("expected as many images and kernels as results, and axes of one number");
  if (to.stride[2] != static_cast<std::ptrdiff_t>(sizeof(T)))
    throw std::invalid_argument("out: expected contiguous rows");
  Convolution c;
  c.image = from.shape;
  c.kernel = by.shape;
  c.out = to.shape;
  c.start = as_shape(start, 0);
  c.grid = as_shape(grid, 1);
  for (std::size_t a = 0; a < 3; ++a) {
    require_part(c.image[a], c.kernel[a], c.start[a], c.out[a]);
    if (c.grid[a] < 1) throw std::invalid_argument("grid: expected lengths of at least 1");
  }
  const Element element = element_of(image), kernel_element = element_of(kernel);
  std::vector<ConvolutionPlane<T>> planes;
  std::vector<ImageView> kernels;
  for (int64_t p = 0; p < to.count; ++p)
    planes.push_back(
        {{static_cast<const char*>(image.data()) + p * from.step, element, from.stride},
         {reinterpret_cast<T*>(static_cast<char*>(out.mutable_data()) + p * to.step), to.stride}});
  for (int64_t p = 0; p < by.count; ++p)
    kernels.push_back({static_cast<const char*>(kernel.data()) + p * by.step, kernel_element, by.stride});
  const Unlocked unlocked;
  return signal::fft_convolve<T>(c, planes, kernels);
}

template <class T>
bool overlap_save_as(const py::array& image, const py::array& kernel, py::array& out, int64_t start,
                     int64_t segment) {
  const Planes from(image, 1), by(kernel, 1), to(out, 1);
  if (from.count != to.count || by.count != 1)
    throw std::invalid_argument("expected as many results as signals, and one kernel");
  if (to.stride[2] != static_cast<std::ptrdiff_t>(sizeof(T)))
    throw std::invalid_argument("out: expected contiguous rows");
  require_part(from.shape[2], by.shape[2], start, to.shape[2]);
  if (segment < by.shape[2]) throw std::invalid_argument("segment: shorter than the kernel");
  const OverlapSave c{from.count, from.shape[2], by.shape[2], to.shape[2], start, segment, 0};
  const ConvolutionPlane<T> plane{{image.data(), element_of(image), {from.step, 0, from.stride[2]}},
                                  {static_cast<T*>(out.mutable_data()), {to.step, 0, to.stride[2]}}};
  const ImageView view{kernel.data(), element_of(kernel), by.stride};
  const Unlocked unlocked;
  return signal::overlap_save<T>(c, plane, view);
}

bool single(const py::array& out) {
  switch (element_of(out)) {
    case Element::f32:
      return true;
    case Element::f64:
      return false;
    default:
      throw py::type_error("out: expected float32 or float64");
  }
}

using Doubles = py::array_t<double, py::array::c_style>;

bool local_wiener(const py::array& image, Doubles sums, Doubles squares, double window,
                  std::optional<double> noise) {
  if (!(image.flags() & py::array::c_style) || image.size() != sums.size() || sums.size() != squares.size() ||
      sums.size() == 0)
    throw std::invalid_argument("expected contiguous arrays of one size, not empty");
  const signal::LocalWiener problem{image.data(),           element_of(image), sums.mutable_data(),
                                    squares.mutable_data(), sums.size(),       window};
  const Unlocked unlocked;
  const signal::Variances found = signal::local_variances(problem);
  if (!found.regular) return false;
  signal::local_wiener(problem, noise.value_or(found.mean));
  return true;
}

}  // namespace

void bind_signal(py::module_& m) {
  m.def(
      "signal_fft_convolve",
      [](const py::array& image, const py::array& kernel, py::array out, const Axes& start,
         const Axes& grid) {
        return single(out) ? fft_convolve_as<float>(image, kernel, out, start, grid)
                           : fft_convolve_as<double>(image, kernel, out, start, grid);
      },
      py::arg("image"), py::arg("kernel"), py::arg("out").noconvert(), py::arg("start"), py::arg("grid"),
      "Fill out with the part of the full convolution that begins at start, on an FFT grid; False (and out "
      "undefined) if a value is not finite or so large that the transforms could overflow.");
  m.def(
      "signal_overlap_save",
      [](const py::array& image, const py::array& kernel, py::array out, int64_t start, int64_t segment) {
        return single(out) ? overlap_save_as<float>(image, kernel, out, start, segment)
                           : overlap_save_as<double>(image, kernel, out, start, segment);
      },
      py::arg("image"), py::arg("kernel"), py::arg("out").noconvert(), py::arg("start"), py::arg("segment"),
      "The same along the last axis, in segments of this length.");
  m.def(
      "signal_wiener", &local_wiener, py::arg("image"), py::arg("sums").noconvert(),
      py::arg("squares").noconvert(), py::arg("window"), py::arg("noise"),
      "From the sums and the sums of squares of each pixel's window: the filtered image in sums. False if a "
      "variance is 0 or not finite: then sums holds the means, squares the variances, and nothing is "
      "filtered.");
}

}  // namespace fastdeblur
