// Norms and pooling. Sums over a frame are taken in two stages in a fixed order, so that they are the same
// every time: float32 within a segment, double over segments. They are of differences from a channel's first
// number, so that a large mean does not swallow the variance.
#pragma once

#include "cuda/nn/pixelwise.h"

namespace fastdeblur::cuda::nn {

struct FrameSums {
  static constexpr int kThreads = 256, kMostBlocks = 32, kNumbers = 16;  // 8 sums, 8 sums of squares
  static int segments(int64_t pixels) {
    const int64_t n = (pixels + 1023) / 1024;
    return static_cast<int>(n < 512 ? n : 512);
  }
};

// Parts: [segment][block][8 sums, 8 sums of squares].
struct SegmentSums {
  static constexpr int max_threads = FrameSums::kThreads, min_blocks = 4;
  struct Registers {};
  Format f;
  Value in;
  float* parts;
  int segments, width;  // blocks of channels to a block of threads

  static SegmentSums of(Format f, const Value& in, float* parts) {
    const int width = in.blocks < FrameSums::kMostBlocks ? in.blocks : FrameSums::kMostBlocks;
    return {f, in, parts, FrameSums::segments(int64_t(in.h) * in.w), width};
  }
  Geometry geometry() const {
    return {int64_t(segments) * ((in.blocks + width - 1) / width), FrameSums::kThreads,
            FrameSums::kThreads * FrameSums::kNumbers * static_cast<int>(sizeof(float))};
  }

  FD_HD int phases() const { return 2; }
  FD_HD void operator()(int phase, const Thread& t, Registers&) const {
    const int segment = t.block % segments, first = t.block / segments * width;
    const int lanes = t.threads / width, lane = t.index / width, b = first + t.index % width;
    float* shared = t.shared<float>();
    if (phase == 0) {
      const int64_t pixels = int64_t(in.h) * in.w;
      const int64_t begin = pixels * segment / segments, end = pixels * (segment + 1) / segments;
      float sum[8] = {}, square[8] = {}, pivot[8];
      if (b < in.blocks && lane < lanes) {
        load8(in.data, b, f, pivot);
        for (int64_t p = begin + lane; p < end; p += lanes) {
          float v[8];
          load8(in.data, p * in.blocks + b, f, v);
          for (int j = 0; j < 8; ++j) {
            const float away = v[j] - pivot[j];
            sum[j] += away;
            square[j] += away * away;
          }
        }
      }
      for (int j = 0; j < 8; ++j) {
        shared[j * t.threads + t.index] = sum[j];
        shared[(j + 8) * t.threads + t.index] = square[j];
      }
      return;
    }
    for (int i = t.index; i < width * FrameSums::kNumbers; i += t.threads) {
      const int of = i / FrameSums::kNumbers, j = i % FrameSums::kNumbers;
      if (first + of >= in.blocks) continue;
      float sum = 0.0f;
      for (int l = 0; l < lanes; ++l) sum += shared[j * t.threads + l * width + of];
      parts[(int64_t(segment) * in.blocks + first + of) * FrameSums::kNumbers + j] = sum;
    }
  }
};

// A block of threads for each block of channels: means, or what an instance norm does to a number.
struct FrameStatistics {
  static constexpr int max_threads = FrameSums::kThreads, min_blocks = 4;
  static constexpr int kLanes = max_threads / FrameSums::kNumbers;
  struct Registers {};
  Format f;
  Value in;
  const float* parts;
  int segments;
  void* means;                 // of a pool, or null
  const float *weight, *bias;  // of a norm, padded with zeros
  float *centre, *scale, *shift;
  double eps;

  Geometry geometry() const {
    return {in.blocks, max_threads, max_threads * static_cast<int>(sizeof(double))};
  }
  FD_HD int phases() const { return 2; }
  FD_HD void operator()(int phase, const Thread& t, Registers&) const {
    double* shared = t.shared<double>();
    const int b = t.block;
    if (phase == 0) {
      const int j = t.index % FrameSums::kNumbers, lane = t.index / FrameSums::kNumbers;
      double sum = 0;
      for (int s = lane; s < segments; s += kLanes)
        sum += static_cast<double>(parts[(int64_t(s) * in.blocks + b) * FrameSums::kNumbers + j]);
      shared[j * kLanes + lane] = sum;
      return;
    }
    if (t.index >= 8) return;
    const int j = t.index, c = b * 8 + j;
    double sum = 0, square = 0;
    for (int l = 0; l < kLanes; ++l) {
      sum += shared[j * kLanes + l];
      square += shared[(j + 8) * kLanes + l];
    }
    const double pixels = static_cast<double>(in.h) * static_cast<double>(in.w), away = sum / pixels;
    const double mean = static_cast<double>(load1(in.data, c, f)) + away;
    if (means) {
      store1(means, c, f, static_cast<float>(mean));
      return;
    }
    double variance = square / pixels - away * away;
    if (variance < 0) variance = 0;
    centre[c] = static_cast<float>(mean);
    const double w = c >= in.channels ? 0.0 : weight ? static_cast<double>(weight[c]) : 1.0;
    scale[c] = static_cast<float>(w / sqrt(variance + eps));
    shift[c] = bias ? bias[c] : 0.0f;
  }
};

// Over the channels of a pixel. A thread has every lanes-th block of a pixel's, so that neighbours read what
// lies together; the pixel's sums meet in shared memory.
struct LayerNormalised {
  static constexpr int max_threads = 256, min_blocks = 4, kMostLanes = 32;
  struct Registers {
    float v[8], mean;
  };
  Format f;
  Value in, out;
  const float *weight, *bias;  // padded with zeros; null: 1 and 0
  float eps;

