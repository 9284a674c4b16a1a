#include "bindings/restoration.h"

#include "bindings/restoration_arrays.h"
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
        const py::gil_scoped_release nogil;
        return restoration::denoise_tv(from, shape, options, to, n_threads);
      },
      py::arg("image").noconvert(), py::arg("out").noconvert(), py::arg("weight"), py::arg("eps"),
      py::arg("iterations"), py::arg("n_threads"),
      "Denoise a contiguous image into out; False, and nothing written, if its total variation is not finite.");
}

}  // namespace

void bind_restoration(py::module_& m) {
  bind_denoise_tv<float>(m);
  bind_denoise_tv<double>(m);
}

}  // namespace fastdeblur
