// How a kernel is written once and runs on a device and, thread by thread, on the host.
//
// A kernel is a trivially copyable struct:
//     static constexpr int max_threads, min_blocks;       for the compiler's register budget
//     struct Registers;                                   what a thread keeps from phase to phase
//     int phases() const;                                 the same for every thread
//     void operator()(int phase, const Thread&, Registers&) const;
// Between two phases lies one barrier, and nothing else orders the threads of a block: no thread may read
// what another wrote in the same phase. The host steps every thread of a phase before the next phase, in an
// order of the caller's choice; that the order changes nothing is the test for missing barriers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/host_device.h"
#include "cuda/limits.h"

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#endif

// A function that many kernels of a file share, rather than a copy in each: it must find what it works on in
// shared memory or among the kernel's parameters, and take and return scalars only.
#if defined(__CUDACC__)
#define FD_HD_SHARED __host__ __device__ __noinline__
#else
#define FD_HD_SHARED
#endif

#if defined(__CUDA_ARCH__)
#define FD_UNROLL _Pragma("unroll")
#define FD_LOOP \
  _Pragma("unroll 1")  // many independent loads are in a body already; twice as many would spill
#else
#define FD_UNROLL
#define FD_LOOP
#endif

namespace fastdeblur::cuda {

struct Geometry {
  std::int64_t blocks;
  int threads;
  int shared;  // bytes
};

#if defined(__CUDACC__)
extern __shared__ double2 shared_memory[];
#endif

struct Thread {
  int block, index, threads;
  void* host_shared;

  // On a device always the same symbol, so that the compiler knows the address space.
  template <class S>
  FD_HD S* shared() const {
#if defined(__CUDA_ARCH__)
    return reinterpret_cast<S*>(shared_memory);
#else
    return static_cast<S*>(host_shared);
#endif
  }
};

// Steps kernels on the host.
class HostLauncher {
 public:
  enum class Order { ascending, descending, shuffled };

  explicit HostLauncher(Order order = Order::ascending, unsigned seed = 1) : order_(order), random_(seed) {}

  template <class Kernel>
  void launch(Stream, const Kernel& kernel, const Geometry& g) {
    if (g.threads > Kernel::max_threads) throw std::logic_error("more threads than the kernel is built for");
    // Exactly as large as was asked for, so that a sanitizer sees what lies beyond.
    const std::size_t units = (static_cast<std::size_t>(g.shared) + sizeof(Unit) - 1) / sizeof(Unit);
    const std::unique_ptr<Unit[]> shared(new Unit[units]);
    std::vector<typename Kernel::Registers> registers(static_cast<std::size_t>(g.threads));
    for (int block : sequence(g.blocks)) {
      std::memset(static_cast<void*>(shared.get()), 0xff, units * sizeof(Unit));  // NaN
      std::fill(registers.begin(), registers.end(), typename Kernel::Registers{});
      for (int phase = 0; phase < kernel.phases(); ++phase)
        for (int i : sequence(g.threads))
          kernel(phase, Thread{block, i, g.threads, shared.get()}, registers[static_cast<std::size_t>(i)]);
    }
  }

 private:
  struct alignas(16) Unit {
    std::byte bytes[16];
  };

  std::vector<int> sequence(std::int64_t n) {
    std::vector<int> s(static_cast<std::size_t>(n));
    std::iota(s.begin(), s.end(), 0);
    if (order_ == Order::descending) std::reverse(s.begin(), s.end());
    if (order_ == Order::shuffled) std::shuffle(s.begin(), s.end(), random_);
    return s;
  }

  Order order_;
  std::mt19937 random_;
};

#if defined(__CUDACC__)

template <class Kernel>
__global__ void __launch_bounds__(Kernel::max_threads, Kernel::min_blocks)
    run(const __grid_constant__ Kernel kernel) {
  const Thread thread{static_cast<int>(blockIdx.x), static_cast<int>(threadIdx.x),
                      static_cast<int>(blockDim.x), nullptr};
  typename Kernel::Registers registers{};
  const int phases = kernel.phases();
  for (int phase = 0; phase < phases; ++phase) {
    if (phase > 0) __syncthreads();
    kernel(phase, thread, registers);
  }
}

class DeviceLauncher {
 public:
  // block_shared: the most shared memory of a block that the device gives to who asks.
  explicit DeviceLauncher(int block_shared) : block_shared_(block_shared) {}

  template <class Kernel>
  void launch(Stream stream, const Kernel& kernel, const Geometry& g) {
    // The same limit for every launch: were it this launch's size, another thread could lower it in between.
    constexpr int without_asking = 48 << 10;
    const auto function = reinterpret_cast<const void*>(&run<Kernel>);
    if (g.shared > without_asking)
      check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, block_shared_));
    // Answers for itself; the error that <<<>>> leaves behind might be somebody else's.
    void* arguments[] = {const_cast<Kernel*>(&kernel)};
    check(cudaLaunchKernel(function, dim3(static_cast<unsigned>(g.blocks)),
                           dim3(static_cast<unsigned>(g.threads)), arguments,
                           static_cast<std::size_t>(g.shared), static_cast<cudaStream_t>(stream)));
  }

 private:
  static void check(cudaError_t error) {
    if (error == cudaSuccess) return;
    cudaGetLastError();  // not for others to find
    throw DeviceFailure(std::string(cudaGetErrorString(error)) + " (kernel)");
  }

  int block_shared_;
};

#endif

}  // namespace fastdeblur::cuda
