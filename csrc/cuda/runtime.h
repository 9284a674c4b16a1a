// What a deconvolver needs of a device besides kernels: memory, copies, streams, transforms, graphs. CUDA has
// it (device_runtime.cpp), and the tests have it on the host, where every call can be made to fail.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/limits.h"

namespace fastdeblur::cuda {

// Bytes that could not be had, and that were free.
class OutOfDeviceMemory : public std::runtime_error {
 public:
  OutOfDeviceMemory(std::size_t bytes_asked, std::size_t bytes_free)
      : std::runtime_error("out of device memory: asked for " + std::to_string(bytes_asked) + " bytes, " +
                           std::to_string(bytes_free) + " are free"),
        asked(bytes_asked),
        free(bytes_free) {}
  std::size_t asked, free;
};

using Event = void*;  // a cudaEvent_t

// Transforms of one shape, in place. Real ones leave rows of x / 2 + 1 complex numbers; nothing is
// normalised.
class FftPlan {
 public:
  virtual ~FftPlan() = default;
  virtual std::size_t workspace() const = 0;  // bytes that execute needs beside the data
  virtual void execute(void* data, bool forward, void* workspace, Stream stream) = 0;
};

struct FftShape {
  std::vector<std::int64_t> lengths;  // slowest first, none of them 1
  bool real, is_double;               // real: along the last axis
  bool operator==(const FftShape&) const = default;
};

// Work that was recorded once.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void launch(Stream stream) = 0;
};

// Every function may throw OutOfDeviceMemory or DeviceFailure but those that give something back.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual Limits limits() const = 0;

  virtual void* allocate(std::size_t bytes, Stream stream) = 0;
  virtual void release(void* memory, Stream stream) noexcept = 0;  // once the stream comes to it
  virtual void* allocate_pinned(std::size_t bytes) = 0;            // host memory that copies overlap with
  virtual void release_pinned(void* memory) noexcept = 0;

  virtual void copy(void* to, const void* from, std::size_t bytes, Stream stream) = 0;  // host or device
  virtual void clear(void* memory, std::size_t bytes, Stream stream) = 0;

  virtual Stream make_stream() = 0;
  virtual void destroy_stream(Stream stream) noexcept = 0;
  virtual void synchronize(Stream stream) = 0;
  virtual Event make_event() = 0;
  virtual void destroy_event(Event event) noexcept = 0;
  virtual void record(Event event, Stream stream) = 0;
  virtual void wait(Stream stream, Event event) = 0;
  virtual void synchronize_event(Event event) = 0;

  virtual std::shared_ptr<FftPlan> fft(const FftShape& shape) = 0;

  virtual void begin_capture(Stream stream) = 0;
  virtual std::unique_ptr<Graph> end_capture(Stream stream) = 0;
  virtual void abandon_capture(Stream stream) noexcept = 0;

  // What this thread does next is on this device, until the answer is destroyed.
  virtual std::shared_ptr<void> enter() = 0;
  // It still is, whatever a caller's function has done since.
  virtual void stay() = 0;
  // Throws std::invalid_argument where a caller's stream is not one of this device.
  virtual void check_stream(Stream stream) = 0;
};

}  // namespace fastdeblur::cuda
