// The convolution kernel, stepped on the host, against sums in double precision; and the numbers of 16 bits.
#pragma once

#include <cmath>
#include <cstdio>
#include <random>

#include "cuda/nn/convolution_launch.h"
#include "cuda/nn/packing.h"
#include "cuda_nn_cases.h"

namespace fastdeblur::tests::convolutions {

using namespace fastdeblur::cuda;
using namespace fastdeblur::cuda::nn;

struct Case {
  int inputs, outputs, groups, kh, kw, sy, sx, top, left, h, w;
  bool reflect, gate, narrow, add;
};

template <class T>
std::vector<T> rounded(const std::vector<float>& x) {
  std::vector<T> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) set(y[i], x[i]);
  return y;
}

template <class T>
void check_case(const Case& k, double tolerance) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const int ci = k.inputs / k.groups, co = k.outputs / k.groups;
  const int in_c = (k.inputs + 7) / 8 * 8, out_each = k.gate ? co / 2 : co, outs = out_each * k.groups,
            out_c = (outs + 7) / 8 * 8;
  const int oh = (k.h + 2 * k.top - k.kh) / k.sy + 1, ow = (k.w + 2 * k.left - k.kw) / k.sx + 1;
  std::vector<float> x(static_cast<std::size_t>(k.h * k.w * in_c)),
      weight(static_cast<std::size_t>(k.outputs * ci * k.kh * k.kw)),
      bias(static_cast<std::size_t>(k.outputs)), more(static_cast<std::size_t>(oh * ow * out_c));
  for (int i = 0; i < k.h * k.w; ++i)
    for (int c = 0; c < k.inputs; ++c) x[static_cast<std::size_t>(i * in_c + c)] = normal(random);
  const float scale = 1.0f / std::sqrt(static_cast<float>(ci * k.kh * k.kw));
  for (float& w : weight) w = normal(random) * scale;
  for (float& b : bias) b = normal(random);
  for (float& m : more) m = normal(random);
  const auto xt = rounded<T>(x), wt = rounded<T>(weight), mt = rounded<T>(more);
  const auto w_at = [&](int g, int o, int i, int ky, int kx) {
    return to_float(wt[static_cast<std::size_t>((((g * co + o) * ci + i) * k.kh + ky) * k.kw + kx)]);
  };
  const Packed p =
      pack({k.groups, ci, co, k.kh, k.kw, k.sy, k.sx, k.reflect, k.gate, k.narrow ? ci : 0, sizeof(T), w_at,
            [&](int g, int o) { return bias[static_cast<std::size_t>(g * co + o)]; }});
  expect(p.fits, "the patch fits");
  const auto weights = rounded<T>(p.weights);
  std::vector<T> out(static_cast<std::size_t>(oh * ow * out_c)), again(out);
  Convolution c = p.shape;
  c.in = xt.data();
  c.out = out.data();
  c.with = k.add ? mt.data() : nullptr;
  c.weights = weights.data();
  c.bias = p.bias.data();
  c.offsets = p.offsets.data();
  c.activation = {k.add ? Activation::leaky : Activation::none, 0.25f};
  c.ih = k.h;
  c.iw = k.w;
  c.in_blocks = in_c / 8;
  c.h = c.out_h = oh;
  c.w = c.out_w = ow;
  c.y0 = -k.top;
  c.x0 = -k.left;
  c.out_blocks = out_c / 8;
  c.osy = c.osx = 1;
  c.oy0 = c.ox0 = 0;
  HostLauncher in_order(HostLauncher::Order::ascending), shuffled(HostLauncher::Order::shuffled, 5);
  launch_convolution(in_order, nullptr, format_of<T>, p.tiles, c);
  c.out = again.data();
  launch_convolution(shuffled, nullptr, format_of<T>, p.tiles, c);
  double error = 0, norm = 0;
  expect(std::memcmp(out.data(), again.data(), out.size() * sizeof(T)) == 0,
         "the order of threads changes nothing");
  const auto sum = [&](int g, int o, int y, int xx) {
    double s = static_cast<double>(bias[static_cast<std::size_t>(g * co + o)]);
    for (int ky = 0; ky < k.kh; ++ky)
      for (int kx = 0; kx < k.kw; ++kx) {
        int iy = y * k.sy + ky - k.top, ix = xx * k.sx + kx - k.left;
        if (k.reflect) {
          iy = std::abs(iy);
          ix = std::abs(ix);
          iy = std::min(iy, 2 * (k.h - 1) - iy);
          ix = std::min(ix, 2 * (k.w - 1) - ix);
        }
        if (iy < 0 || iy >= k.h || ix < 0 || ix >= k.w) continue;
        for (int i = 0; i < ci; ++i)
          s += static_cast<double>(w_at(g, o, i, ky, kx)) *
               static_cast<double>(
                   to_float(xt[static_cast<std::size_t>((iy * k.w + ix) * in_c + g * ci + i)]));
      }
    return s;
  };
  for (int y = 0; y < oh; ++y)
    for (int xx = 0; xx < ow; ++xx)
      for (int ch = 0; ch < out_c; ++ch) {
        const auto at = static_cast<std::size_t>((y * ow + xx) * out_c + ch);
        double wanted = 0;
        if (ch < outs) {
          const int g = ch / out_each, o = ch % out_each;
          wanted = sum(g, o, y, xx);
          if (k.gate) wanted *= sum(g, o + out_each, y, xx);
          if (k.add) {
            if (wanted < 0) wanted *= 0.25;
            wanted += static_cast<double>(to_float(mt[at]));
          }
        }
        const double away = static_cast<double>(to_float(out[at])) - wanted;
        error += away * away;
        norm += wanted * wanted;
      }
  if (!(std::sqrt(error) <= tolerance * std::sqrt(norm))) {
    ++failures;
    std::printf("FAILED: %d -> %d channels, %d groups, kernel %d x %d, stride %d %d, %d x %d pixels: %.2e\n",
                k.inputs, k.outputs, k.groups, k.kh, k.kw, k.sy, k.sx, k.h, k.w, std::sqrt(error / norm));
  }
}

