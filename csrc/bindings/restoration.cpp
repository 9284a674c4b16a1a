#include "bindings/restoration.h"
#include "bindings/gil.h"

#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "bindings/restoration_arrays.h"
#include "restoration/db2_detail.h"
#include "restoration/deconvolve.h"
#include "restoration/total_variation.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

template <class T>
void bind_denoise_tv(py::module_& m) {
  m.def(
      "restoration_denoise_tv",
      [](const RestorationArray<T>& image, RestorationArray<T> out, double weight, double eps,
         std::int64_t iterations, int n_threads) {
        require(image.ndim() == 2 || image.ndim() == 3, "image: expected 2 or 3 axes");
        const auto [slabs, rows, n] = axes_of(image, "image: expected at least one pixel");
        require(same_shape(image, out), "out: expected the image's shape");
        require(iterations >= 2, "iterations: expected at least 2");
        const restoration::TvShape shape{slabs, rows, n, image.ndim() == 3};
        const restoration::TvOptions options{weight, eps, iterations};
        const T* from = image.data();
        T* to = out.mutable_data();
        const Interruptible interruptible;
        return restoration::denoise_tv(from, shape, options, to, n_threads);
      },
      py::arg("image").noconvert(), py::arg("out").noconvert(), py::arg("weight"), py::arg("eps"),
      py::arg("iterations"), py::arg("n_threads"),
      "Denoise a contiguous image into out; False, and nothing written, if its total variation is not "
      "finite.");
}

template <class T>
restoration::Kernel<T> kernel_of(const RestorationArray<T>& psf, const py::array& image) {
  require(psf.ndim() == image.ndim(), "psf: expected as many axes as the image");
  return {psf.data(), axes_of(psf, "psf: expected 1 to 3 axes and at least one pixel")};
}

template <class T>
void bind_wiener(py::module_& m) {
  m.def(
      "restoration_wiener",
      [](const RestorationArray<T>& image, const RestorationArray<T>& psf,
         const std::optional<RestorationArray<T>>& power, double balance, bool clip, RestorationArray<T> out,
         int n_threads) {
        const auto shape = axes_of(image, "image: expected 1 to 3 axes and at least one pixel");
        require(same_shape(image, out), "out: expected the image's shape");
        require(!power || power->size() == shape[0] * shape[1] * (shape[2] / 2 + 1),
                "power: expected the half spectrum's shape");
        const restoration::WienerCall<T> call{
            image.data(), shape, kernel_of(psf, image), power ? power->data() : nullptr, balance, clip};
        T* to = out.mutable_data();
        const Interruptible interruptible;
        return restoration::wiener(call, to, n_threads);
      },
      py::arg("image").noconvert(), py::arg("psf").noconvert(), py::arg("power").noconvert(),
      py::arg("balance"), py::arg("clip"), py::arg("out").noconvert(), py::arg("n_threads"),
      "Wiener filter with periodic borders and |R|^2 = power (None: the Laplacian's) into out; False where "
      "the "
      "answer would hang on rounding or is not finite.");
}

template <class T>
void bind_richardson_lucy(py::module_& m) {
  m.def(
      "restoration_richardson_lucy",
      [](const RestorationArray<T>& image, const RestorationArray<T>& psf, const std::vector<bool>& shifted,
         const std::vector<std::int64_t>& grid, std::int64_t iterations, std::optional<double> filter_epsilon,
         bool clip, RestorationArray<T> out, int n_threads) {
        const auto shape = axes_of(image, "image: expected 1 to 3 axes and at least one pixel");
        require(same_shape(image, out), "out: expected the image's shape");
        require(iterations >= 1, "iterations: expected at least 1");
        require(static_cast<py::ssize_t>(grid.size()) == image.ndim(), "grid: expected one length per axis");
        for (std::size_t a = 0; a < grid.size(); ++a)
          require(grid[a] >= image.shape(static_cast<py::ssize_t>(a)),
                  "grid: expected at least the image's shape");
        const std::array<std::int64_t, 3> full{grid.size() > 1 ? grid.front() : 1,
                                               grid.size() > 2 ? grid[1] : 1, grid.back()};
        restoration::RichardsonLucyCall<T> call{};
        call.image = image.data();
        call.shape = shape;
        call.grid = full;
        call.psf = kernel_of(psf, image);
        require(static_cast<py::ssize_t>(shifted.size()) == image.ndim(),
                "shifted: expected one value per axis");
        call.shifted = {shifted.size() > 1 && shifted.front(), shifted.size() > 2 && shifted[1],
                        shifted.back()};
        call.iterations = iterations;
        call.limited = filter_epsilon.has_value();
        call.filter_epsilon = filter_epsilon.value_or(0);
        call.clip = clip;
        T* to = out.mutable_data();
        const Interruptible interruptible;
        return restoration::richardson_lucy(call, to, n_threads);
      },
      py::arg("image").noconvert(), py::arg("psf").noconvert(), py::arg("shifted"), py::arg("grid"),
      py::arg("iterations"), py::arg("filter_epsilon"), py::arg("clip"), py::arg("out").noconvert(),
      py::arg("n_threads"),
      "Richardson-Lucy from 0.5 with zeros outside the frame into out; False where the answer is not "
      "finite.");
}

template <class T>
void bind_db2_detail(py::module_& m) {
  m.def(
      "restoration_db2_detail",
      [](const RestorationArray<T>& in, py::ssize_t axis, RestorationArray<T> out, int n_threads) {
        require(axis >= 0 && axis < in.ndim() && in.size() > 0, "axis: expected one of a non-empty array's");
        require(in.ndim() == out.ndim(), "out: expected as many axes as the array");
        std::int64_t outer = 1, inner = 1;
        for (py::ssize_t a = 0; a < in.ndim(); ++a) {
          const std::int64_t wanted = a == axis ? restoration::db2_length(in.shape(a)) : in.shape(a);
          require(out.shape(a) == wanted, "out: expected (n + 3) // 2 along the axis");
          if (a < axis) outer *= in.shape(a);
          if (a > axis) inner *= in.shape(a);
        }
        const std::int64_t n = in.shape(axis);
        const T* from = in.data();
        T* to = out.mutable_data();
        const Interruptible interruptible;
        restoration::db2_detail(from, outer, n, inner, to, n_threads);
      },
      py::arg("array").noconvert(), py::arg("axis"), py::arg("out").noconvert(), py::arg("n_threads"),
      "High-pass half of a db2 wavelet transform along one axis of a contiguous array, into out.");
}

}  // namespace

void bind_restoration(py::module_& m) {
  bind_wiener<float>(m);
  bind_wiener<double>(m);
  bind_richardson_lucy<float>(m);
  bind_richardson_lucy<double>(m);
  bind_denoise_tv<float>(m);
  bind_denoise_tv<double>(m);
  bind_db2_detail<float>(m);
  bind_db2_detail<double>(m);
  bind_restoration_gibbs(m);
}

}  // namespace fastdeblur
