// A deconvolution plan on the CPU: FFT plans, transfer functions, scratch; made once, used for many images.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "methods/problem.h"

namespace fastdeblur {

// Compiled once per precision, in files of their own: each instantiates every pass of every method.
template <class T>
class Deconvolver {
 public:
  virtual ~Deconvolver() = default;

  // poll: called now and then on the calling thread; may throw. Throw BadImage.
  virtual void wiener(const std::vector<PlaneView<T>>& planes, const WienerOptions<T>& options,
                      const std::function<void()>& poll) = 0;
  virtual void richardson_lucy(const std::vector<PlaneView<T>>& planes, const RichardsonLucyOptions& options,
                               bool measured, const Progress<T>& progress,
                               const std::function<void()>& poll) = 0;
};

// one_axis: a signal, which has nothing to fill the lanes with.
template <class T>
std::unique_ptr<Deconvolver<T>> make_deconvolver(Problem<T> problem, bool one_axis);

// Bytes that a plan and a run take beyond input and output.
template <class T>
double deconvolver_bytes(const Problem<T>& problem, bool one_axis, bool richardson_lucy,
                         Acceleration acceleration, bool weights, bool many_planes);

}  // namespace fastdeblur
