#include "nn/operation.h"

#include <algorithm>

namespace fastdeblur::nn {
namespace op {

int64_t Convolution::length(std::size_t axis, int64_t n) const {
  const int64_t k = kernel[axis], s = stride[axis], before = padding[2 * axis], after = padding[2 * axis + 1];
  if (transposed) {
    require(n <= kMostPixels / s, "its result is too large");
    const int64_t size = (n - 1) * s + k - before - after;
    require(size >= 1 && size <= kMostPixels, "padding: cuts all off");
    return size;
  }
  require(!reflect || std::max(before, after) < n, "padding: reflects more pixels than there are");
  require(n + before + after >= k, "weight: a kernel larger than the frame");
  return (n + before + after - k) / s + 1;
}

Shape Convolution::shape(const Shapes& in) const {
  require(in[0].c == inputs, "weight: expected one for the channels that there are");
  const int64_t h = length(0, in[0].h), w = length(1, in[0].w);
  return {outputs, h, w};
}

float Convolution::weight(int64_t o, int64_t c, int64_t tap) const {
  const int64_t in_each = inputs / groups, out_each = outputs / groups, taps = kernel[0] * kernel[1];
  if (o / out_each != c / in_each) return 0;
  const int64_t at =
      transposed ? (c * out_each + o % out_each) * taps + tap : (o * in_each + c % in_each) * taps + tap;
  return weights[static_cast<std::size_t>(at)];
}

Shape PerChannel::shape(const Shapes& in) const {
  require(static_cast<int64_t>(numbers.size()) == in[0].c, name + ": expected a value for each channel");
  return in[0];
}

Shape SimpleGate::shape(const Shapes& in) const {
  require(in[0].c % 2 == 0, "expected an even number of channels");
  return {in[0].c / 2, in[0].h, in[0].w};
}

Shape Combine::shape(const Shapes& in) const {
  const Shape &x = in[0], &y = in[1];
  require((y.c == x.c || y.c == 1) && ((y.h == x.h && y.w == x.w) || (y.h == 1 && y.w == 1)),
          "expected a second value of the first's shape, or one that stands for its channels or pixels");
  return x;
}

Shape Concat::shape(const Shapes& in) const {
  Shape sum = in[0];
  sum.c = 0;
  for (const Shape& s : in) {
    require(s.h == in[0].h && s.w == in[0].w, "expected values of the same height and width");
    sum.c += s.c;
  }
  require(sum.c <= kMostChannels, "too many channels");
  return sum;
}

Shape PixelShuffle::shape(const Shapes& in) const {
  require(in[0].c % (factor * factor) == 0, "factor: expected the channels to be a multiple of its square");
  require(std::max(in[0].h, in[0].w) <= kMostPixels / factor, "factor: its result is too large");
  return {in[0].c / (factor * factor), in[0].h * factor, in[0].w * factor};
}

Shape PixelUnshuffle::shape(const Shapes& in) const {
  require(in[0].h % factor == 0 && in[0].w % factor == 0,
          "expected a height and width that are multiples of the factor");
  require(in[0].c <= kMostChannels / (factor * factor), "factor: too many channels");
  return {in[0].c * factor * factor, in[0].h / factor, in[0].w / factor};
}

Resize::Resize(std::array<double, 2> factor, bool is_bilinear) : bilinear(is_bilinear) {
  for (std::size_t a = 0; a < 2; ++a) {
    const double f = factor[a];
    require(std::isfinite(f) && f > 0 && f <= 4096 && f >= 1.0 / 4096,
            "factor: expected whole numbers or 1 over one");
    up[a] = f >= 1 ? static_cast<int64_t>(f) : 1;
    down[a] = f >= 1 ? 1 : std::llround(1 / f);
    require(std::abs(f - static_cast<double>(up[a]) / static_cast<double>(down[a])) < 1e-6,
            "factor: expected whole numbers or 1 over one");
  }
}

Shape Resize::shape(const Shapes& in) const {
  require(in[0].h <= kMostPixels / up[0] && in[0].w <= kMostPixels / up[1],
          "factor: its result is too large");
  const Shape result{in[0].c, in[0].h * up[0] / down[0], in[0].w * up[1] / down[1]};
  require(result.h >= 1 && result.w >= 1, "too few pixels for its factor");
  return result;
}

Shape LayerNorm::shape(const Shapes& in) const {
  per_channel(weight, in[0].c, "weight");
  per_channel(bias, in[0].c, "bias");
  return in[0];
}

Shape InstanceNorm::shape(const Shapes& in) const {
  per_channel(weight, in[0].c, "weight");
  per_channel(bias, in[0].c, "bias");
  return in[0];
}

Shape WindowPool::shape(const Shapes& in) const {
  return {in[0].c, grid_length(in[0].h, step[0]), grid_length(in[0].w, step[1])};
}

Shape Spread::shape(const Shapes& in) const {
  const Shape grid{in[0].c, grid_length(in[0].h, step[0]), grid_length(in[0].w, step[1])};
  require(in[1] == grid, "expected a value for every step-th pixel");
  return in[0];
}

Shape Wiener::shape(const Shapes& in) const {
  per_channel(log_balance, in[0].c, "log_balance");
  return in[0];
}

}  // namespace op

namespace {

std::array<int64_t, 4> margins(const NodeSpec& node) {
  std::array<int64_t, 4> result{};
  const auto given = list(node, "padding", 4);
  for (std::size_t i = 0; i < 4; ++i) result[i] = whole(given[i], "padding", 0, kMostKernel);
  return result;
}

// The same weights for convolutions of every kind.
op::Convolution convolution(const Tensor& weight, const Tensor* bias, int64_t groups, bool transposed) {
  op::Convolution c;
  c.transposed = transposed;
  c.kernel = {weight.shape[2], weight.shape[3]};
  for (const int64_t k : c.kernel) require(k <= kMostKernel, "weight: expected a smaller kernel");
  require(c.kernel[0] * c.kernel[1] <= kMostKernel, "weight: expected a smaller kernel");
  const int64_t a = weight.shape[0], b = weight.shape[1];
  require(b <= kMostChannels / groups, "weight: too many channels");
  c.inputs = transposed ? a : b * groups;
  c.outputs = transposed ? b * groups : a;
  require(c.inputs <= kMostChannels && c.outputs <= kMostChannels, "weight: too many channels");
  require(c.inputs % groups == 0 && c.outputs % groups == 0, "groups: expected a divisor of the channels");
  if (bias) require(bias->shape[0] == c.outputs, "bias: expected a value for each channel");
  c.groups = groups;
  c.weights = weight.values;
  if (bias) c.bias = bias->values;
  return c;
}

Operation make_convolution(const NodeSpec& node, bool transposed) {
  const Tensor* weight = tensor(node, "weight", 4);
  const Tensor* bias = tensor(node, "bias", 1, true);
  const auto steps = list(node, "stride", 2);
  const std::array<int64_t, 2> stride{whole(steps[0], "stride", 1, kMostKernel),
                                      whole(steps[1], "stride", 1, kMostKernel)};
  const int64_t groups = whole(number(node, "groups"), "groups", 1, kMostChannels);
  bool reflect = false;
  if (!transposed) {
    const std::string mode = text(node, "padding_mode");
    require(mode == "zeros" || mode == "reflect", "padding_mode: expected 'zeros' or 'reflect'");
    reflect = mode == "reflect";
  }
  const auto around = margins(node);
  op::Convolution c = convolution(*weight, bias, groups, transposed);
  c.stride = stride;
  c.padding = around;
  c.reflect = reflect;
  return c;
}

Operation make_linear(const NodeSpec& node) {
  Tensor weight = *tensor(node, "weight", 2);
  weight.shape.insert(weight.shape.end(), {1, 1});
  return convolution(weight, tensor(node, "bias", 1, true), 1, false);
}

Operation activation(Activation::Kind kind, float slope = 0) { return op::Pointwise{{kind, slope}}; }

int64_t factor_of(const NodeSpec& n) { return whole(number(n, "factor"), "factor", 1, 256); }

std::array<int64_t, 2> steps_of(const NodeSpec& n) {
  if (missing(n, "step")) return {1, 1};
  const auto step = list(n, "step", 2);
  return {whole(step[0], "step", 1, kMostKernel), whole(step[1], "step", 1, kMostKernel)};
}

Operation make_pool(const NodeSpec& n) {
  if (missing(n, "window")) return op::FramePool{};
  const auto size = list(n, "window", 2);
  return op::WindowPool{{whole(size[0], "window", 1, kMostPixels), whole(size[1], "window", 1, kMostPixels)},
                        steps_of(n)};
}

using Maker = Operation (*)(const NodeSpec&);

struct Row {
  const char* op;
  std::size_t inputs;  // 0: two or more
  Maker make;
};

const Row kTable[] = {
    {"conv2d", 1, [](const NodeSpec& n) { return make_convolution(n, false); }},
    {"conv_transpose2d", 1, [](const NodeSpec& n) { return make_convolution(n, true); }},
    {"linear", 1, [](const NodeSpec& n) { return make_linear(n); }},
    {"bias", 1,
     [](const NodeSpec& n) -> Operation {
       return op::PerChannel{op::PerChannel::bias, values(n, "bias"), "bias"};
     }},
    {"scale", 1,
     [](const NodeSpec& n) -> Operation {
       return op::PerChannel{op::PerChannel::scale, values(n, "scale"), "scale"};
     }},
    {"prelu", 1,
     [](const NodeSpec& n) -> Operation {
       std::vector<float> slopes = values(n, "slope");
       if (slopes.size() == 1) return activation(Activation::leaky, slopes[0]);
       return op::PerChannel{op::PerChannel::prelu, std::move(slopes), "slope"};
     }},
    {"relu", 1, [](const NodeSpec&) { return activation(Activation::relu); }},
    {"sigmoid", 1, [](const NodeSpec&) { return activation(Activation::sigmoid); }},
    {"tanh", 1, [](const NodeSpec&) { return activation(Activation::tanh); }},
    {"leaky_relu", 1,
     [](const NodeSpec& n) { return activation(Activation::leaky, static_cast<float>(number(n, "slope"))); }},
    {"gelu", 1,
     [](const NodeSpec& n) {
       const std::string how = text(n, "approximate");
       require(how == "none" || how == "tanh", "approximate: expected 'none' or 'tanh'");
       return activation(how == "none" ? Activation::gelu : Activation::gelu_tanh);
     }},
    {"instance_norm", 1,
     [](const NodeSpec& n) -> Operation {
       return op::InstanceNorm{number(n, "eps"), values(n, "weight", true), values(n, "bias", true)};
     }},
    {"layer_norm", 1,
     [](const NodeSpec& n) -> Operation {
       return op::LayerNorm{static_cast<float>(number(n, "eps")), values(n, "weight", true),
                            values(n, "bias", true)};
     }},
    {"simple_gate", 1, [](const NodeSpec&) -> Operation { return op::SimpleGate{}; }},
    {"average_pool", 1, [](const NodeSpec& n) { return make_pool(n); }},
    {"fft_wiener", 1, [](const NodeSpec& n) -> Operation { return op::Wiener{values(n, "log_balance")}; }},
    {"pixel_shuffle", 1, [](const NodeSpec& n) -> Operation { return op::PixelShuffle{factor_of(n)}; }},
    {"pixel_unshuffle", 1, [](const NodeSpec& n) -> Operation { return op::PixelUnshuffle{factor_of(n)}; }},
    {"resize", 1,
     [](const NodeSpec& n) -> Operation {
       const auto f = list(n, "factor", 2);
       const std::string mode = text(n, "mode");
       require(mode == "nearest" || mode == "bilinear", "mode: expected 'nearest' or 'bilinear'");
       return op::Resize({f[0], f[1]}, mode == "bilinear");
     }},
    {"add", 2, [](const NodeSpec&) -> Operation { return op::Combine{false}; }},
    {"multiply", 2,
     [](const NodeSpec& n) -> Operation {
       const auto step = steps_of(n);
       if (step[0] * step[1] > 1) return op::Spread{step};
       return op::Combine{true};
     }},
    {"concat", 0, [](const NodeSpec&) -> Operation { return op::Concat{}; }},
};

// What a node channel_attention stands for: a chain that begins at its input, whose last part multiplies that
// with what came before. Inputs are left to the caller.
std::vector<NodeSpec> parts_of_attention(const NodeSpec& node) {
  const Tensor* weight = tensor(node, "weight", 2);
  const Tensor* squeeze = tensor(node, "squeeze_weight", 2, true);
  require(!tensor(node, "squeeze_bias", 1, true) || squeeze,
          "squeeze_bias: has no meaning without squeeze_weight");
  const int64_t c = weight->shape[0], s = weight->shape[1];
  require(squeeze ? squeeze->shape[0] == s && squeeze->shape[1] == c : s == c,
          "weight: expected another shape");
  const std::string then = text(node, "activation");
  require(then == "none" || then == "sigmoid", "activation: expected 'none' or 'sigmoid'");
  require(node.inputs.size() == 1, "expected another number of inputs");
  std::vector<NodeSpec> parts{{"average_pool", {}, {}, {}}};
  const bool windowed = !missing(node, "window");
  const auto step = steps_of(node);
  require(windowed || step[0] * step[1] == 1, "step: has no meaning without a window");
  const std::vector<double> steps{static_cast<double>(step[0]), static_cast<double>(step[1])};
  if (windowed) {
    parts[0].attributes["window"] = node.attributes.at("window");
    parts[0].attributes["step"] = steps;
  }
  const auto add_linear = [&](const std::string& matrix, const std::string& plus) {
    parts.push_back({"linear", {}, {}, {{"weight", node.tensors.at(matrix)}}});
    if (const auto bias = node.tensors.find(plus); bias != node.tensors.end())
      parts.back().tensors["bias"] = bias->second;
  };
  if (squeeze) {
    add_linear("squeeze_weight", "squeeze_bias");
    parts.push_back({"relu", {}, {}, {}});
  }
  add_linear("weight", "bias");
  if (then == "sigmoid") parts.push_back({"sigmoid", {}, {}, {}});
  parts.push_back({"multiply", {}, {}, {}});
  if (windowed) parts.back().attributes["step"] = steps;
  return parts;
}

}  // namespace

NetworkSpec expanded(const NetworkSpec& given, std::vector<int64_t>& origin) {
  NetworkSpec spec = given;
  spec.nodes.clear();
  std::vector<int64_t> value{0};  // where the given one's values are
  const auto moved = [&](int64_t v) {
    require(v >= 0 && v < static_cast<int64_t>(value.size()), "inputs: expected values made before");
    return value[static_cast<std::size_t>(v)];
  };
  for (std::size_t k = 0; k < given.nodes.size(); ++k) {
    NodeSpec node = given.nodes[k];
    for (int64_t& i : node.inputs) i = moved(i);
    if (node.op == "channel_attention") {
      for (NodeSpec& part : parts_of_attention(node)) {
        const auto before = static_cast<int64_t>(spec.nodes.size());
        part.inputs = {part.op == "average_pool" || part.op == "multiply" ? node.inputs[0] : before};
        if (part.op == "multiply") part.inputs.push_back(before);
        spec.nodes.push_back(std::move(part));
        origin.push_back(static_cast<int64_t>(k));
      }
    } else {
      spec.nodes.push_back(std::move(node));
      origin.push_back(static_cast<int64_t>(k));
    }
    value.push_back(static_cast<int64_t>(spec.nodes.size()));
  }
  require(given.output >= 0 && given.output < static_cast<int64_t>(value.size()),
          "output: expected a value's number");
  spec.output = value[static_cast<std::size_t>(given.output)];
  require(spec.channels >= 1 && spec.channels <= kMostChannels, "channels: expected a number in range");
  require(spec.nodes.size() <= 10000, "nodes: too many");
  for (const int64_t m : spec.multiple_of)
    require(m >= 1 && m <= 1 << 16, "multiple_of: expected numbers in range");
  return spec;
}

Operation parse(const NodeSpec& node) {
  for (const Row& row : kTable) {
    if (node.op != row.op) continue;
    require(row.inputs ? node.inputs.size() == row.inputs : node.inputs.size() >= 2,
            "expected another number of inputs");
    return row.make(node);
  }
  refuse("op: not one of this engine's");
}

}  // namespace fastdeblur::nn
