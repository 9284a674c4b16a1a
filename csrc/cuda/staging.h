// Arrays in host memory on their way to a device and back: copied by the processor into a pinned buffer, and
// from there by the bus while the processor copies the next ones and the device computes.
//
// What lies together goes together: an array whose memory has no large gaps is copied as it lies, strides and
// all; the channels of an interleaved image are one piece. Others are packed row by row.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/image.h"
#include "cuda/memory.h"
#include "cuda/streams.h"

namespace fastdeblur::cuda {

using Shape = std::array<std::int64_t, 3>;

struct HostArray {
  char* data = nullptr;
  std::array<std::ptrdiff_t, 3> stride{0, 0, 0};
  std::int64_t element = 1;  // bytes
};

// The bytes from an array's first to its last.
struct Span {
  char *begin, *end;
  std::int64_t size() const { return end - begin; }
  bool meets(const Span& other) const { return begin < other.end && other.begin < end; }
};
Span span_of(const HostArray& array, const Shape& shape);

class Pinned {
 public:
  explicit Pinned(Runtime& runtime) : runtime_(&runtime) {}
  Pinned(Pinned&& other) noexcept;
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned();
  char* data() const { return data_; }
  char* require(std::int64_t size);
  void reset() noexcept;

 private:
  Runtime* runtime_;
  char* data_ = nullptr;
  std::int64_t size_ = 0;
};

// Some arrays of one shape, one after the other in a pinned buffer and in a device buffer.
class Transfer {
 public:
  // What is copied before the bus is told: several pieces for each processor thread, and a few hundred
  // microseconds of the bus.
  static constexpr std::int64_t kPart = std::int64_t(8) << 20;

  explicit Transfer(Arena& arena, std::int64_t part = kPart)
      : pinned_(arena.runtime()), device_(arena), runtime_(&arena.runtime()), part_(part) {}

  // Decides what goes where. whole: every byte of what is copied as it lies belongs to an array, so that it
  // may be copied back. Says whether the device buffer is a new one.
  bool place(const std::vector<HostArray>& arrays, const Shape& shape, bool whole);
  // Where array i is on the device.
  HostArray at(std::size_t i) const { return placed_[i]; }
  std::int64_t bytes() const { return bytes_; }

  // In parts, so that the bus carries one while the processor copies the next.
  void send(Stream stream);
  void fetch(Stream stream);
  void unpack();  // what has been fetched, as it arrives

 private:
  struct Piece {
    Span span;
    std::vector<std::size_t> arrays;
    std::int64_t packed = 0;
    std::int64_t offset = 0;
    bool raw = false;
  };
  // Bytes that lie in host memory as they do in the buffers, or rows of an array that is packed.
  struct Part {
    std::int64_t offset, bytes;
    char* host;
    std::size_t array;
    std::int64_t first, last;  // rows
  };
  void divide();
  void copy(const Part& part, bool to_pinned) const;

  Pinned pinned_;
  Memory<char> device_;
  Runtime* runtime_;
  std::int64_t part_;  // bytes
  Shape shape_{1, 1, 1};
  std::vector<HostArray> arrays_;
  std::vector<Piece> pieces_;
  std::vector<std::int64_t> offset_;  // of each array
  std::vector<HostArray> placed_;
  std::vector<Part> parts_;
  std::vector<OwnEvent> arrived_;
  std::int64_t bytes_ = 0;
};

// Whether an image in host memory is good, looked at by the processor: for calls that must not write anything
// if one of many images is bad.
template <class T>
Bad look_at_host(const ImageView& image, const ImageView& weights, const Shape& shape, T limit);

}  // namespace fastdeblur::cuda