  FD_HD int lanes() const { return in.blocks < kMostLanes ? in.blocks : kMostLanes; }
  Geometry geometry() const {
    const int64_t pixels = int64_t(in.h) * in.w, mine = max_threads / lanes();
    return {(pixels + mine - 1) / mine, max_threads, 2 * max_threads * static_cast<int>(sizeof(float))};
  }
  FD_HD int phases() const { return 3; }
  FD_HD void operator()(int phase, const Thread& t, Registers& r) const {
    const int wide = lanes(), of = t.index / wide, lane = t.index - of * wide, mine = t.threads / wide;
    const int64_t pixel = int64_t(t.block) * mine + of, first = pixel * in.blocks;
    if (of >= mine || pixel >= int64_t(in.h) * in.w) return;
    float* sums = t.shared<float>() + (phase == 0 ? 0 : t.threads);
    const float* found = t.shared<float>() + (phase == 2 ? t.threads : 0) + of * wide;
    const float count = static_cast<float>(in.channels);
    float all = 0.0f, sum = 0.0f;
    if (phase > 0)
      for (int l = 0; l < wide; ++l) all += found[l];
    if (phase == 1) r.mean = all / count;
    const float factor = phase == 2 ? 1.0f / sqrtf(all / count + eps) : 0.0f;
    for (int b = lane; b < in.blocks; b += wide) {
      if (phase == 0 || in.blocks > wide) load8(in.data, first + b, f, r.v);
      if (phase == 0) {
        for (int j = 0; j < 8; ++j) sum += r.v[j];  // idle channels are 0
      } else if (phase == 1) {
        for (int j = 0; j < 8; ++j) {
          const float away = b * 8 + j < in.channels ? r.v[j] - r.mean : 0.0f;
          sum += away * away;
        }
      } else {
        float w[8], v[8];
        for (int j = 0; j < 8; ++j) v[j] = (r.v[j] - r.mean) * factor;
        if (weight) {
          load8(weight, b, Format::single, w);
          for (int j = 0; j < 8; ++j) v[j] *= w[j];
        }
        if (bias) {
          load8(bias, b, Format::single, w);
          for (int j = 0; j < 8; ++j) v[j] += w[j];
        }
        clear_idle(v, b, in.channels);
        store8(out.data, first + b, f, v);
      }
    }
    if (phase < 2) sums[t.index] = sum;
  }
};

// Means in a window around every step-th pixel, moved inside the frame: sums down the columns that move with
// the window, then along the rows. They are taken anew every so many places.
struct WindowAxis {
  static constexpr int kAnew = 128;
  int n, k;  // k <= n
  int step, places;
  int together;  // places of a thread's, or 0
  FD_HD int start(int place) const {
    const int64_t at = int64_t(place) * step - k / 2;
    return at < 0 ? 0 : at > n - k ? n - k : static_cast<int>(at);
  }
  FD_HD int segment() const { return together ? together : step < kAnew ? kAnew / step : 1; }
  FD_HD int segments() const { return (places + segment() - 1) / segment(); }
  // use(i, sum) for the places of a segment; add(i, sign) adds a pixel's numbers to the sum.
  template <class Add, class Use>
  FD_HD void run(int which, float (&sum)[8], Add add, Use use) const {
    const int first = which * segment(), end = first + segment() < places ? first + segment() : places;
    int from = start(first);
#if defined(__CUDA_ARCH__)
#pragma unroll 8
#endif
    for (int i = from; i < from + k; ++i) add(i, 1.0f);
    for (int i = first; i < end; ++i) {
      const int to = start(i);
#if defined(__CUDA_ARCH__)
#pragma unroll 4
#endif
      for (; from < to; ++from) {
        add(from + k, 1.0f);
        add(from, -1.0f);
      }
      use(i, sum);
    }
  }
};

// A piece is a block of channels of a segment of a column.
struct WindowColumns {
  Format f;
  Value in;
  float* sums;  // [place][column][channel]
  WindowAxis axis;

  FD_HD void operator()(int64_t i) const {
    const Split at(i, in.blocks), column(at.quotient, in.w);
    const int64_t place = int64_t(column.rest) * in.blocks + at.rest, row = int64_t(in.w) * in.blocks;
    float sum[8] = {};
    axis.run(
        static_cast<int>(column.quotient), sum,
        [&](int y, float sign) {
          float v[8];
          load8(in.data, y * row + place, f, v);
          for (int j = 0; j < 8; ++j) sum[j] += sign * v[j];
        },
        [&](int y, const float (&s)[8]) { store8(sums, y * row + place, Format::single, s); });
  }
};

// A piece is a block of channels of a segment of a row.
struct WindowRows {
  Format f;
  Value out;
  const float* sums;
  WindowAxis axis;
  float scale;

  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks), part(at.quotient, axis.segments());
    const int64_t row = part.quotient * axis.n, result = part.quotient * out.w;
    float sum[8] = {};
    axis.run(
        part.rest, sum,
        [&](int x, float sign) {
          float v[8];
          load8(sums, (row + x) * out.blocks + at.rest, Format::single, v);
          for (int j = 0; j < 8; ++j) sum[j] += sign * v[j];
        },
        [&](int x, const float (&s)[8]) {
          float v[8];
          for (int j = 0; j < 8; ++j) v[j] = s[j] * scale;
          store8(out.data, (result + x) * out.blocks + at.rest, f, v);
        });
  }
};

}  // namespace fastdeblur::cuda::nn
