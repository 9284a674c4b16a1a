#include "cuda/staging.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "core/element_bytes.h"
#include "cpu/parallel.h"

namespace fastdeblur::cuda {
namespace {

// Processor threads that copy: a few saturate what memory gives to copies.
constexpr int kCopyThreads = 8;
constexpr std::int64_t kChunk = std::int64_t(1) << 20;

template <class F>
void in_parallel(std::int64_t pieces, std::int64_t bytes, F f) {
  const int threads = bytes < 4 * kChunk ? 1 : std::min(kCopyThreads, team_size(0));
  Team::run(threads, [&](Team& team) { team.parallel_for(pieces, [&](std::int64_t i, int) { f(i); }); });
}

void copy_all(char* to, const char* from, std::int64_t bytes) {
  in_parallel((bytes + kChunk - 1) / kChunk, bytes, [&](std::int64_t i) {
    const std::int64_t at = i * kChunk;
    std::memcpy(to + at, from + at, static_cast<std::size_t>(std::min(kChunk, bytes - at)));
  });
}

template <class Word>
void copy_words(char* to, std::ptrdiff_t to_stride, const char* from, std::ptrdiff_t from_stride,
                std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, sizeof(Word));
}

void copy_row(char* to, std::ptrdiff_t to_stride, const char* from, std::ptrdiff_t from_stride,
              std::int64_t n, std::int64_t element) {
  if (to_stride == element && from_stride == element) {
    std::memcpy(to, from, static_cast<std::size_t>(n * element));
    return;
  }
  switch (element) {
    case 1:
      return copy_words<std::uint8_t>(to, to_stride, from, from_stride, n);
    case 2:
      return copy_words<std::uint16_t>(to, to_stride, from, from_stride, n);
    case 4:
      return copy_words<std::uint32_t>(to, to_stride, from, from_stride, n);
    default:
      return copy_words<std::uint64_t>(to, to_stride, from, from_stride, n);
  }
}

}  // namespace

Span span_of(const HostArray& array, const Shape& shape) {
  char *begin = array.data, *end = array.data + array.element;
  for (std::size_t a = 0; a < 3; ++a) {
    const std::ptrdiff_t reach = (shape[a] - 1) * array.stride[a];
    (reach < 0 ? begin : end) += reach;
  }
  return {begin, end};
}

Pinned::Pinned(Pinned&& other) noexcept
    : runtime_(other.runtime_),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Pinned::~Pinned() { reset(); }

void Pinned::reset() noexcept {
  if (data_) runtime_->release_pinned(std::exchange(data_, nullptr));
  size_ = 0;
}

char* Pinned::require(std::int64_t size) {
  if (size_ >= size) return data_;
  reset();
  data_ = static_cast<char*>(runtime_->allocate_pinned(static_cast<std::size_t>(size)));
  size_ = size;
  return data_;
}

bool Transfer::place(const std::vector<HostArray>& arrays, const Shape& shape, bool whole) {
  shape_ = shape;
  arrays_ = arrays;
  pieces_.clear();
  offset_.assign(arrays.size(), 0);
  placed_ = arrays;
  const std::int64_t pixels = shape[0] * shape[1] * shape[2];
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    const Span span = span_of(arrays[i], shape);
    const auto same = std::find_if(pieces_.begin(), pieces_.end(),
                                   [&](const Piece& piece) { return piece.span.meets(span); });
    Piece& piece = same == pieces_.end() ? pieces_.emplace_back(Piece{span, {}, 0, 0, false}) : *same;
    piece.span = {std::min(piece.span.begin, span.begin), std::max(piece.span.end, span.end)};
    piece.arrays.push_back(i);
    piece.packed += pixels * arrays[i].element;
  }
  bytes_ = 0;
  const auto aligned = [](std::int64_t n) { return (n + 255) / 256 * 256; };
  for (Piece& piece : pieces_) {
    const std::int64_t size = piece.span.size();
    // An array that is given twice, or one row again and again, is smaller than its pixels.
    piece.raw = whole ? size == piece.packed : size <= piece.packed + piece.packed / 4;
    if (piece.raw) {
      const auto odd = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(piece.span.begin) % 64);
      piece.offset = aligned(bytes_) + odd;  // elements stay aligned
      bytes_ = piece.offset + size;
      for (const std::size_t i : piece.arrays)
        offset_[i] = piece.offset + (arrays[i].data - piece.span.begin);
      continue;
    }
    for (const std::size_t i : piece.arrays) {
      const auto e = static_cast<std::ptrdiff_t>(arrays[i].element);
      offset_[i] = aligned(bytes_);
      bytes_ = offset_[i] + pixels * arrays[i].element;
      placed_[i].stride = {static_cast<std::ptrdiff_t>(shape[1] * shape[2]) * e,
                           static_cast<std::ptrdiff_t>(shape[2]) * e, e};
    }
  }
  const bool is_new = device_.size() < bytes_;
  pinned_.require(bytes_);
  char* device = device_.require(bytes_);
  for (std::size_t i = 0; i < arrays.size(); ++i) placed_[i].data = device + offset_[i];
  divide();
  return is_new;
}

