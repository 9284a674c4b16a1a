// fastdeblur._cuda: the deconvolver on CUDA devices. Loads on every machine, with or without a driver.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "bindings/cuda_arrays.h"
#include "bindings/cuda_nn.h"
#include "bindings/cuda_psf.h"
#include "bindings/gil.h"
#include "bindings/problem.h"
#include "cuda/cufft_library.h"
#include "cuda/deconvolver.h"
#include "cuda/device.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

// Where packages of NVIDIA's put cuFFT, in every folder that modules are looked for in.
void look_where_packages_are() {
#if defined(_WIN32)
  constexpr const char* below[] = {"nvidia/cu13/bin/x86_64", "nvidia/cufft/bin"};
#else
  constexpr const char* below[] = {"nvidia/cu13/lib", "nvidia/cufft/lib"};
#endif
  std::vector<std::string> folders;
  for (const py::handle entry : py::module_::import("sys").attr("path")) {
    std::string text;
    try {
      if (py::isinstance<py::str>(entry)) text = entry.cast<std::string>();
    } catch (const std::exception&) {  // bytes that are no text: no folder of a package's
    }
    if (text.empty()) continue;
    for (const char* name : below) {
      std::filesystem::path folder = std::filesystem::path(text) / name;
      std::error_code ignored;
      if (std::filesystem::is_directory(folder, ignored)) folders.push_back(folder.make_preferred().string());
    }
  }
  cuda::add_library_folders(folders);
}

std::string why_not() {
  try {
    look_where_packages_are();
    const Unlocked unlocked;
    return cuda::why_not();
  } catch (const std::exception& error) {
    return std::string("the CUDA devices cannot be used: ") + error.what();
  }
}

std::string cufft_version() {
  std::string reason;
  const cuda::CufftLibrary* library = cuda::cufft_library(&reason);
  return library ? library->version() : reason;
}

py::list devices() {
  look_where_packages_are();
  std::vector<cuda::DeviceInfo> found;
  std::string cufft;
  {
    const Unlocked unlocked;  // waking a device takes long, and so does loading cuFFT
    found = cuda::devices();
    if (!found.empty()) cufft = cufft_version();
  }
  py::list result;
  for (const cuda::DeviceInfo& d : found) {
    py::dict info;
    info["index"] = d.index;
    info["name"] = d.name;
    info["compute_capability"] = py::make_tuple(d.major, d.minor);
    info["total"] = d.total;
    info["free"] = d.free;
    info["driver"] = d.driver;
    info["runtime"] = d.runtime;
    info["cufft"] = cufft;
    result.append(info);
  }
  return result;
}

// Python's functions as an allocator; they are called with the GIL, and outlive the interpreter rather than
// be destroyed without it.
void set_allocator(const py::object& allocate, const py::object& release) {
  if (allocate.is_none() != release.is_none())
    throw py::value_error("allocate, release: expected two functions, or None twice");
  if (allocate.is_none()) return cuda::set_allocator(nullptr);
  const auto keep = [](const py::object& f) {
    return std::shared_ptr<py::object>(new py::object(f), [](py::object* kept) {
      if (!Py_IsInitialized()) return;
      const Locked locked;
      delete kept;
    });
  };
  const auto number = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  auto allocator = std::make_shared<cuda::Allocator>();
  allocator->allocate = [f = keep(allocate), number](std::size_t bytes, int device, cuda::Stream stream) {
    const Locked locked;
    return in_python(
        [&] { return reinterpret_cast<void*>((*f)(bytes, device, number(stream)).cast<std::uintptr_t>()); });
  };
  allocator->release = [f = keep(release), number](void* memory, int device, cuda::Stream stream) {
    if (!Py_IsInitialized()) return;  // its pool goes with it
    const Locked locked;
    try {
      in_python([&] { (*f)(number(memory), device, number(stream)); });
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("fastdeblur: releasing device memory");
    }
  };
  cuda::set_allocator(std::move(allocator));
}

