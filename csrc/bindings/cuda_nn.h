// Bindings of networks on devices.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>

#include "bindings/cuda_arrays.h"
#include "bindings/gil.h"
#include "bindings/nn_spec.h"
#include "cuda/nn/net.h"

namespace fastdeblur {

inline cuda::nn::Format format_named(const std::string& precision) {
  if (precision == "float16") return cuda::nn::Format::half;
  if (precision == "bfloat16") return cuda::nn::Format::bfloat;
  if (precision == "float32") return cuda::nn::Format::single;
  throw pybind11::value_error("precision: expected float16, bfloat16 or float32, got " + precision);
}

class BoundCudaNet {
 public:
  BoundCudaNet(int device, const nn::NetworkSpec& spec, cuda::nn::Format format) {
    const Unlocked unlocked;
    net_ = cuda::nn::make_net(device, spec, format);
  }
  BoundCudaNet(const BoundCudaNet&) = delete;
  BoundCudaNet& operator=(const BoundCudaNet&) = delete;
  ~BoundCudaNet() {  // which may wait for the device
    if (!Py_IsInitialized()) return;
    const Unlocked unlocked;
    net_.reset();
  }

  // wiener(node, address of the values, address of the result, channels, h, w, stream): float32, contiguous,
  // on the device; whether it could. Returns "", "image" (a number is none, or beyond the limit) or
  // "overflow".
  std::string run(const pybind11::tuple& image, const pybind11::tuple& out, int64_t h, int64_t w, float white,
                  float limit, const pybind11::object& wiener, std::uintptr_t stream) {
    const auto located = [](const pybind11::tuple& given) {
      if (given.size() != 4 || pybind11::len(given[2]) != 3)
        throw pybind11::value_error("expected arrays of three axes");
      return Located(given);
    };
    const Located from = located(image), to = located(out);
    const auto filter = [&](int64_t node, const float* in, float* made, int64_t channels, int64_t rows,
                            int64_t columns, cuda::Stream on) {
      const Locked locked;
      const auto number = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
      return in_python([&] {
        return wiener(node, number(in), number(made), channels, rows, columns, number(on)).cast<bool>();
      });
    };
    const auto poll = [] {
      const Locked locked;
      if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    };
    const cuda::nn::Picture picture{from.view, h, w, white, from.on_device};
    const cuda::nn::Result result{to.as_output<float>(), to.on_device};
    const Unlocked unlocked;
    const auto outcome =
        net_->run(picture, result, limit, filter, reinterpret_cast<cuda::Stream>(stream), poll);
    return outcome == cuda::nn::Outcome::good       ? ""
           : outcome == cuda::nn::Outcome::overflow ? "overflow"
                                                    : "image";
  }

  double memory(int64_t h, int64_t w) const { return net_->memory(h, w); }
  int64_t kept() {
    const Unlocked unlocked;
    return net_->kept();
  }
  void release() {
    const Unlocked unlocked;
    net_->release();
  }

 private:
  std::unique_ptr<cuda::nn::Net> net_;
};

inline void bind_cuda_nn(pybind11::module_& m) {
  namespace py = pybind11;
  py::class_<BoundCudaNet>(m, "Net")
      .def(py::init([](const std::vector<PyNode>& nodes, int64_t output, int64_t channels,
                       const std::array<float, 2>& in, const std::array<float, 2>& out,
                       const std::array<int64_t, 2>& multiple_of, int device, const std::string& precision) {
             const cuda::nn::Format format = format_named(precision);
             return std::make_unique<BoundCudaNet>(
                 device, as_network(nodes, output, channels, in, out, multiple_of), format);
           }),
           py::kw_only(), py::arg("nodes"), py::arg("output"), py::arg("channels"),
           py::arg("input_scale_offset"), py::arg("output_scale_offset"), py::arg("multiple_of"),
           py::arg("device"), py::arg("precision"))
      .def("run", &BoundCudaNet::run, py::arg("image"), py::arg("out"), py::arg("height"), py::arg("width"),
           py::arg("white"), py::arg("limit"), py::arg("wiener"), py::arg("stream"))
      .def("memory", &BoundCudaNet::memory, py::arg("height"), py::arg("width"),
           "Device bytes of a run, arrays in host memory included.")
      .def("kept", &BoundCudaNet::kept, "Device bytes that the last run has left to the next.")
      .def("release", &BoundCudaNet::release, "Give them back.");
}

}  // namespace fastdeblur
