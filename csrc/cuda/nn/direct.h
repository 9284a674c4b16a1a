// Convolutions that are no products of large matrices: depthwise ones, and what the tensor cores' kernel does
// not cover (groups of odd sizes, kernels that do not fit in shared memory, very long strides of transposed
// ones).
#pragma once

#include "cuda/nn/convolution.h"
#include "cuda/nn/pixelwise.h"

namespace fastdeblur::cuda::nn {

struct Window2 {
  int kh, kw, sy, sx, top, left;
  bool reflect;
};

// A piece is a block of channels of some pixels of a row. weights: [tap][channel, padded].
struct Depthwise {
  static constexpr int kPixels = 4;
  static constexpr int min_blocks = 2;  // two times 32 sums live in registers
  Format f;
  Value in, out;
  const void* with;  // as a Convolution's
  bool times;
  const float *weights, *bias;
  Activation activation;
  Window2 k;
  bool gate;  // the first half of the channels times the second half is the result; its channels fill whole
              // blocks

  FD_HD int pieces_of_row() const { return (out.w + kPixels - 1) / kPixels; }
  // N taps of a row beside one another, which the pixels share.
  template <int N>
  FD_HD void taps(int row, int first, int step, const float* w, int b, float (&v)[kPixels][8]) const {
    constexpr int kColumns = kPixels + N - 1;
    float tap[kColumns][8];
    FD_UNROLL
    for (int i = 0; i < kColumns;
         ++i) {  // all at once: a branch between two would make one wait for the other
      const int x = inside(first + i * step, in.w, k.reflect);
      load8_or_0(in.data, int64_t(row + x) * in.blocks + b, f, x >= 0 && x < in.w, tap[i]);
    }
    FD_UNROLL
    for (int n = 0; n < N; ++n) {
      float weight[8];
      load8(w, int64_t(n) * in.blocks + b, Format::single, weight);
      FD_UNROLL
      for (int p = 0; p < kPixels; ++p)
        for (int j = 0; j < 8; ++j) v[p][j] += weight[j] * tap[p + n][j];
    }
  }
  FD_HD void sums(int y, int x, int b, float (&v)[kPixels][8]) const {
    float start[8];
    load8(bias, b, Format::single, start);
    FD_UNROLL
    for (int p = 0; p < kPixels; ++p)
      for (int j = 0; j < 8; ++j) v[p][j] = start[j];
    const int left = x * k.sx - k.left;
    FD_LOOP
    for (int ky = 0; ky < k.kh; ++ky) {
      const int iy = inside(y * k.sy + ky - k.top, in.h, k.reflect);
      if (iy < 0 || iy >= in.h) continue;
      const float* w = weights + int64_t(ky * k.kw) * in.blocks * 8;
      if (f != Format::single && k.kw == 3 && k.sx == 1) {
        taps<3>(iy * in.w, left, 1, w, b, v);
      } else {
        FD_LOOP
        for (int kx = 0; kx < k.kw; ++kx)
          taps<1>(iy * in.w, left + kx, k.sx, w + int64_t(kx) * in.blocks * 8, b, v);
      }
    }
  }
  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks), piece(at.quotient, pieces_of_row());
    const int b = at.rest, x = piece.rest * kPixels;
    const auto y = static_cast<int>(piece.quotient);
    float v[kPixels][8] = {}, other[kPixels][8];
    FD_LOOP
    for (int half = 0; half < (gate ? 2 : 1); ++half) {
      FD_UNROLL
      for (int p = 0; p < kPixels; ++p)
        for (int j = 0; j < 8; ++j) other[p][j] = v[p][j];
      sums(y, x, b + half * out.blocks, v);
    }
    if (gate) {
      FD_UNROLL
      for (int p = 0; p < kPixels; ++p)
        for (int j = 0; j < 8; ++j) v[p][j] *= other[p][j];
    }
    FD_UNROLL
    for (int p = 0; p < kPixels; ++p) {
      if (x + p >= out.w) continue;
      const int64_t to = (int64_t(y) * out.w + x + p) * out.blocks + b;
      activate(activation, v[p]);
      if (with) {
        float more[8];
        load8(with, to, f, more);
        for (int j = 0; j < 8; ++j) v[p][j] = times ? v[p][j] * more[j] : v[p][j] + more[j];
      }
      clear_idle(v[p], b, out.channels);
      store8(out.data, to, f, v[p]);
    }
  }
};

// Any convolution, slowly. weights: [output][input of its group][tap].
struct Direct {
  Format f;
  Value in, out;
  const void* with;  // as a Convolution's
  bool times;
  const float *weights, *bias;
  Activation activation;
  Window2 k;
  bool transposed;
  int in_each, out_each;  // channels of a group

  FD_HD void operator()(int64_t i) const {
    const Split at(i, out.blocks), pixel(at.quotient, out.w);
    const int x = pixel.rest, b = at.rest;
    const auto y = static_cast<int>(pixel.quotient);
    float v[8];
    FD_LOOP
    for (int j = 0; j < 8; ++j) {
      const int o = b * 8 + j;
      v[j] = o < out.channels ? sum(y, x, o) : 0.0f;
    }
    activate(activation, v);
    if (with) {
      float more[8];
      load8(with, i, f, more);
      for (int j = 0; j < 8; ++j) v[j] = times ? v[j] * more[j] : v[j] + more[j];
    }
    clear_idle(v, b, out.channels);
    store8(out.data, i, f, v);
  }

 private:
  // Where tap j of position i lies, or -1.
  FD_HD int from(int i, int j, int stride, int before, int n) const {
    if (transposed) {
      const int at = i + before - j;
      return at >= 0 && at % stride == 0 && at / stride < n ? at / stride : -1;
    }
    const int at = inside(i * stride + j - before, n, k.reflect);
    return at < n ? at : -1;
  }
  FD_HD float sum(int y, int x, int o) const {
    float s = bias[o];
    const int first = o / out_each * in_each, taps = k.kh * k.kw;
    for (int ky = 0; ky < k.kh; ++ky) {
      const int iy = from(y, ky, k.sy, k.top, in.h);
      if (iy < 0) continue;
      for (int kx = 0; kx < k.kw; ++kx) {
        const int ix = from(x, kx, k.sx, k.left, in.w);
        if (ix < 0) continue;
        const float* w = weights + int64_t(o) * in_each * taps + ky * k.kw + kx;
        const int64_t pixel = (int64_t(iy) * in.w + ix) * in.blocks * 8 + first;
        for (int c = 0; c < in_each; ++c) s += w[int64_t(c) * taps] * load1(in.data, pixel + c, f);
      }
    }
    return s;
  }
};

}  // namespace fastdeblur::cuda::nn
