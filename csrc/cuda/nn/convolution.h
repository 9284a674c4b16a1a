// Convolutions as products of matrices: a block of threads makes 8 x 16 pixels of up to 64 channels.
//
// The input's patch that these pixels see is copied to shared memory, some blocks of 8 channels at a time,
// while the tensor cores work on those before. A row of the left matrix are one pixel's inputs; which they
// are, 8 numbers by 8, is a table of offsets into the patch: a tap's channel blocks, tap by tap. So channels
// are padded to 8 and not to 16, and any kernel, stride and phase of a transposed convolution is a table.
//
// An image of few channels would be mostly padding. Its patch holds, for each pixel of the result, the row of
// taps that it sees, kernel width times channels numbers one after the other.
#pragma once

#include <type_traits>

#include "cuda/fft/complex.h"
#include "cuda/nn/activate.h"
#include "cuda/nn/tile.h"

namespace fastdeblur::cuda::nn {

constexpr int kTileHeight = 8, kTileWidth = 16, kTilePixels = kTileHeight * kTileWidth;
constexpr int kRowsOfWarp = 2;
constexpr int kThreads = kTileHeight / kRowsOfWarp * kWarp;

// What a convolution is and what it is given. Blocks are of 8 channels.
struct Convolution {
  const void* in;
  void* out;
  const void* with;  // of the result's shape: added after the activation, or multiplied (`times`); or null
  bool times;
  const void* weights;  // [group][tile of channels][step][packed]
  const float* bias;    // of all columns, as the weights have them
  const std::int32_t* offsets;
  Activation activation;
  int ih, iw, in_blocks;  // input; blocks of a pixel in memory
  int h, w;               // positions to make
  int sy, sx, y0, x0;     // position (y, x) sees the patch that begins at (y sy + y0, x sx + x0)
  int kh, kw;
  bool reflect;
  int out_h, out_w, out_blocks;     // the result in memory
  int osy, osx, oy0, ox0;           // position (y, x) is its pixel (y osy + oy0, x osx + ox0)
  int outputs;                      // channels of a group's result
  int groups, group_in, group_out;  // blocks of a group's input and result
  int channel_tiles;                // of a group
  int chunk, chunks;                // blocks of the patch at a time
  int steps, last_steps;            // products of 16 of a chunk, of the last one
  int narrow;                       // channels of an image of few, else 0
  bool shuffled;                    // osy x osx pixels' channels one after the other
  bool gate;                        // the first half of a tile's columns times the second half is the result
  // The patch; numbers.
  int patch_h, patch_w, pixel, buffer;
  Divider row, last_row, piece, last_piece;  // pieces of 8 numbers of a row of the patch and of a pixel

  FD_HD int tiles_x() const { return (w + kTileWidth - 1) / kTileWidth; }
  FD_HD int tiles_y() const { return (h + kTileHeight - 1) / kTileHeight; }
  FD_HD int all_steps() const { return (chunks - 1) * steps + last_steps; }
  int64_t blocks() const { return int64_t(tiles_x()) * tiles_y() * channel_tiles * groups; }
};

FD_HD int inside(int i, int n, bool reflect) {
  if (!reflect) return i;
  i = i < 0 ? -i : i;
  i = i >= n ? 2 * (n - 1) - i : i;
  return i < 0 ? 0 : i >= n ? n - 1 : i;  // what only pixels past the frame's end see
}

// Bytes: of a number. Which of those of two bytes are meant is known when it runs: half as many kernels.
template <int Bytes, int NT>
struct ConvolutionKernel {
  using Raw = std::conditional_t<Bytes == 2, std::uint16_t, float>;
  static constexpr int max_threads = kThreads, min_blocks = NT == 8 ? 4 : 6;
  static constexpr int kColumns = NT * 8;
  static constexpr int kPitch = kColumns + (NT == 8 ? 8 : 4);  // of a pixel's sums in shared memory
  struct Place {
    int x, y, tile, group;
  };
  struct Registers {
    Place place;
    float sum[kRowsOfWarp][NT][4];
  };

  Convolution c;
  Format f;

  // Chunk after chunk is copied and, a phase later, multiplied; then the sums go through shared memory, so
  // that they are stored 16 bytes at a time.
  FD_HD int phases() const { return c.chunks + 3; }

  static int shared_bytes(const Convolution& c) {
    const int patches = c.buffer * (c.chunks > 1 ? 2 : 1) * Bytes;
    const int sums = kTilePixels * kPitch * static_cast<int>(sizeof(float));
    return patches > sums ? patches : sums;
  }