template <class T>
class BoundCudaDeconvolver {
 public:
  BoundCudaDeconvolver(int device, Problem<T> problem) {
    look_where_packages_are();
    const Unlocked unlocked;
    implementation_ = cuda::make_deconvolver<T>(device, std::move(problem));
  }
  BoundCudaDeconvolver(const BoundCudaDeconvolver&) = delete;
  BoundCudaDeconvolver& operator=(const BoundCudaDeconvolver&) = delete;
  ~BoundCudaDeconvolver() {  // which may wait for the device
    if (!Py_IsInitialized()) return;
    const Unlocked unlocked;
    implementation_.reset();
  }

  // Returns None, or (plane, what) for an image that cannot be used.
  py::object wiener(const std::vector<py::tuple>& planes, double balance, const std::string& reg,
                    const py::object& power, std::uintptr_t stream) {
    const auto views = located_planes<T>(planes);
    const auto options = wiener_options<T>(balance, reg, power);
    Poll poll;
    return run([&] { implementation_->wiener(views, options, as_stream(stream), std::ref(poll)); });
  }

  // on_iteration(plane, iteration, change, estimate) -> bool, estimate(located array) fills it; or None.
  py::object richardson_lucy(const std::vector<py::tuple>& planes, int64_t iterations,
                             const std::string& acceleration, double background, double sigma, bool measured,
                             const py::object& on_iteration, std::uintptr_t stream) {
    const auto views = located_planes<T>(planes);
    RichardsonLucyOptions options;
    options.iterations = iterations;
    options.acceleration = as_acceleration(acceleration);
    options.background = background;
    options.sigma = sigma;
    Poll poll;
    cuda::DeviceProgress<T> progress;
    if (!on_iteration.is_none()) {
      progress = [&](int64_t plane, int64_t done, double change,
                     const std::function<void(MutableImageView<T>, bool)>& estimate) {
        const Locked locked;
        if (PyErr_CheckSignals() != 0) throw py::error_already_set();
        // The estimate lives as long as this call; a callback may keep the function for longer.
        using Estimate = std::function<void(MutableImageView<T>, bool)>;
        const auto live = std::make_shared<const Estimate*>(&estimate);
        struct Expire {
          std::shared_ptr<const Estimate*> live;
          ~Expire() { *live = nullptr; }
        } expire{live};
        const py::cpp_function copy([live](const py::tuple& out) {
          if (!*live) throw std::runtime_error("estimate: its iteration is over");
          const Located located(out);
          const MutableImageView<T> target = located.as_output<T>();
          const Unlocked unlocked;
          (**live)(target, located.on_device);
        });
        return in_python([&] { return on_iteration(plane, done, change, copy).template cast<bool>(); });
      };
    }
    return run([&] {
      implementation_->richardson_lucy(views, options, measured, progress, as_stream(stream), std::ref(poll));
    });
  }

 private:
  static void* as_stream(std::uintptr_t stream) { return reinterpret_cast<void*>(stream); }

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

  std::unique_ptr<cuda::Deconvolver<T>> implementation_;
};

