// A network as Python hands it over.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <array>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "nn/node.h"

namespace fastdeblur {

// (op, inputs, attributes, tensors)
using PyTensor = pybind11::array_t<float, pybind11::array::c_style>;
using PyNode = std::tuple<std::string, std::vector<int64_t>, pybind11::dict, std::map<std::string, PyTensor>>;

inline nn::Attribute as_attribute(const pybind11::handle& value) {
  if (value.is_none()) return {};
  if (pybind11::isinstance<pybind11::str>(value)) return value.cast<std::string>();
  if (pybind11::isinstance<pybind11::sequence>(value)) return value.cast<std::vector<double>>();
  return value.cast<double>();
}

// (scale, offset) of what goes in and of what comes out.
inline nn::NetworkSpec as_network(const std::vector<PyNode>& nodes, int64_t output, int64_t channels,
                                  const std::array<float, 2>& in, const std::array<float, 2>& out,
                                  const std::array<int64_t, 2>& multiple_of) {
  nn::NetworkSpec spec;
  for (const auto& [op, inputs, attributes, tensors] : nodes) {
    nn::NodeSpec node{op, inputs, {}, {}};
    for (const auto& [key, value] : attributes)
      node.attributes[key.cast<std::string>()] = as_attribute(value);
    for (const auto& [name, array] : tensors)
      node.tensors[name] = {{array.shape(), array.shape() + array.ndim()},
                            {array.data(), array.data() + array.size()}};
    spec.nodes.push_back(std::move(node));
  }
  spec.output = output;
  spec.channels = channels;
  spec.scale = in[0];
  spec.offset = in[1];
  spec.out_scale = out[0];
  spec.out_offset = out[1];
  spec.multiple_of = multiple_of;
  return spec;
}

}  // namespace fastdeblur
