// Owned, aligned, uninitialised memory for numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_MSC_VER) || defined(__MINGW32__)
#include <malloc.h>
#endif

namespace fastdeblur {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t size) : size_(size) {
    if (size <= 0) return;
    // Image-sized buffers sit on huge pages where the system has them: passes jump a slab at a time, one page
    // each.
    constexpr std::size_t huge = std::size_t(1) << 21;
    if (static_cast<std::uint64_t>(size) > std::numeric_limits<std::size_t>::max() / (2 * sizeof(T)))
      throw std::bad_alloc();
    std::size_t bytes = static_cast<std::size_t>(size) * sizeof(T);
    const std::size_t alignment = bytes >= 2 * huge ? huge : 64;
    bytes = (bytes + 63) / 64 * 64;
#if defined(_MSC_VER) || defined(__MINGW32__)
    data_ = static_cast<T*>(_aligned_malloc(bytes, alignment));
    if (!data_) throw std::bad_alloc();
#else
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
    data_ = static_cast<T*>(memory);
#endif
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (alignment == huge) madvise(data_, bytes / huge * huge, MADV_HUGEPAGE);
#endif
  }
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
#if defined(_MSC_VER) || defined(__MINGW32__)
    _aligned_free(data_);
#else
    std::free(data_);
#endif
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }

  // Grows to at least this size, contents lost; a plan's buffers are made by its first call and serve the
  // later ones.
  void require(std::int64_t size) {
    if (size_ >= size) return;
    *this = Buffer();
    *this = Buffer(size);
  }

 private:
  T* data_ = nullptr;
  std::int64_t size_ = 0;
};

}  // namespace fastdeblur
