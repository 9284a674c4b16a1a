// What the deconvolvers' bindings share: problems as Python gives them, and a run that Ctrl-C ends.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/gil.h"
#include "methods/problem.h"

namespace fastdeblur {

// Shapes and strides come from Python with 1 to 3 axes, slowest first.
template <class Value>
std::array<Value, 3> as_axes(const std::vector<Value>& given, Value missing) {
  switch (given.size()) {
    case 1:
      return {missing, missing, given[0]};
    case 2:
      return {given[0], missing, given[1]};
    case 3:
      return {given[0], given[1], given[2]};
    default:
      throw pybind11::value_error("expected 1 to 3 axes");
  }
}

// (first, second, weight of first, weight of second) for each axis
using Maps = std::vector<std::tuple<pybind11::array_t<int64_t>, pybind11::array_t<int64_t>,
                                    pybind11::array_t<double>, pybind11::array_t<double>>>;

template <class Value>
std::vector<Value> as_vector(const pybind11::array_t<Value>& array) {
  return {array.data(), array.data() + array.size()};
}

inline std::array<AxisMap, 3> axis_maps(const Maps& given) {
  std::vector<AxisMap> maps;
  for (const auto& [first, second, w1, w2] : given)
    maps.push_back({as_vector(first), as_vector(second), as_vector(w1), as_vector(w2)});
  return as_axes<AxisMap>(maps, AxisMap{});
}

inline Acceleration as_acceleration(const std::string& name) {
  return name == "ogm"             ? Acceleration::ogm
         : name == "biggs-andrews" ? Acceleration::biggs_andrews
                                   : Acceleration::none;
}

template <class T>
Problem<T> make_problem(const std::vector<int64_t>& frame, const std::vector<int64_t>& grid,
                        const std::vector<int64_t>& psf_shape, int64_t psf_count, bool extended,
                        bool dark_outside, bool keep, int threads) {
  Problem<T> problem;
  problem.grid.frame = as_axes<int64_t>(frame, 1);
  problem.grid.full = as_axes<int64_t>(grid, 1);
  problem.psf_shape = as_axes<int64_t>(psf_shape, 1);
  problem.psf_count = psf_count;
  problem.extended = extended;
  problem.dark_outside = dark_outside;
  problem.keep = keep;
  problem.threads = threads;
  return problem;
}

template <class T>
WienerOptions<T> wiener_options(double balance, const std::string& reg, const pybind11::object& power) {
  WienerOptions<T> options;
  options.balance = static_cast<T>(balance);
  options.reg = reg == "identity"    ? WienerOptions<T>::identity
                : reg == "laplacian" ? WienerOptions<T>::laplacian
                                     : WienerOptions<T>::power;
  if (!power.is_none())
    options.power_values = static_cast<const T*>(pybind11::reinterpret_borrow<pybind11::array>(power).data());
  return options;
}

}  // namespace fastdeblur
