// Device memory with an owner. All of a plan's memory is asked for and given back in the order of one stream,
// the one of the call that is running.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "cuda/runtime.h"

namespace fastdeblur::cuda {

class Arena {
 public:
  explicit Arena(Runtime& runtime) : runtime_(&runtime) {}
  Runtime& runtime() const { return *runtime_; }
  Stream stream() const { return stream_; }
  void set_stream(Stream stream) { stream_ = stream; }

  void* allocate(std::size_t bytes) {
    ++generation_;
    return runtime_->allocate(bytes, stream_);
  }
  void release(void* memory) noexcept {
    ++generation_;
    runtime_->release(memory, stream_);
  }
  // Changes with every allocation: recorded work names addresses.
  std::int64_t generation() const { return generation_; }

 private:
  Runtime* runtime_;
  Stream stream_ = nullptr;
  std::int64_t generation_ = 0;
};

template <class Value>
class Memory {
 public:
  explicit Memory(Arena& arena) : arena_(&arena) {}
  Memory(Memory&& other) noexcept
      : arena_(other.arena_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(arena_, other.arena_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { reset(); }

  Value* data() const { return data_; }
  std::int64_t size() const { return size_; }

  // At least so many values; contents are lost where it grows.
  Value* require(std::int64_t size) {
    if (size_ >= size) return data_;
    reset();
    data_ = static_cast<Value*>(arena_->allocate(static_cast<std::size_t>(size) * sizeof(Value)));
    size_ = size;
    return data_;
  }
  // A copy of host memory, which may be forgotten at once: where a device reads pageable memory by itself,
  // nothing promises that a copy has been read when the call returns.
  const Value* upload(const Value* from, std::int64_t size) {
    require(size > 0 ? size : 1);
    if (size > 0) {
      arena_->runtime().copy(data_, from, static_cast<std::size_t>(size) * sizeof(Value), arena_->stream());
      arena_->runtime().synchronize(arena_->stream());
    }
    return data_;
  }
  void reset() noexcept {
    if (data_) arena_->release(data_);
    data_ = nullptr;
    size_ = 0;
  }

 private:
  Arena* arena_;
  Value* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace fastdeblur::cuda