template <class T>
void bind_precision(py::module_& m, const char* suffix) {
  using Bound = BoundCudaDeconvolver<T>;
  py::class_<Bound>(m, (std::string("Deconvolver") + suffix).c_str())
      .def(py::init([](int device, const py::array_t<T, py::array::c_style>& psfs, const Maps& data_maps,
                       const Maps& init_maps, bool keep, const std::vector<int64_t>& frame,
                       const std::vector<int64_t>& grid, bool extended, bool dark_outside) {
             const std::vector<int64_t> psf_shape(psfs.shape() + 1, psfs.shape() + psfs.ndim());
             Problem<T> problem =
                 make_problem<T>(frame, grid, psf_shape, psfs.shape(0), extended, dark_outside, keep, 0);
             problem.psfs.assign(psfs.data(), psfs.data() + psfs.size());
             problem.data_maps = axis_maps(data_maps);
             problem.init_maps = axis_maps(init_maps);
             return std::make_unique<Bound>(device, std::move(problem));
           }),
           py::kw_only(), py::arg("device"), py::arg("psfs"), py::arg("data_maps"), py::arg("init_maps"),
           py::arg("keep"), py::arg("frame"), py::arg("grid"), py::arg("extended"), py::arg("dark_outside"))
      .def("wiener", &Bound::wiener, py::arg("planes"), py::arg("balance"), py::arg("reg"), py::arg("power"),
           py::arg("stream"))
      .def("richardson_lucy", &Bound::richardson_lucy, py::arg("planes"), py::arg("num_iter"),
           py::arg("acceleration"), py::arg("background"), py::arg("sigma"), py::arg("measured"),
           py::arg("on_iteration"), py::arg("stream"));
  m.def((std::string("bytes") + suffix).c_str(),
        [](const std::vector<int64_t>& frame, const std::vector<int64_t>& grid,
           const std::vector<int64_t>& psf_shape, int64_t psf_count, bool extended, bool dark_outside,
           bool keep, bool richardson_lucy, const std::string& acceleration, bool weights, bool many_planes) {
          const auto problem =
              make_problem<T>(frame, grid, psf_shape, psf_count, extended, dark_outside, keep, 0);
          return cuda::deconvolver_bytes<T>(problem, richardson_lucy, as_acceleration(acceleration), weights,
                                            many_planes);
        },
        py::kw_only(), py::arg("frame"), py::arg("grid"), py::arg("psf_shape"), py::arg("psf_count"),
        py::arg("extended"), py::arg("dark_outside"), py::arg("keep"), py::arg("richardson_lucy"),
        py::arg("acceleration"), py::arg("weights"), py::arg("many_planes"));
}

// OutOfDeviceMemory(MemoryError) with the bytes in its attributes `asked` and `free`.
void bind_out_of_memory(py::module_& m) {
  static PyObject* type = nullptr;
  type = PyErr_NewExceptionWithDoc("fastdeblur._cuda.OutOfDeviceMemory",
                                   "Device memory could not be had: .asked and .free, in bytes.",
                                   PyExc_MemoryError, nullptr);
  if (!type) throw py::error_already_set();
  m.attr("OutOfDeviceMemory") = py::handle(type);
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const cuda::OutOfDeviceMemory& error) {
      py::object value = py::reinterpret_borrow<py::object>(type)(error.what());
      value.attr("asked") = error.asked;
      value.attr("free") = error.free;
      PyErr_SetObject(type, value.ptr());
    }
  });
}

}  // namespace
}  // namespace fastdeblur

PYBIND11_MODULE(_cuda, m) {
  using namespace fastdeblur;
  m.doc() = "The CUDA core of fastdeblur.";
  m.attr("architectures") = FASTDEBLUR_CUDA_ARCHITECTURES;
  look_where_packages_are();  // for networks and PSFs, which do not look again for what was installed since
  bind_out_of_memory(m);
  m.def("why_not", &why_not, "Empty if a device can compute, else one sentence.");
  m.def("device_count", &cuda::device_count, "How many CUDA devices there are.");
  m.def(
      "synchronize",
      [](int device, std::uintptr_t stream) { cuda::synchronize(device, reinterpret_cast<void*>(stream)); },
      py::arg("device"), py::arg("stream"), py::call_guard<Unlocked>(),
      "Wait for what a stream has been given.");
  m.def("devices", &devices,
        "What CUDA devices there are, and what is free on them, which wakes each of them.");
  m.def("set_allocator", &set_allocator, py::arg("allocate"), py::arg("release"),
        "Take device memory from another pool; None, None: from our own.");
  m.def("release_pool", &cuda::release_pool, py::arg("device"), py::call_guard<Unlocked>(),
        "Give back the memory that our own pool holds and nobody uses.");
  bind_precision<float>(m, "F32");
  bind_precision<double>(m, "F64");
  bind_cuda_psf(m);
  bind_cuda_nn(m);
}
