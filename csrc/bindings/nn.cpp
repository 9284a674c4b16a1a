// Networks: checks what Python hands over, releases the GIL, runs.
#include "bindings/nn.h"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <chrono>

#include "bindings/arrays.h"
#include "nn/network.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

using Floats = py::array_t<float, py::array::c_style>;

nn::Attribute as_attribute(const py::handle& value) {
  if (value.is_none()) return {};
  if (py::isinstance<py::str>(value)) return value.cast<std::string>();
  if (py::isinstance<py::sequence>(value)) return value.cast<std::vector<double>>();
  return value.cast<double>();
}

// (op, inputs, attributes, tensors)
using Node = std::tuple<std::string, std::vector<int64_t>, py::dict, std::map<std::string, Floats>>;

nn::NodeSpec as_node(const Node& given) {
  const auto& [op, inputs, attributes, tensors] = given;
  nn::NodeSpec node{op, inputs, {}, {}};
  for (const auto& [key, value] : attributes) node.attributes[key.cast<std::string>()] = as_attribute(value);
  for (const auto& [name, array] : tensors)
    node.tensors[name] = {{array.shape(), array.shape() + array.ndim()},
                          {array.data(), array.data() + array.size()}};
  return node;
}

class BoundNet {
 public:
  BoundNet(const std::vector<Node>& nodes, int64_t output, int64_t channels, std::array<float, 2> in,
           std::array<float, 2> out, std::array<int64_t, 2> multiple_of)
      : network_([&] {
          nn::NetworkSpec spec;
          for (const Node& node : nodes) spec.nodes.push_back(as_node(node));
          spec.output = output;
          spec.channels = channels;
          spec.scale = in[0];
          spec.offset = in[1];
          spec.out_scale = out[0];
          spec.out_offset = out[1];
          spec.multiple_of = multiple_of;
          return spec;
        }()) {}

  // wiener(node, values, result): views of shape (blocks, lanes, height, width), channel c at [c // lanes, c
  // % lanes].
  void run(const py::array& image, py::array_t<float> out, const py::object& wiener, int threads,
           int64_t max_memory) const {
    require(image.ndim() == 3 && image.dtype().equal(py::dtype::of<float>()),
            "image: expected (channels, h, w), float32");
    require(image.shape(0) == network_.channels(), "image: expected the network's channels");
    require(out.ndim() == 3 && std::equal(out.shape(), out.shape() + 3, image.shape()) &&
                (out.flags() & py::array::c_style),
            "out: expected an array like image, in C order");
    nn::Image view{static_cast<const float*>(image.data()), {}, image.shape(1), image.shape(2), 1, 0};
    for (int a = 0; a < 3; ++a) {
      require(image.strides(a) % static_cast<py::ssize_t>(sizeof(float)) == 0,
              "image: expected aligned numbers");
      view.stride[a] = image.strides(a) / static_cast<py::ssize_t>(sizeof(float));
    }
    float* result = out.mutable_data();
    const auto channels = [&](int64_t node, const nn::Channels& c) {
      const py::gil_scoped_acquire acquire;
      constexpr py::ssize_t size = sizeof(float);
      const py::none nobody;  // a base, so that the array is a view
      const std::vector<py::ssize_t> shape{(c.count + c.lanes - 1) / c.lanes, c.lanes, c.h, c.w};
      const py::array in(py::dtype::of<float>(), shape, {c.block * size, size, c.row * size, c.lanes * size},
                         c.in, nobody);
      const py::array to(py::dtype::of<float>(), shape,
                         {c.out_block * size, size, c.out_row * size, c.lanes * size}, c.out, nobody);
      wiener(node, in, to);
    };
    // Ctrl-C, every 50 ms.
    auto looked = std::chrono::steady_clock::now();
    const auto poll = [&] {
      const auto now = std::chrono::steady_clock::now();
      if (now - looked < std::chrono::milliseconds(50)) return;
      looked = now;
      const py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    };
    const py::gil_scoped_release release;
    network_.run(view, result, threads, max_memory, channels, poll);
  }

  int64_t memory(int64_t h, int64_t w, int threads, int64_t max_memory) const {
    const py::gil_scoped_release release;
    return network_.memory(h, w, threads, max_memory);
  }

 private:
  nn::Network network_;
};

}  // namespace

void bind_nn(py::module_& m) {
  py::class_<BoundNet>(m, "Net")
      .def(py::init<const std::vector<Node>&, int64_t, int64_t, std::array<float, 2>, std::array<float, 2>,
                    std::array<int64_t, 2>>(),
           py::arg("nodes"), py::arg("output"), py::arg("channels"), py::arg("input_scale_offset"),
           py::arg("output_scale_offset"), py::arg("multiple_of"))
      .def("run", &BoundNet::run, py::arg("image").noconvert(), py::arg("out").noconvert(), py::arg("wiener"),
           py::arg("threads"), py::arg("max_memory"))
      .def("memory", &BoundNet::memory, py::arg("height"), py::arg("width"), py::arg("threads"),
           py::arg("max_memory"));
}

}  // namespace fastdeblur
