// Layers that make each pixel from few others: what they compute for one piece of the result, mostly 8
// channels of a pixel. The format of numbers is no template parameter: memory is what these wait for.
#pragma once

#include "cuda/launch.h"
#include "cuda/nn/activate.h"
#include "cuda/nn/numbers.h"
#include "cuda/reader.h"

namespace fastdeblur::cuda::nn {

// A thread for each piece.
template <class Body>
struct Each {
  static constexpr int max_threads = 256;
  static constexpr int min_blocks = [] {
    if constexpr (requires { Body::min_blocks; })
      return Body::min_blocks;
    else
      return 4;
  }();
  struct Registers {};

  int64_t count;
  Body body;

  FD_HD int phases() const { return 1; }
  FD_HD void operator()(int, const Thread& t, Registers&) const {
    const int64_t i = int64_t(t.block) * t.threads + t.index;
    if (i >= count) return;
#if defined(__CUDA_ARCH__)
    // Each format has loops of its own: a branch between two loads would make the second wait for the first.
    if (body.f == Format::half)
      as<Format::half>(i);
    else if (body.f == Format::bfloat)
      as<Format::bfloat>(i);
    else
      as<Format::single>(i);
#else
    body(i);
#endif
  }

 private:
  template <Format F>
  FD_HD void as(int64_t i) const {
    Body mine = body;
    mine.f = F;
    mine(i);
  }
};

template <class Body, class Launcher>
void launch_each(Launcher& launcher, Stream stream, int64_t count, const Body& body) {
  if (count > 0) launcher.launch(stream, Each<Body>{count, body}, {(count + 255) / 256, 256, 0});
}

// i as quotient and rest; divisions of 64 bits are long.
struct Split {
  int64_t quotient;
  int rest;
  FD_HD Split(int64_t i, int64_t by) {
    if (i <= 0xffffffffll && by <= 0xffffffffll) {
      const auto q = static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(by);
      quotient = q;
      rest = static_cast<int>(static_cast<std::uint32_t>(i) - q * static_cast<std::uint32_t>(by));
    } else {
      quotient = i / by;
      rest = static_cast<int>(i - quotient * by);
    }
  }
};

FD_HD void clear_idle(float (&v)[8], int block, int channels) {
  if (block * 8 + 8 <= channels) return;
  for (int j = 0; j < 8; ++j) v[j] = block * 8 + j < channels ? v[j] : 0.0f;
}

// Value on a device: pixels of `blocks` blocks of 8 channels.
struct Value {
  void* data;
  int h, w, channels, blocks;
};

// out = activation((x - centre) scale + shift), then with y added or multiplied. Numbers by channel may be
// null.
struct Elementwise {
  enum With { nothing, add, multiply };
  Format f, to;  // of what is read, and of the result
  Value x, y, out;
  const float *centre, *scale, *shift, *slope;
  Activation activation;
  With with;
  bool by_pixel, by_channel;  // y has one for every pixel, for every channel; else one for all

