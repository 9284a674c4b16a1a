// A convolution's weights as its kernel reads them, and the geometry that follows from the layer alone.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <vector>

#include "cuda/nn/convolution.h"

namespace fastdeblur::cuda::nn {

// One launch of a layer's: all of a convolution, or one phase of a transposed one.
struct Packed {
  Convolution shape{};  // all that does not depend on the frame
  int tiles = 8;        // of 8 columns that a block makes: 1, 2, 4 or 8
  std::vector<float> weights, bias;
  std::vector<std::int32_t> offsets;
  bool fits = false;  // whether the patch fits in shared memory
};

// weight(output, input, ky, kx) of a group, and what its launch is.
struct Pack {
  int groups, inputs, outputs;  // channels of a group
  int kh, kw, sy, sx;
  bool reflect, gate;
  int narrow;  // as in Convolution
  int number;  // bytes of a number
  std::function<float(int group, int o, int i, int ky, int kx)> weight;
  std::function<float(int group, int o)> bias;
};

constexpr int kSingleTiles = 4;        // in float32, which is there to compare with: one kernel will do
constexpr int kPatchBytes = 40 << 10;  // that are asked for, so that several blocks share a multiprocessor
constexpr int kMostPatchBytes = 96 << 10;  // that are taken if need be; every device since 8.0 has them

inline double patch_bytes(int kh, int kw, int sy, int sx, int number) {
  return double((kTileHeight - 1) * sy + kh) * ((kTileWidth - 1) * sx + kw) * 8 * number;
}
// Whether a patch of one block of channels fits twice.
inline bool patch_fits(int kh, int kw, int sy, int sx, int number) {
  return 2 * patch_bytes(kh, kw, sy, sx, number) <= kMostPatchBytes;
}
// Whether an image's few channels are better laid out as rows of taps: fewer products for a patch that takes
// longer to lay out. Cycles of a multiprocessor, roughly: of a product, and of 16 bytes for each thread.
inline bool narrow_pays(const Pack& p) {
  const int pieces = (p.kw * p.inputs + 7) / 8, rows = (kTileHeight - 1) * p.sy + p.kh;
  if (p.inputs >= 8 || pieces >= p.kw ||
      double(rows) * kTileWidth * ((pieces | 1) * 8) * p.number > kMostPatchBytes)
    return false;
  if (p.number == 4) return true;  // whose products are long
  const int columns = (p.outputs + 7) / 8, product = 42 + 8 * (columns < 8 ? columns : 8);
  const auto cycles = [&](int halves, int across, int piece) {
    return (halves + 1) / 2 * product + (rows * across + kThreads - 1) / kThreads * piece;
  };
  return cycles(p.kh * pieces, kTileWidth * pieces, 330) <
         cycles(p.kh * p.kw, (kTileWidth - 1) * p.sx + p.kw, 72);
}

inline Packed pack(const Pack& p) {
  const auto up = [](int a, int b) { return (a + b - 1) / b; };
  Packed result;
  Convolution& c = result.shape;
  c.kh = p.kh;
  c.kw = p.kw;
  c.sy = p.sy;
  c.sx = p.sx;
  c.reflect = p.reflect;
  c.gate = p.gate;
  c.narrow = p.narrow;
  c.groups = p.groups;
  c.outputs = p.gate ? p.outputs / 2 : p.outputs;
  c.group_in = up(p.inputs, 8);
  c.group_out = up(c.outputs, 8);

  // Columns: up to 64 to a block, as few idle ones as may be. Of a gate each tile has both halves.
  const int columns = p.gate ? 2 * c.group_out : c.group_out;
  result.tiles = p.number == 4 ? kSingleTiles : 8;
  for (const int n : {1, 2, 4})
    if (p.number == 2 && columns <= n && !(p.gate && n == 1)) {
      result.tiles = n;
      break;
    }
  c.channel_tiles = up(columns, result.tiles);
  const int of_tile = p.gate ? result.tiles / 2 : result.tiles;
  const auto output_at = [&](int tile, int column) {  // -1: idle
    const int half = of_tile * 8, second = p.gate && column >= half;
    const int o = tile * half + (second ? column - half : column);
    return o < c.outputs ? o + (second ? c.outputs : 0) : -1;
  };

  // The patch.
  c.patch_h = (kTileHeight - 1) * p.sy + p.kh;
  c.patch_w = p.narrow ? kTileWidth : (kTileWidth - 1) * p.sx + p.kw;
  const auto pixel = [](int blocks) { return (blocks | 1) * 8; };  // odd: rows of A lie in different banks
  const auto bytes = [&](int blocks, int buffers) {
    return double(c.patch_h) * c.patch_w * pixel(blocks) * p.number * buffers;
  };
  if (p.narrow) {
    c.chunk = up(p.kw * p.narrow, 8);
    c.chunks = 1;
  } else {
    // Whole if it fits, else chunks of like size.
    c.chunks = 1;
    while (c.chunks < c.group_in && bytes(up(c.group_in, c.chunks), c.chunks > 1 ? 2 : 1) > kPatchBytes)
      ++c.chunks;
    c.chunk = up(c.group_in, c.chunks);
    c.chunks = up(c.group_in, c.chunk);
  }
  c.pixel = pixel(c.chunk);
  result.fits = bytes(c.chunk, c.chunks > 1 ? 2 : 1) <= kMostPatchBytes;
  if (!result.fits) return result;
  c.buffer = c.patch_h * c.patch_w * c.pixel;
  const int last = p.narrow ? c.chunk : c.group_in - (c.chunks - 1) * c.chunk;
  c.row = Divider(c.patch_w * c.chunk);
  c.piece = Divider(c.chunk);
  c.last_row = Divider(c.patch_w * last);
  c.last_piece = Divider(last);

  // Halves of steps: (tap, block), or (row of taps, piece of it).
  struct Eight {
    int ky, kx, first;  // first: input, or number of the row
    std::int32_t offset;
  };
  std::vector<Eight> halves;
  for (int chunk = 0; chunk < c.chunks; ++chunk) {
    const int first = chunk * c.chunk, blocks = p.narrow ? c.chunk : std::min(c.chunk, c.group_in - first);
    const auto begin = halves.size();
    for (int ky = 0; ky < p.kh; ++ky)
      for (int kx = 0; kx < (p.narrow ? 1 : p.kw); ++kx)
        for (int b = 0; b < blocks; ++b)
          halves.push_back({ky, kx, (first + b) * 8, (ky * c.patch_w + kx) * c.pixel + b * 8});
    if ((halves.size() - begin) % 2) halves.push_back({-1, 0, 0, 0});
    const int steps = static_cast<int>(halves.size() - begin) / 2;
    if (chunk == 0) c.steps = steps;
    c.last_steps = steps;
  }
  for (const Eight& half : halves) result.offsets.push_back(half.offset);

  const std::size_t steps = halves.size() / 2, step = static_cast<std::size_t>(result.tiles) * kPackedTile;
  const auto all = static_cast<std::size_t>(p.groups * c.channel_tiles);
  result.weights.assign(all * steps * step, 0.0f);
  result.bias.assign(all * static_cast<std::size_t>(result.tiles) * 8, 0.0f);
  for (int group = 0; group < p.groups; ++group)
    for (int tile = 0; tile < c.channel_tiles; ++tile) {
      const auto of = static_cast<std::size_t>(group * c.channel_tiles + tile);
      for (int column = 0; column < result.tiles * 8; ++column) {
        const int o = output_at(tile, column);
        if (o < 0) continue;
        result.bias[of * static_cast<std::size_t>(result.tiles) * 8 + static_cast<std::size_t>(column)] =
            p.bias(group, o);
        for (std::size_t h = 0; h < halves.size(); ++h) {
          const Eight& half = halves[h];
          for (int j = 0; half.ky >= 0 && j < 8; ++j) {
            int input = half.first + j, kx = half.kx;
            if (p.narrow) {
              kx = input / p.narrow;
              input %= p.narrow;
            }
            if (kx >= p.kw || input >= p.inputs) continue;
            const auto at = static_cast<std::size_t>(
                packed_at(static_cast<int>(h % 2) * 8 + j, column % 8, column / 8, result.tiles));
            result.weights[(of * steps + h / 2) * step + at] = p.weight(group, o, input, half.ky, kx);
          }
        }
      }
    }
  return result;
}

}  // namespace fastdeblur::cuda::nn
