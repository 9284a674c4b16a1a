// A network: layers in order, run on an image strip by strip and row by row.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cpu/buffer.h"
#include "nn/layer.h"

namespace fastdeblur::nn {

// Deblurs the channels of a value that is kept whole, as `fft_wiener` asks: node's number, one view for each
// channel of the value and of the result (pointer, strides of row and column in floats), height and width.
// The result may lie over the value.
struct Channels {
  const float* in;
  float* out;
  int64_t count, lanes, block, row;  // channel c begins at c / lanes * block + c % lanes
  int64_t h, w;
  int64_t out_block, out_row;
};
using Wiener = std::function<void(int64_t node, const Channels& channels)>;

class Network {
 public:
  // Throws std::invalid_argument.
  explicit Network(const NetworkSpec& spec);
  ~Network();

  // image.h, image.w: the caller's; out: (c, h, w), contiguous. max_memory: bytes, 0 for no limit; what the
  // run kept values in stays for the next run. poll is called now and then on the calling thread, and may
  // throw. Throws std::invalid_argument where the frame cannot be run, std::bad_alloc.
  void run(const Image& image, float* out, int threads, int64_t max_memory, const Wiener& wiener,
           const std::function<void()>& poll) const;
  // Bytes beyond image and result.
  int64_t memory(int64_t h, int64_t w, int threads, int64_t max_memory) const;
  // Bytes that the last run has left to the next.
  int64_t kept() const;
  int64_t channels() const { return channels_; }

 private:
  struct Step {
    std::unique_ptr<Layer> layer;
    std::vector<int64_t> in;
    int64_t out = 0;
    int64_t node = -1;   // its number, for `fft_wiener`
    bool whole = false;  // fft_wiener: its result is made between stages
  };
  struct Frame;
  struct Stage;
  struct Summed;
  class Keeping;

  std::vector<Shape> shapes(int64_t h, int64_t w) const;
  Frame plan(int64_t h, int64_t w, int threads, int64_t max_memory) const;
  // The same, made once for a stream of frames.
  std::shared_ptr<const Frame> planned(int64_t h, int64_t w, int threads, int64_t max_memory) const;
  Stage plan_stage(const Frame& frame, int number, int threads, int64_t room) const;
  // Of each strip and of each band.
  std::vector<std::vector<Range>> columns_of(const Frame& frame, const Stage& stage) const;
  std::vector<std::vector<int64_t>> rings_of(const Frame& frame, const Stage& stage) const;
  // For each value what must be made of it, on an axis, for the sinks' parts.
  std::vector<Range> needs(const Frame& frame, const Stage& stage, int axis,
                           const std::vector<Range>& owned) const;
  // The sinks' parts that belong to a part of the image.
  std::vector<Range> owned(const Frame& frame, const Stage& stage, int axis, Range of_image) const;
  std::vector<int64_t> rings(const Frame& frame, const Stage& stage, Range band) const;
  std::vector<Summed> summed(const Frame& frame, const Stage& stage) const;
  Frame staged(const Frame& base, bool keeps) const;
  int64_t rows_at_once() const;
  const Step& maker(int64_t value) const { return steps_[makers_[static_cast<std::size_t>(value)]]; }
  bool loads(int64_t value) const { return maker(value).in.empty(); }
  bool whole(int64_t value) const { return maker(value).whole; }
  bool there(const Frame& frame, int stage, int64_t value) const;
  Buffer<float> memory_of(int64_t floats, bool limited) const;
  void take(const Frame& frame, std::size_t v, const Rows& rows, int64_t y, Range columns, const Rows* kept,
            float* out) const;

  int64_t channels_;
  float scale_, offset_, out_scale_, out_offset_;
  std::array<int64_t, 2> multiple_of_;
  std::vector<Step> steps_;
  std::vector<std::size_t> makers_;  // of each value that is made: the step that does
  std::vector<int> margins_;         // of each value: nothing, zeros or reflection
  int64_t values_ = 0, output_ = 0;
  mutable std::mutex turn_;
  mutable Buffer<float> reserve_;
  mutable std::array<int64_t, 4> planned_for_{};
  mutable std::shared_ptr<const Frame> planned_;
};

}  // namespace fastdeblur::nn
