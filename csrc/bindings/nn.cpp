// Networks: checks what Python hands over, releases the GIL, runs.
#include "bindings/nn.h"
#include "bindings/gil.h"

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <functional>

#include "bindings/arrays.h"
#include "bindings/nn_spec.h"
#include "nn/network.h"

namespace py = pybind11;

namespace fastdeblur {
namespace {

class BoundNet {
 public:
  BoundNet(const std::vector<PyNode>& nodes, int64_t output, int64_t channels, std::array<float, 2> in,
           std::array<float, 2> out, std::array<int64_t, 2> multiple_of)
      : network_(as_network(nodes, output, channels, in, out, multiple_of)) {}

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
      const Locked locked;
      constexpr py::ssize_t size = sizeof(float);
      const py::none nobody;  // a base, so that the array is a view
      const std::vector<py::ssize_t> shape{(c.count + c.lanes - 1) / c.lanes, c.lanes, c.h, c.w};
      const py::array in(py::dtype::of<float>(), shape, {c.block * size, size, c.row * size, c.lanes * size},
                         c.in, nobody);
      const py::array to(py::dtype::of<float>(), shape,
                         {c.out_block * size, size, c.out_row * size, c.lanes * size}, c.out, nobody);
      in_python([&] { wiener(node, in, to); });
    };
    Poll poll;
    const Unlocked unlocked;
    network_.run(view, result, threads, max_memory, channels, std::ref(poll));
  }

  int64_t memory(int64_t h, int64_t w, int threads, int64_t max_memory) const {
    const Unlocked unlocked;
    return network_.memory(h, w, threads, max_memory);
  }
  int64_t kept() const { return network_.kept(); }

 private:
  nn::Network network_;
};

}  // namespace

void bind_nn(py::module_& m) {
  py::class_<BoundNet>(m, "Net")
      .def(py::init<const std::vector<PyNode>&, int64_t, int64_t, std::array<float, 2>, std::array<float, 2>,
                    std::array<int64_t, 2>>(),
           py::arg("nodes"), py::arg("output"), py::arg("channels"), py::arg("input_scale_offset"),
           py::arg("output_scale_offset"), py::arg("multiple_of"))
      .def("run", &BoundNet::run, py::arg("image").noconvert(), py::arg("out").noconvert(), py::arg("wiener"),
           py::arg("threads"), py::arg("max_memory"))
      .def("memory", &BoundNet::memory, py::arg("height"), py::arg("width"), py::arg("threads"),
           py::arg("max_memory"))
      .def("kept", &BoundNet::kept, "Bytes that the last run has left to the next.");
}

}  // namespace fastdeblur
