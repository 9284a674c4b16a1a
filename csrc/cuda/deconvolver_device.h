// The deconvolver with kernels that a device launches; compiled once per precision.
#pragma once

#include <cstdlib>
#include <string>

#include "cuda/deconvolver_impl.h"
#include "cuda/device.h"

namespace fastdeblur::cuda {

// FASTDEBLUR_CUDA_PASSES=fused or plain overrides what has been measured, to measure it.
inline PassKind wanted_passes(const Grid& g, int bytes) {
  const char* forced = std::getenv("FASTDEBLUR_CUDA_PASSES");
  if (forced && std::string(forced) == "plain") return PassKind::plain;
  if (forced && std::string(forced) == "fused") return PassKind::fused;
  return measured_choice(g, bytes);
}

template <class T>
std::unique_ptr<Deconvolver<T>> make_deconvolver(int device, Problem<T> problem) {
  const PassKind wanted = wanted_passes(problem.grid, static_cast<int>(sizeof(T)));
  std::unique_ptr<Runtime> runtime = make_runtime(device);
  const DeviceLauncher launcher(runtime->limits().block_shared);
  return std::make_unique<DeviceDeconvolver<T, DeviceLauncher>>(std::move(runtime), launcher,
                                                                std::move(problem), wanted);
}

template <class T>
double deconvolver_bytes(const Problem<T>& problem, bool richardson_lucy, Acceleration acceleration,
                         bool weights, bool many_planes) {
  const PassKind wanted = wanted_passes(problem.grid, static_cast<int>(sizeof(T)));
  return DeviceDeconvolver<T, DeviceLauncher>::bytes(problem, limits_of(0), wanted, richardson_lucy,
                                                     acceleration, weights, many_planes);
}

}  // namespace fastdeblur::cuda