  FD_HD void operator()(int phase, const Thread& t, Registers& r) const {
    if (phase == 0) r.place = place_of(t.block);
    const Place& place = r.place;
    if (phase < c.chunks) copy(phase, place, t);
    if (phase == 0) begin(place, t, r);
    if (phase > 0 && phase <= c.chunks) {
      if constexpr (Bytes == 4)
        multiply_chunk<float>(phase - 1, place, t, r);
      else if (f == Format::half)
        multiply_chunk<Half>(phase - 1, place, t, r);
      else
        multiply_chunk<Bfloat>(phase - 1, place, t, r);
    }
    if (phase < c.chunks) wait_for_copies();
    if (phase == c.chunks + 1) {
      float* sums = t.shared<float>();
      const int lane = t.index % kWarp, first = t.index / kWarp * kRowsOfWarp * kTileWidth;
      FD_UNROLL
      for (int m = 0; m < kRowsOfWarp; ++m) FD_UNROLL
      for (int n = 0; n < NT; ++n) FD_UNROLL
      for (int i = 0; i < 4; ++i)
        sums[(first + m * kTileWidth + sum_row(lane, i)) * kPitch + n * 8 + sum_column(lane, i)] =
            r.sum[m][n][i];
    }
    if (phase == c.chunks + 2) finish(place, t);
  }

 private:
  FD_HD Place place_of(int block) const {
    const int across = c.tiles_x(), down = c.tiles_y();
    Place p;
    p.x = block % across * kTileWidth;
    block /= across;
    p.y = block % down * kTileHeight;
    block /= down;
    p.tile = block % c.channel_tiles;
    p.group = block / c.channel_tiles;
    return p;
  }

  // Sums begin with the bias.
  FD_HD void begin(const Place& place, const Thread& t, Registers& r) const {
    const float* bias = c.bias + int64_t(place.group * c.channel_tiles + place.tile) * kColumns;
    FD_UNROLL
    for (int n = 0; n < NT; ++n) FD_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float x = bias[n * 8 + sum_column(t.index % kWarp, i)];
      FD_UNROLL
      for (int m = 0; m < kRowsOfWarp; ++m) r.sum[m][n][i] = x;
    }
  }

  FD_HD int blocks_of(int chunk) const {
    const int all = c.narrow ? c.chunk : c.group_in;
    return chunk + 1 < c.chunks ? c.chunk : all - chunk * c.chunk;
  }

  FD_HD void copy(int chunk, const Place& place, const Thread& t) const {
    Raw* patch = t.shared<Raw>() + chunk % 2 * c.buffer;
    const int y0 = place.y * c.sy + c.y0, x0 = place.x * c.sx + c.x0;
    if (c.narrow) {
      copy_narrow(patch, y0, x0, t);
      return;
    }
    const int blocks = blocks_of(chunk), first = place.group * c.group_in + chunk * c.chunk;
    const int row = c.patch_w * blocks, count = c.patch_h * row;
    const Divider by_row = chunk + 1 < c.chunks ? c.row : c.last_row;
    const Divider by_piece = chunk + 1 < c.chunks ? c.piece : c.last_piece;
    const Raw* in = static_cast<const Raw*>(c.in);
    for (int i = t.index; i < count; i += t.threads) {
      const int py = by_row(i), rest = i - py * row, px = by_piece(rest), b = rest - px * blocks;
      const int y = inside(y0 + py, c.ih, c.reflect), x = inside(x0 + px, c.iw, c.reflect);
      const bool there = y >= 0 && y < c.ih && x >= 0 && x < c.iw;
      const Raw* from = there ? in + (int64_t(y * c.iw + x) * c.in_blocks + first + b) * 8 : in;
      Raw* to = patch + (py * c.patch_w + px) * c.pixel + b * 8;
      constexpr int kPieces = Bytes * 8 / 16;
      for (int k = 0; k < kPieces; ++k) copy16(to + k * (8 / kPieces), from + k * (8 / kPieces), there);
    }
  }