  FD_HD void operator()(int64_t i) const {
    float v[8];
    load8(x.data, i, f, v);
    const Split at(i, x.blocks);
    const int b = at.rest;
    if (centre)
      for (int j = 0; j < 8; ++j) v[j] -= centre[b * 8 + j];
    if (scale)
      for (int j = 0; j < 8; ++j) v[j] *= scale[b * 8 + j];
    if (shift)
      for (int j = 0; j < 8; ++j) v[j] += shift[b * 8 + j];
    if (slope)
      for (int j = 0; j < 8; ++j) v[j] = v[j] < 0.0f ? v[j] * slope[b * 8 + j] : v[j];
    activate(activation, v);
    if (with != nothing) {
      float other[8];
      const int64_t pixel = by_pixel ? at.quotient * y.blocks : 0;
      if (by_channel) {
        load8(y.data, pixel + b, f, other);
      } else {
        const float one = load1(y.data, pixel * 8, f);
        for (float& o : other) o = one;
      }
      for (int j = 0; j < 8; ++j) v[j] = with == add ? v[j] + other[j] : v[j] * other[j];
    }
    clear_idle(v, b, out.channels);
    store8(out.data, i, to, v);
  }
};

// x times what there is for every step-th pixel, between which it is interpolated.
struct Spread {
  Format f;
  Value x, grid, out;
  int step[2];

  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks), pixel(at.quotient, out.w);
    const Split down(pixel.quotient, step[0]), across(pixel.rest, step[1]);
    const int64_t above = down.quotient, left = across.quotient;
    const int64_t below = above + 1 < grid.h ? above + 1 : above, right = left + 1 < grid.w ? left + 1 : left;
    const float share = static_cast<float>(down.rest) / static_cast<float>(step[0]);
    const float along = static_cast<float>(across.rest) / static_cast<float>(step[1]);
    float first[8], second[8], other[8], v[8];
    const auto read = [&](int64_t row, int64_t column, float (&to)[8]) {
      load8(grid.data, (row * grid.w + column) * grid.blocks + at.rest, f, to);
    };
    read(above, left, first);
    read(below, left, other);
    for (int j = 0; j < 8; ++j) first[j] += share * (other[j] - first[j]);
    read(above, right, second);
    read(below, right, other);
    for (int j = 0; j < 8; ++j) second[j] += share * (other[j] - second[j]);
    load8(x.data, i, f, v);
    for (int j = 0; j < 8; ++j) v[j] *= first[j] + along * (second[j] - first[j]);
    clear_idle(v, at.rest, out.channels);
    store8(out.data, i, f, v);
  }
};

struct Gate {
  Format f;
  Value in, out;

  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks);
    const int b = at.rest, half = out.channels;
    const int64_t pixel = at.quotient * in.blocks;
    float v[8], other[8];
    load8(in.data, pixel + b, f, v);
    if (half % 8 == 0) {
      load8(in.data, pixel + b + half / 8, f, other);
    } else {
      for (int j = 0; j < 8; ++j)
        other[j] = b * 8 + j < half ? load1(in.data, pixel * 8 + half + b * 8 + j, f) : 0.0f;
    }
    for (int j = 0; j < 8; ++j) v[j] *= other[j];
    clear_idle(v, b, half);
    store8(out.data, i, f, v);
  }
};

// A value's channels to those of `out` from `first` on; a piece is a block of `out` that has some of them.
// Idle channels after the last are cleared.
struct Join {
  Format f;
  Value in, out;
  int first;
  bool last;

  FD_HD int pieces() const { return (first + in.channels + 7) / 8 - first / 8; }
  FD_HD void operator()(int64_t i) const {
    const Split at(i, pieces());
    const int b = first / 8 + at.rest;
    const int64_t from = at.quotient * in.blocks, to = at.quotient * out.blocks + b;
    if (first % 8 == 0 && (last || b * 8 + 8 <= first + in.channels)) {
      float v[8];
      load8(in.data, from + at.rest, f, v);
      store8(out.data, to, f, v);
      return;
    }
    for (int j = 0; j < 8; ++j) {
      const int c = b * 8 + j - first;
      if (c >= 0 && c < in.channels)
        store1(out.data, to * 8 + j, f, load1(in.data, from * 8 + c, f));
      else if (last && c >= in.channels)
        store1(out.data, to * 8 + j, f, 0.0f);
    }
  }
};

// Pixel shuffle and its reverse.
struct Shuffle {
  Format f;
  Value in, out;
  int factor;
  bool back;

  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks), pixel(at.quotient, out.w);
    const auto y = static_cast<int>(pixel.quotient);
    const int x = pixel.rest;
    float v[8];
    for (int j = 0; j < 8; ++j) {
      const int c = at.rest * 8 + j;
      v[j] = 0.0f;
      if (c >= out.channels) continue;
      int from, sy, sx;
      if (back) {
        const int square = factor * factor, place = c % square;
        from = c / square;
        sy = y * factor + place / factor;
        sx = x * factor + place % factor;
      } else {
        sy = y / factor;
        sx = x / factor;
        from = (c * factor + y - sy * factor) * factor + x - sx * factor;
      }
      v[j] = load1(in.data, (int64_t(sy) * in.w + sx) * in.blocks * 8 + from, f);
    }
    store8(out.data, i, f, v);
  }
};

