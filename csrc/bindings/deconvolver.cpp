// Converts to views, releases the GIL, computes.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/deconvolver.h"
#include "bindings/gil.h"
#include "bindings/problem.h"
#include "cpu/deconvolver.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

std::array<std::ptrdiff_t, 3> strides_of(const py::array& array) {
  std::vector<std::ptrdiff_t> strides(array.strides(), array.strides() + array.ndim());
  return as_axes<std::ptrdiff_t>(strides, 0);
}

ImageView view(const py::object& object) {
  if (object.is_none()) return {};
  const py::array array = py::reinterpret_borrow<py::array>(object);
  const char kind = array.dtype().kind();
  const auto size = array.dtype().itemsize();
  Element element;
  if (kind == 'f' && size == 4)
    element = Element::f32;
  else if (kind == 'f' && size == 8)
    element = Element::f64;
  else if ((kind == 'u' || kind == 'b') && size == 1)
    element = Element::u8;
  else if (kind == 'u' && size == 2)
    element = Element::u16;
  else if (kind == 'u' && size == 4)
    element = Element::u32;
  else if (kind == 'u' && size == 8)
    element = Element::u64;
  else if (kind == 'i' && size == 1)
    element = Element::i8;
  else if (kind == 'i' && size == 2)
    element = Element::i16;
  else if (kind == 'i' && size == 4)
    element = Element::i32;
  else if (kind == 'i' && size == 8)
    element = Element::i64;
  else
    throw py::type_error("unsupported dtype");
  return {array.data(), element, strides_of(array)};
}

template <class T>
MutableImageView<T> mutable_view(py::object object) {
  py::array array = py::reinterpret_borrow<py::array>(object);
  return {static_cast<T*>(array.mutable_data()), strides_of(array)};
}

// (image, out, psf, weights or None, init or None)
template <class T>
std::vector<PlaneView<T>> plane_views(const std::vector<py::tuple>& planes) {
  std::vector<PlaneView<T>> views;
  for (const py::tuple& plane : planes)
    views.push_back({view(plane[0]), mutable_view<T>(plane[1]), plane[2].cast<int64_t>(), view(plane[3]),
                     view(plane[4])});
  return views;
}

template <class T>
class BoundDeconvolver {
 public:
  BoundDeconvolver(Problem<T> problem, bool one_axis) {
    const Unlocked unlocked;
    implementation_ = make_deconvolver<T>(std::move(problem), one_axis);
  }

  // Returns None, or (plane, what) for an image that cannot be used.
  py::object wiener(const std::vector<py::tuple>& planes, double balance, const std::string& reg,
                    const py::object& power) {
    const auto views = plane_views<T>(planes);
    const auto options = wiener_options<T>(balance, reg, power);
    Poll poll;
    return run([&] { implementation_->wiener(views, options, std::ref(poll)); });
  }

  // on_iteration(plane, iteration, change, estimate) -> bool, estimate(out) fills an array; or None.
  py::object richardson_lucy(const std::vector<py::tuple>& planes, int64_t iterations,
                             const std::string& acceleration, double background, double sigma, bool measured,
                             const py::object& on_iteration) {
    const auto views = plane_views<T>(planes);
    RichardsonLucyOptions options;
    options.iterations = iterations;
    options.acceleration = as_acceleration(acceleration);
    options.background = background;
    options.sigma = sigma;
    Poll poll;
    Progress<T> progress;
    if (!on_iteration.is_none()) {
      progress = [&](int64_t plane, int64_t done, double change,
                     const std::function<void(MutableImageView<T>)>& estimate) {
        const Locked locked;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        // The estimate lives as long as this call; a callback may keep the function for longer.
        const auto live = std::make_shared<const std::function<void(MutableImageView<T>)>*>(&estimate);
        struct Expire {
          std::shared_ptr<const std::function<void(MutableImageView<T>)>*> live;
          ~Expire() { *live = nullptr; }
        } expire{live};
        const py::cpp_function copy([live](const py::object& out) {
          if (!*live) throw std::runtime_error("estimate: its iteration is over");
          const auto target = mutable_view<T>(out);
          const Unlocked unlocked;
          (**live)(target);
        });
        return in_python([&] { return on_iteration(plane, done, change, copy).template cast<bool>(); });
      };
    } else {
      options.goes_on = [&](int64_t, double) {
        poll();
        return true;
      };
    }
    return run([&] { implementation_->richardson_lucy(views, options, measured, progress, std::ref(poll)); });
  }

 private:
  template <class F>
  py::object run(F f) {
    try {
      const Unlocked unlocked;
      f();
    } catch (const BadImage& bad) {
      return py::make_tuple(bad.plane, static_cast<int>(bad.what));
    }
    return py::none();
  }

  std::unique_ptr<Deconvolver<T>> implementation_;
};

template <class T>
void bind_precision(py::module_& m, const char* suffix) {
  const std::string name = std::string("Deconvolver") + suffix;
  py::class_<BoundDeconvolver<T>>(m, name.c_str())
      .def(py::init([](const std::vector<int64_t>& frame, const std::vector<int64_t>& grid,
                       const py::array_t<T>& psfs, const Maps& data_maps, const Maps& init_maps,
                       bool extended, bool dark_outside, bool keep, int threads) {
             const std::vector<int64_t> psf_shape(psfs.shape() + 1, psfs.shape() + psfs.ndim());
             Problem<T> problem = make_problem<T>(frame, grid, psf_shape, psfs.shape(0), extended,
                                                  dark_outside, keep, threads);
             problem.psfs.assign(psfs.data(), psfs.data() + psfs.size());
             problem.data_maps = axis_maps(data_maps);
             problem.init_maps = axis_maps(init_maps);
             return std::make_unique<BoundDeconvolver<T>>(std::move(problem), frame.size() == 1);
           }),
           py::arg("frame"), py::arg("grid"), py::arg("psfs"), py::arg("data_maps"), py::arg("init_maps"),
           py::arg("extended"), py::arg("dark_outside"), py::arg("keep"), py::arg("threads"))
      .def("wiener", &BoundDeconvolver<T>::wiener, py::arg("planes"), py::arg("balance"), py::arg("reg"),
           py::arg("power"))
      .def("richardson_lucy", &BoundDeconvolver<T>::richardson_lucy, py::arg("planes"), py::arg("iterations"),
           py::arg("acceleration"), py::arg("background"), py::arg("sigma"), py::arg("measured"),
           py::arg("on_iteration"));
  m.def((std::string("bytes") + suffix).c_str(),
        [](const std::vector<int64_t>& frame, const std::vector<int64_t>& grid,
           const std::vector<int64_t>& psf_shape, int64_t psf_count, bool extended, bool dark_outside,
           bool keep, int threads, bool richardson_lucy, const std::string& acceleration, bool weights,
           bool many_planes) {
          const auto problem =
              make_problem<T>(frame, grid, psf_shape, psf_count, extended, dark_outside, keep, threads);
          const Acceleration kind = as_acceleration(acceleration);
          return deconvolver_bytes<T>(problem, frame.size() == 1, richardson_lucy, kind, weights,
                                      many_planes);
        },
        py::arg("frame"), py::arg("grid"), py::arg("psf_shape"), py::arg("psf_count"), py::arg("extended"),
        py::arg("dark_outside"), py::arg("keep"), py::arg("threads"), py::arg("richardson_lucy"),
        py::arg("acceleration"), py::arg("weights"), py::arg("many_planes"));
}

}  // namespace

void bind_deconvolver(py::module_& m) {
  bind_precision<float>(m, "F32");
  bind_precision<double>(m, "F64");
}

}  // namespace fastdeblur
