#include "cuda/staging.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/parallel.h"

namespace fastdeblur::cuda {
namespace {

// Processor threads that copy: a few saturate what memory gives to copies.
constexpr int kCopyThreads = 8;
constexpr std::int64_t kChunk = std::int64_t(1) << 20;

template <class F>
void in_parallel(std::int64_t pieces, std::int64_t bytes, F f) {
  const int threads = bytes < 4 * kChunk ? 1 : std::min(kCopyThreads, team_size(0));
  Team::run(threads, [&](Team& team) {
    team.parallel_for(pieces, [&](std::int64_t i, int) { f(i); });
  });
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

void copy_row(char* to, std::ptrdiff_t to_stride, const char* from, std::ptrdiff_t from_stride, std::int64_t n,
              std::int64_t element) {
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

Pinned::~Pinned() {
  if (data_) runtime_->release_pinned(data_);
}

char* Pinned::require(std::int64_t size) {
  if (size_ >= size) return data_;
  if (data_) runtime_->release_pinned(std::exchange(data_, nullptr));
  size_ = 0;
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
      for (const std::size_t i : piece.arrays) offset_[i] = piece.offset + (arrays[i].data - piece.span.begin);
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
  return is_new;
}

// f(host row, pinned row, host stride, pinned stride, element) of every array that is packed.
template <class F>
void Transfer::each_row(F f) const {
  for (const Piece& piece : pieces_) {
    if (piece.raw) continue;
    for (const std::size_t i : piece.arrays) {
      const HostArray &host = arrays_[i], &there = placed_[i];
      const std::int64_t rows = shape_[0] * shape_[1], bytes = rows * shape_[2] * host.element;
      const std::int64_t run = std::max<std::int64_t>(1, kChunk / (shape_[2] * host.element));
      in_parallel((rows + run - 1) / run, bytes, [&](std::int64_t k) {
        for (std::int64_t r = k * run; r < std::min(rows, (k + 1) * run); ++r) {
          const std::int64_t c = r / shape_[1], m = r % shape_[1];
          f(host.data + c * host.stride[0] + m * host.stride[1],
            pinned_.data() + offset_[i] + c * there.stride[0] + m * there.stride[1], host.stride[2],
            there.stride[2], host.element);
        }
      });
    }
  }
}

void Transfer::pack() {
  for (const Piece& piece : pieces_)
    if (piece.raw) copy_all(pinned_.data() + piece.offset, piece.span.begin, piece.span.size());
  each_row([&](const char* host, char* pinned, std::ptrdiff_t from, std::ptrdiff_t to, std::int64_t element) {
    copy_row(pinned, to, host, from, shape_[2], element);
  });
}

void Transfer::unpack() {
  for (const Piece& piece : pieces_)
    if (piece.raw) copy_all(piece.span.begin, pinned_.data() + piece.offset, piece.span.size());
  each_row([&](char* host, const char* pinned, std::ptrdiff_t to, std::ptrdiff_t from, std::int64_t element) {
    copy_row(host, to, pinned, from, shape_[2], element);
  });
}

void Transfer::to_device(Stream stream) {
  if (bytes_ > 0)
    runtime_->copy(device_.data(), pinned_.data(), static_cast<std::size_t>(bytes_), stream);
}

void Transfer::to_host(Stream stream) {
  if (bytes_ > 0)
    runtime_->copy(pinned_.data(), device_.data(), static_cast<std::size_t>(bytes_), stream);
}

template <class T>
Bad look_at_host(const ImageView& image, const ImageView& weights, const Shape& shape, T limit) {
  const std::int64_t n = shape[2];
  std::vector<T> row(static_cast<std::size_t>(n)), weight(weights ? static_cast<std::size_t>(n) : 0);
  bool within = true, positive = true;
  for (std::int64_t c = 0; c < shape[0]; ++c)
    for (std::int64_t m = 0; m < shape[1]; ++m) {
      const auto at = [&](const ImageView& v) {
        return static_cast<const char*>(v.data) + c * v.stride[0] + m * v.stride[1];
      };
      convert_row(image.element, at(image), image.stride[2], n, row.data());
      if (weights) {
        convert_row(weights.element, at(weights), weights.stride[2], n, weight.data());
        for (std::size_t x = 0; x < row.size(); ++x) row[x] = weight[x] > T(0) ? weight[x] * row[x] : T(0);
      }
      for (const T value : row) {
        within = within && value <= limit && value >= -limit;
        positive = positive && value >= T(0);
      }
    }
  return static_cast<Bad>((within ? 0 : static_cast<int>(Bad::not_finite)) |
                          (positive ? 0 : static_cast<int>(Bad::negative)));
}

template Bad look_at_host<float>(const ImageView&, const ImageView&, const Shape&, float);
template Bad look_at_host<double>(const ImageView&, const ImageView&, const Shape&, double);

}  // namespace fastdeblur::cuda
