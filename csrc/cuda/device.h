// The devices of this machine, and the memory that plans share. Nothing here needs CUDA's headers.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/runtime.h"

namespace fastdeblur::cuda {

struct DeviceInfo {
  int index = 0;
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::size_t total = 0, free = 0;
  int driver = 0, runtime = 0;  // 13000 is CUDA 13.0
};

// Empty if some device can compute, else one sentence. Does not throw, and needs no driver.
std::string why_not();
// Empty if this device can.
std::string why_not(int device);
// How many there are. Unlike devices(), this takes no memory on any of them.
int device_count();
std::vector<DeviceInfo> devices();

// Where memory comes from and goes to: another library's pool instead of our own. allocate answers null where
// there is none left; both may be called from any thread.
struct Allocator {
  std::function<void*(std::size_t bytes, int device, Stream stream)> allocate;
  std::function<void(void* memory, int device, Stream stream)> release;
};
// Null: our own pool. Memory goes back to where it came from.
void set_allocator(std::shared_ptr<const Allocator> allocator);
// Waits for what a stream of a device has been given.
void synchronize(int device, Stream stream);
// Gives back what our own pool holds and nobody uses.
void release_pool(int device);

std::unique_ptr<Runtime> make_runtime(int device);
// The limits of a device, or of a common one where there is none.
Limits limits_of(int device);

}  // namespace fastdeblur::cuda