  // Eight numbers of a row of taps at a time.
  FD_HD void copy_narrow(Raw* patch, int y0, int x0, const Thread& t) const {
    const int row = c.patch_w * c.chunk, count = c.patch_h * row;
    const Raw* in = static_cast<const Raw*>(c.in);
    for (int i = t.index; i < count; i += t.threads) {
      const int py = c.row(i), rest = i - py * row, px = c.piece(rest), b = rest - px * c.chunk;
      const int y = inside(y0 + py, c.ih, c.reflect);
      const bool there = y >= 0 && y < c.ih;
      const int first = b * 8 / c.narrow, left = x0 + px * c.sx;
      const Raw* from = in + int64_t(there ? y * c.iw : 0) * c.in_blocks * 8;
      alignas(16) Raw eight[8];
      int tap = first, channel = b * 8 - first * c.narrow;
      FD_UNROLL
      for (int j = 0; j < 8; ++j) {
        const int x = inside(left + tap, c.iw, c.reflect);
        Raw value{};
        if (there && tap < c.kw && x >= 0 && x < c.iw) value = from[int64_t(x) * c.in_blocks * 8 + channel];
        eight[j] = value;
        const bool next = ++channel == c.narrow;
        tap += next;
        channel = next ? 0 : channel;
      }
      Raw* to = patch + (py * c.patch_w + px) * c.pixel + b * 8;
      store_numbers(to, eight);
    }
  }

  static FD_HD void store_numbers(std::uint16_t* to, const std::uint16_t (&v)[8]) {
    Words words;
    for (int k = 0; k < 4; ++k) words.w[k] = v[2 * k] | std::uint32_t(v[2 * k + 1]) << 16;
    store_words(to, words);
  }
  static FD_HD void store_numbers(float* to, const float (&v)[8]) { store8(to, 0, Format::single, v); }

  template <class T>
  FD_HD void multiply_chunk(int chunk, const Place& place, const Thread& t, Registers& r) const {
#if defined(__CUDA_ARCH__)
    __syncwarp();  // its threads copied different numbers of pieces; what follows wants them together
#endif
    const int lane = t.index % kWarp, warp = t.index / kWarp;
    const T* patch = t.shared<T>() + chunk % 2 * c.buffer;
    const int across = c.narrow ? c.pixel : c.sx * c.pixel, down = c.sy * c.patch_w * c.pixel;
    const Rows16 rows{warp * kRowsOfWarp * down, down, across};
    const int steps = chunk + 1 < c.chunks ? c.steps : c.last_steps, before = chunk * c.steps;
    const std::int32_t* offsets = c.offsets + 2 * before;
    const T* weights =
        static_cast<const T*>(c.weights) +
        (int64_t(place.group * c.channel_tiles + place.tile) * c.all_steps() + before) * (NT * kPackedTile);
#if defined(__CUDA_ARCH__)
#pragma unroll(NT == 8 || sizeof(T) == 4 ? 1 : 2)
#endif
    for (int s = 0; s < steps; ++s) {
      multiply<T, kRowsOfWarp, NT>(r.sum, patch, rows, offsets, weights, lane);
      offsets += 2;
      weights += NT * kPackedTile;
    }
  }

  FD_HD void finish(const Place& place, const Thread& t) const {
    const float* sums = t.shared<float>();
    constexpr int kLog = NT == 8 ? 3 : NT == 4 ? 2 : NT == 2 ? 1 : 0, half = kColumns / 2;
    const int log = kLog - (c.gate ? 1 : 0), made = 1 << log;
    for (int i = t.index; i < kTilePixels * made; i += t.threads) {
      const int pixel = i >> log, b = i & (made - 1);
      const int y = place.y + pixel / kTileWidth, x = place.x + pixel % kTileWidth;
      int block = place.tile * made + b;
      if (y >= c.h || x >= c.w || block >= c.group_out) continue;
      const float* from = sums + pixel * kPitch + b * 8;
      float v[8];
      for (int j = 0; j < 8; ++j) v[j] = from[j];
      if (c.gate)
        for (int j = 0; j < 8; ++j) v[j] *= from[half + j];
      int down = c.oy0, along = c.ox0;
      if (c.shuffled) {  // one of the pixels that it becomes
        int phase = 0;
        for (; block >= c.out_blocks; block -= c.out_blocks) ++phase;
        down = phase / c.osx;
        along = phase - down * c.osx;
      }
      const int64_t at = int64_t((y * c.osy + down) * c.out_w + x * c.osx + along) * c.out_blocks +
                         (place.group * c.group_out + block);
      activate(c.activation, v);
      if (c.with) {
        float more[8];
        load8(c.with, at, f, more);
        for (int j = 0; j < 8; ++j) v[j] = c.times ? v[j] * more[j] : v[j] + more[j];
      }
      if (block * 8 + 8 > c.outputs)
        for (int j = 0; j < 8; ++j) v[j] = block * 8 + j < c.outputs ? v[j] : 0.0f;
      store8(c.out, at, f, v);
    }
  }
};

}  // namespace fastdeblur::cuda::nn