struct Resized {
  Format f;
  Value in, out;
  int up[2], down[2];
  bool bilinear;

  struct Place {
    int first, second;
    float share;
  };
  FD_HD Place place(int axis, int i, int n) const {
    const int64_t u = up[axis], d = down[axis];
    if (!bilinear || u == d) {
      const auto at = static_cast<int>(i * d / u);
      return {at, at, 0.0f};
    }
    const int64_t twice = (2 * int64_t(i) + 1) * d - u;  // ((i + 0.5) d / u - 0.5) 2 u
    if (twice <= 0) return {0, n > 1 ? 1 : 0, 0.0f};
    const int64_t first = twice / (2 * u);
    if (first >= n - 1) return {n - 1, n - 1, 0.0f};
    return {static_cast<int>(first), static_cast<int>(first) + 1,
            static_cast<float>(twice - first * 2 * u) / static_cast<float>(2 * u)};
  }
  FD_HD void load(int y, int x, int b, float (&v)[8]) const {
    load8(in.data, (int64_t(y) * in.w + x) * in.blocks + b, f, v);
  }
  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks), pixel(at.quotient, out.w);
    const Place y = place(0, static_cast<int>(pixel.quotient), in.h), x = place(1, pixel.rest, in.w);
    float v[8];
    load(y.first, x.first, at.rest, v);
    if (bilinear) {
      float below[8], right[8], corner[8];
      load(y.second, x.first, at.rest, below);
      load(y.first, x.second, at.rest, right);
      load(y.second, x.second, at.rest, corner);
      for (int j = 0; j < 8; ++j) {
        const float a = v[j] + y.share * (below[j] - v[j]), b = right[j] + y.share * (corner[j] - right[j]);
        v[j] = a + x.share * (b - a);
      }
    }
    store8(out.data, i, f, v);
  }
};

// --- in and out ---

// The caller's image to a value: normalised, continued at its bottom and right by reflection, or by
// its border pixel where it is too small for that. A piece is a pixel's block; pixels lie together in the
// image.
struct Load {
  Format f;
  Pixels image;
  float white;
  int h, w;
  float scale, offset;
  Value out;
  int* bad;  // becomes 1 where the image has no number or one beyond the limit
  float limit;

  FD_HD static int place(int i, int n, int all) { return i < n ? i : all - n < n ? 2 * (n - 1) - i : n - 1; }
  FD_HD void operator()(int64_t i) const {
    const Split at(i, int64_t(out.h) * out.w), pixel(at.rest, out.w);
    const auto b = static_cast<int>(at.quotient);
    const int y = place(static_cast<int>(pixel.quotient), h, out.h), x = place(pixel.rest, w, out.w);
    float v[8];
    for (int j = 0; j < 8; ++j) {
      const int c = b * 8 + j;
      v[j] = 0.0f;
      if (c >= out.channels) continue;
      const float given = image.at<float>(c, y, x) / white;
      if (bad && !(given <= limit && given >= -limit)) *bad = 1;
      v[j] = given * scale + offset;
    }
    store8(out.data, at.rest * int64_t(out.blocks) + b, f, v);
  }
};

// A value to float32, (c, h, w), of any strides; of a piece, a pixel, all channels.
struct ToPlanes {
  Format f;
  Value in;
  float* out;
  int64_t stride[3];  // bytes
  int w;
  float scale, offset;
  int* bad;  // becomes 1 where a result is no finite number

  FD_HD void operator()(int64_t i) const {
    const Split pixel(i, w);
    const int64_t from = (pixel.quotient * in.w + pixel.rest) * in.blocks;
    for (int b = 0; b < in.blocks; ++b) {
      float v[8];
      load8(in.data, from + b, f, v);
      for (int j = 0; j < 8; ++j) {
        if (b * 8 + j >= in.channels) continue;
        const float made = v[j] * scale + offset;
        if (bad && !(made - made == 0.0f)) *bad = 1;
        *reinterpret_cast<float*>(reinterpret_cast<char*>(out) + (b * 8 + j) * stride[0] +
                                  pixel.quotient * stride[1] + pixel.rest * stride[2]) = made;
      }
    }
  }
};

}  // namespace fastdeblur::cuda::nn
