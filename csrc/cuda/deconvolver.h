// A deconvolution plan on a CUDA device. Nothing here needs CUDA's headers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "methods/problem.h"

namespace fastdeblur::cuda {

// A plane, and which of its arrays are in device memory.
template <class T>
struct LocatedPlane {
  PlaneView<T> view;
  bool image_on_device = false, out_on_device = false, weights_on_device = false, init_on_device = false;
};

// As Progress; the estimate is copied to (view, whether in device memory).
template <class T>
using DeviceProgress =
    std::function<bool(int64_t, int64_t, double, const std::function<void(MutableImageView<T>, bool)>&)>;

template <class T>
class Deconvolver {
 public:
  virtual ~Deconvolver() = default;

  // Arrays in device memory are read and written in the order of `stream`. Waits only where host memory is
  // written, where somebody wants to be told, or to find whether an image is bad. Throw BadImage,
  // OutOfDeviceMemory, DeviceFailure; the plan stays usable.
  virtual void wiener(const std::vector<LocatedPlane<T>>& planes, const WienerOptions<T>& options,
                      void* stream, const std::function<void()>& poll) = 0;
  virtual void richardson_lucy(const std::vector<LocatedPlane<T>>& planes,
                               const RichardsonLucyOptions& options, bool measured,
                               const DeviceProgress<T>& progress, void* stream,
                               const std::function<void()>& poll) = 0;
};

template <class T>
std::unique_ptr<Deconvolver<T>> make_deconvolver(int device, Problem<T> problem);

// Device bytes that a plan and a run take, arrays in host memory included.
template <class T>
double deconvolver_bytes(const Problem<T>& problem, bool richardson_lucy, Acceleration acceleration,
                         bool weights, bool many_planes);

}  // namespace fastdeblur::cuda
