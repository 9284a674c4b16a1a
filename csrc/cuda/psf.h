// Batches of PSFs in device memory. Nothing here needs CUDA's headers.
#pragma once

#include <cstdint>

#include "cuda/runtime.h"

namespace fastdeblur::cuda {

// n kernels (d, h, w), contiguous, in device memory; each has the sum 1 and its origin at (d / 2, h / 2, w /
// 2).
struct PsfTarget {
  void* data;
  bool is_double;  // else float
  std::int64_t n, d, h, w;
};

// Parameters are in host memory: n lengths >= 0 and angles, n radii >= 0 (d is 1), (n, 3) sigmas >= 0, all
// finite. Ordered after `stream`; the call waits for what the stream was given before, since it
// uploads from the host. Throw OutOfDeviceMemory, DeviceFailure, std::invalid_argument.
void rasterise_motion(int device, const double* lengths, const double* angles, const PsfTarget& out,
                      Stream stream);
void rasterise_defocus(int device, const double* radii, const PsfTarget& out, Stream stream);
void rasterise_gaussian(int device, const double* sigmas, const PsfTarget& out, Stream stream);

}  // namespace fastdeblur::cuda