void Transfer::divide() {
  parts_.clear();
  const std::int64_t rows = shape_[0] * shape_[1];
  for (const Piece& piece : pieces_) {
    if (piece.raw) {
      for (std::int64_t at = 0; at < piece.span.size(); at += part_)
        parts_.push_back(
            {piece.offset + at, std::min(part_, piece.span.size() - at), piece.span.begin + at, 0, 0, 0});
      continue;
    }
    for (const std::size_t i : piece.arrays) {
      const std::int64_t row = shape_[2] * arrays_[i].element, step = std::max<std::int64_t>(1, part_ / row);
      for (std::int64_t first = 0; first < rows; first += step) {
        const std::int64_t last = std::min(rows, first + step);
        parts_.push_back({offset_[i] + first * row, (last - first) * row, nullptr, i, first, last});
      }
    }
  }
}

void Transfer::copy(const Part& part, bool to_pinned) const {
  if (part.host) {
    char* pinned = pinned_.data() + part.offset;
    return to_pinned ? copy_all(pinned, part.host, part.bytes) : copy_all(part.host, pinned, part.bytes);
  }
  const HostArray& host = arrays_[part.array];
  const std::ptrdiff_t stride = placed_[part.array].stride[2];
  const std::int64_t row = shape_[2] * host.element, rows = part.last - part.first;
  const std::int64_t run = std::max<std::int64_t>(1, kChunk / row);
  in_parallel((rows + run - 1) / run, part.bytes, [&](std::int64_t k) {
    for (std::int64_t i = k * run; i < std::min(rows, (k + 1) * run); ++i) {
      const std::int64_t c = (part.first + i) / shape_[1], m = (part.first + i) % shape_[1];
      char* there = host.data + c * host.stride[0] + m * host.stride[1];
      char* pinned = pinned_.data() + part.offset + i * row;
      if (to_pinned)
        copy_row(pinned, stride, there, host.stride[2], shape_[2], host.element);
      else
        copy_row(there, host.stride[2], pinned, stride, shape_[2], host.element);
    }
  });
}

void Transfer::send(Stream stream) {
  for (const Part& part : parts_) {
    copy(part, true);
    runtime_->copy(device_.data() + part.offset, pinned_.data() + part.offset,
                   static_cast<std::size_t>(part.bytes), stream);
  }
}

void Transfer::fetch(Stream stream) {
  while (arrived_.size() < parts_.size()) arrived_.emplace_back(*runtime_);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    runtime_->copy(pinned_.data() + part.offset, device_.data() + part.offset,
                   static_cast<std::size_t>(part.bytes), stream);
    runtime_->record(arrived_[i].get(), stream);
  }
}

void Transfer::unpack() {
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    runtime_->synchronize_event(arrived_[i].get());
    copy(parts_[i], false);
  }
}

template <class T>
Bad look_at_host(const ImageView& image, const ImageView& weights, const Shape& shape, T limit) {
  const std::int64_t n = shape[2], rows = shape[0] * shape[1], bytes = rows * n * bytes_of(image.element);
  const std::int64_t run = std::max<std::int64_t>(1, kChunk / (n * bytes_of(image.element)));
  std::atomic<int> found{0};
  in_parallel((rows + run - 1) / run, bytes, [&](std::int64_t k) {
    std::vector<T> row(static_cast<std::size_t>(n)), weight(weights ? static_cast<std::size_t>(n) : 0);
    int bad = 0;
    for (std::int64_t r = k * run; r < std::min(rows, (k + 1) * run); ++r) {
      const auto at = [&](const ImageView& v) {
        return static_cast<const char*>(v.data) + r / shape[1] * v.stride[0] + r % shape[1] * v.stride[1];
      };
      convert_row(image.element, at(image), image.stride[2], n, row.data());
      if (weights) {
        convert_row(weights.element, at(weights), weights.stride[2], n, weight.data());
        for (std::size_t x = 0; x < row.size(); ++x) row[x] = weight[x] > T(0) ? weight[x] * row[x] : T(0);
      }
      int beyond = 0, negative = 0;  // whole rows without a branch: these loops become vectors
      for (const T value : row) {
        beyond |= !(value <= limit) | !(value >= -limit);
        negative |= !(value >= T(0));
      }
      bad |=
          (beyond ? static_cast<int>(Bad::not_finite) : 0) | (negative ? static_cast<int>(Bad::negative) : 0);
    }
    found.fetch_or(bad, std::memory_order_relaxed);
  });
  return static_cast<Bad>(found.load());
}

template Bad look_at_host<float>(const ImageView&, const ImageView&, const Shape&, float);
template Bad look_at_host<double>(const ImageView&, const ImageView&, const Shape&, double);

}  // namespace fastdeblur::cuda
