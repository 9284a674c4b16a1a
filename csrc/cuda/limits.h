// What a device has of what a launch takes, and what it answers where something fails.
#pragma once

#include <stdexcept>

namespace fastdeblur::cuda {

// Shared memory of a block (the limit that it can opt into) and of a multiprocessor, bytes.
struct Limits {
  int block_shared, multiprocessor_shared, multiprocessors;
};

using Stream = void*;  // a cudaStream_t

// What a device answered when it could not do as it was told.
class DeviceFailure : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace fastdeblur::cuda
