// The table of operations: what each one is, checked, and the shape of its result. An engine gives each a
// kernel.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "nn/activation.h"
#include "nn/node.h"

namespace fastdeblur::nn {

using Shapes = std::vector<Shape>;

// Each has `shape`: the result's for the inputs'. Throws std::invalid_argument where it cannot be applied.
namespace op {

// conv2d, conv_transpose2d and linear.
struct Convolution {
  std::array<int64_t, 2> kernel{1, 1}, stride{1, 1};
  std::array<int64_t, 4> padding{};
  bool reflect = false, transposed = false;
  int64_t inputs = 0, outputs = 0, groups = 1;
  std::vector<float> weights, bias;  // bias: empty if there is none

  Shape shape(const Shapes& in) const;
  bool depthwise() const { return !transposed && groups == inputs && inputs == outputs && inputs > 1; }
  // Of output o and input c, 0 where they are of different groups. tap: row times width plus column.
  float weight(int64_t o, int64_t c, int64_t tap) const;
  // The result's, of an input of n pixels on that axis.
  int64_t length(std::size_t axis, int64_t n) const;
};

struct Pointwise {
  Activation activation;
  Shape shape(const Shapes& in) const { return in[0]; }
};

// x + number, x * number, or x * number below 0, by channel.
struct PerChannel {
  enum Kind { bias, scale, prelu } kind;
  std::vector<float> numbers;
  std::string name;
  Shape shape(const Shapes& in) const;
};

struct SimpleGate {
  Shape shape(const Shapes& in) const;
};

struct Combine {
  bool multiply;
  Shape shape(const Shapes& in) const;
};

struct Concat {
  Shape shape(const Shapes& in) const;
};

struct PixelShuffle {
  int64_t factor;
  Shape shape(const Shapes& in) const;
};

struct PixelUnshuffle {
  int64_t factor;
  Shape shape(const Shapes& in) const;
};

struct Resize {
  std::array<int64_t, 2> up{}, down{};
  bool bilinear;
  Resize(std::array<double, 2> factor, bool is_bilinear);
  Shape shape(const Shapes& in) const;
};

struct LayerNorm {
  float eps;
  std::vector<float> weight, bias;  // may be empty
  Shape shape(const Shapes& in) const;
};

struct InstanceNorm {
  double eps;
  std::vector<float> weight, bias;  // may be empty
  Shape shape(const Shapes& in) const;
};

// average_pool: of the whole frame, or in a window around each pixel.
struct FramePool {
  Shape shape(const Shapes& in) const { return {in[0].c, 1, 1}; }
};
// At every step-th pixel, or at each.
struct WindowPool {
  std::array<int64_t, 2> size, step{1, 1};
  Shape shape(const Shapes& in) const;
};

// The first value times the second, which has numbers for every step-th pixel; between them it is
// interpolated.
struct Spread {
  std::array<int64_t, 2> step;
  Shape shape(const Shapes& in) const;
};

// Places on every step-th of n pixels, such that each pixel lies on one or between two.
inline int64_t grid_length(int64_t n, int64_t step) { return ceil_div(n - 1, step) + 1; }

struct Wiener {
  std::vector<float> log_balance;
  Shape shape(const Shapes& in) const;
};

}  // namespace op

using Operation = std::variant<op::Convolution, op::Pointwise, op::PerChannel, op::SimpleGate, op::Combine,
                               op::Spread, op::Concat, op::PixelShuffle, op::PixelUnshuffle, op::Resize,
                               op::LayerNorm, op::InstanceNorm, op::FramePool, op::WindowPool, op::Wiener>;

// The table. Throws std::invalid_argument.
Operation parse(const NodeSpec& node);

// The same network, checked, without nodes that stand for others; origin: each node's number in the given
// one.
NetworkSpec expanded(const NetworkSpec& given, std::vector<int64_t>& origin);

}  // namespace fastdeblur::nn