inline void check_numbers() {
  for (std::uint32_t i = 0; i < 0x10000; ++i) {
    const Half h{static_cast<std::uint16_t>(i)};
    const float x = to_float(h);
    Half back;
    set(back, x);
    if (x == x)
      expect(back.bits == h.bits, "a half becomes itself");
    else
      expect((back.bits & 0x7fff) > 0x7c00, "no number stays none");
    const Bfloat b{static_cast<std::uint16_t>(i)};
    Bfloat same;
    set(same, to_float(b));
    if (to_float(b) == to_float(b)) expect(same.bits == b.bits, "a bfloat16 becomes itself");
    if (i < 0x7c00) {  // between two neighbours: to the nearer one, the middle to the even one
      const float above = i + 1 == 0x7c00 ? 65536.0f : to_float(Half{static_cast<std::uint16_t>(i + 1)});
      const float middle = (x + above) / 2;
      Half low, exact, high;
      set(low, std::nextafter(middle, 0.0f));
      set(exact, middle);
      set(high, std::nextafter(middle, 1e9f));
      expect(low.bits == i && high.bits == i + 1 && exact.bits == (i & 1 ? i + 1 : i), "a half is rounded");
    }
  }
}

inline void check() {
  check_numbers();
  const Case cases[] = {
      {16, 16, 1, 3, 3, 1, 1, 1, 1, 13, 21, false, false, false, false},
      {8, 8, 1, 3, 3, 1, 1, 1, 1, 1, 1, false, false, false, false},
      {24, 9, 1, 3, 3, 1, 1, 1, 1, 10, 17, true, false, false, true},
      {64, 72, 1, 3, 3, 1, 1, 1, 1, 9, 18, false, false, false, false},
      {72, 64, 1, 5, 5, 1, 1, 2, 2, 7, 19, false, false, false, true},
      {16, 24, 1, 2, 2, 2, 2, 0, 0, 22, 34, false, false, false, false},
      {9, 17, 1, 3, 5, 2, 3, 1, 2, 23, 40, false, false, false, false},
      {48, 32, 2, 3, 3, 1, 1, 1, 1, 11, 16, false, false, false, false},
      {32, 64, 1, 1, 1, 1, 1, 0, 0, 12, 30, false, true, false, false},
      {32, 144, 1, 1, 1, 1, 1, 0, 0, 6, 9, false, true, false, false},
      {8, 18, 1, 3, 3, 1, 1, 1, 1, 6, 9, false, true, false, false},
      {1, 64, 1, 9, 9, 1, 1, 4, 4, 10, 33, true, false, true, false},
      {3, 16, 1, 3, 3, 1, 1, 1, 1, 9, 20, false, false, true, true},
      {3, 20, 1, 7, 7, 2, 2, 3, 3, 19, 40, true, false, true, false},
      {7, 5, 1, 3, 3, 1, 1, 1, 1, 9, 20, false, false, true, false},
      {7, 3, 1, 5, 5, 1, 1, 2, 2, 20, 8, false, false, false, false},
  };
  for (const Case& k : cases) {
    check_case<Half>(k, 6e-4);
    check_case<Bfloat>(k, 5e-3);
    check_case<float>(k, 1e-6);
  }
}

}  // namespace fastdeblur::tests::convolutions
