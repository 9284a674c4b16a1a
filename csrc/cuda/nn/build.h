// A network as a device runs it: which layers are joined, and their weights in the kernels' order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "cuda/nn/direct.h"
#include "cuda/nn/packing.h"
#include "nn/operation.h"

namespace fastdeblur::cuda::nn {

using fastdeblur::nn::NetworkSpec;
using fastdeblur::nn::Operation;
using fastdeblur::nn::Shape;
namespace op = fastdeblur::nn::op;

constexpr float kLargestHalf = 65504.0f;

// All weights of a network, one after the other.
class Weights {
 public:
  template <class Number>
  int64_t put(const std::vector<Number>& numbers) {
    const std::size_t at = (bytes_.size() + 15) / 16 * 16, size = numbers.size() * sizeof(Number);
    bytes_.resize(at + std::max<std::size_t>(size, 1));
    std::memcpy(bytes_.data() + at, numbers.data(), size);
    return static_cast<int64_t>(at);
  }
  int64_t put(const std::vector<float>& numbers, Format f) {
    if (f == Format::single) return put(numbers);
    std::vector<std::uint16_t> narrow(numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      // No fault of an image's, which would be blamed for what comes of it.
      if (f == Format::half && std::abs(numbers[i]) > kLargestHalf)
        throw std::invalid_argument("expected weights within +-65504, the range of float16, got " +
                                    std::to_string(numbers[i]) +
                                    "; precision='bfloat16' or 'float32' bears them");
      store1(narrow.data(), static_cast<int64_t>(i), f, numbers[i]);
    }
    return put(narrow);
  }
  // By channel, in whole blocks.
  int64_t put_padded(std::vector<float> numbers) {
    numbers.resize((numbers.size() + 7) / 8 * 8, 0.0f);
    return put(numbers);
  }
  const std::vector<char>& bytes() const { return bytes_; }

 private:
  std::vector<char> bytes_;
};

// A convolution's launch; places in the weights instead of addresses.
struct Launch {
  Convolution shape;
  int tiles;
  int64_t weights, bias, offsets;
  int row = 0, column = 0;  // phase of a transposed one
};

struct Step {
  enum Way { products, depthwise, direct, other };

  Operation operation;
  std::vector<int64_t> in;
  int64_t out = 0;
  int64_t node = -1;

  // Joined: the layer's result goes through a gate, an activation, and is combined with another value.
  bool gate = false;
  int64_t shuffle = 1;  // factor of a pixel shuffle
  Activation activation{};
  Elementwise::With with = Elementwise::nothing;
  int64_t other_value = -1;
  std::vector<float> factor, plus;  // of a convolution, by output: scale and bias that follow it

  Way way = other;
  std::vector<Launch> launches;
  int64_t weights = -1, bias = -1;  // of kernels without launches

  bool plain() const {
    return !gate && shuffle == 1 && activation.kind == Activation::none && with == Elementwise::nothing;
  }
};

class Built {
 public:
  Built(const NetworkSpec& given, Format format) : format_(format) {
    std::vector<int64_t> origin;
    NetworkSpec spec = fastdeblur::nn::expanded(given, origin);
    channels = spec.channels;
    multiple_of = spec.multiple_of;
    scale = spec.scale;
    offset = spec.offset;
    out_scale = spec.out_scale;
    out_offset = spec.out_offset;
    const auto count = spec.nodes.size();
    values = static_cast<int64_t>(count) + 1;
    std::vector<Operation> operations;
    for (const auto& node : spec.nodes) operations.push_back(fastdeblur::nn::parse(node));

    std::vector<int> uses(count + 1, 0);
    ++uses[static_cast<std::size_t>(spec.output)];
    for (std::size_t k = count; k > 0; --k)
      if (uses[k])
        for (const int64_t i : spec.nodes[k - 1].inputs) ++uses[static_cast<std::size_t>(i)];
    const std::vector<Shape> probe = shapes_of(spec, operations, uses);

    alias_.resize(count + 1);
    made_by_.assign(count + 1, -1);
    for (std::size_t v = 0; v <= count; ++v) alias_[v] = static_cast<int64_t>(v);
    for (std::size_t k = 0; k < count; ++k) {
      if (!uses[k + 1]) continue;
      const auto& inputs = spec.nodes[k].inputs;
      // The step that made what this node alone reads.
      const auto before = [&](std::size_t i) -> Step* {
        const auto v = static_cast<std::size_t>(inputs[i]);
        const int64_t step = made_by_[static_cast<std::size_t>(alias_[v])];
        return uses[v] == 1 && step >= 0 ? &steps[static_cast<std::size_t>(step)] : nullptr;
      };
      std::optional<int64_t> joined;
      if (inputs.size() == 1) {
        Step* step = before(0);
        if (step && join(*step, operations[k])) joined = step->out;
      } else if (const auto* combine = std::get_if<op::Combine>(&operations[k]); combine && !probe.empty()) {
        for (std::size_t side = 0; side < 2 && !joined; ++side) {
          Step* step = before(side);
          if (!step ||
              probe[static_cast<std::size_t>(inputs[0])] != probe[static_cast<std::size_t>(inputs[1])])
            continue;
          const int64_t other = alias_[static_cast<std::size_t>(inputs[1 - side])];
          if (made_by_[static_cast<std::size_t>(other)] >= step - steps.data()) continue;  // not there yet
          if (!takes_other(*step)) continue;
          step->with = combine->multiply ? Elementwise::multiply : Elementwise::add;
          step->other_value = other;
          joined = step->out;
        }
      }
      if (joined) {
        alias_[k + 1] = *joined;
        continue;
      }
      Step step;
      step.operation = std::move(operations[k]);
      for (const int64_t i : inputs) step.in.push_back(alias_[static_cast<std::size_t>(i)]);
      step.out = static_cast<int64_t>(k) + 1;
      step.node = origin[k];
      if (const auto* pointwise = std::get_if<op::Pointwise>(&step.operation))
        step.activation = pointwise->activation;
      made_by_[k + 1] = static_cast<int64_t>(steps.size());
      steps.push_back(std::move(step));
    }
    output = alias_[static_cast<std::size_t>(spec.output)];
    formats_.assign(static_cast<std::size_t>(values), format_);
    if (format_ != Format::single && !probe.empty()) widen(probe);
    for (Step& step : steps) place(step);
  }

  // Of all values that steps make, for an image of this size. Throws std::invalid_argument.
  std::vector<Shape> shapes(int64_t h, int64_t w) const {
    using fastdeblur::nn::require;
    std::vector<Shape> result(static_cast<std::size_t>(values));
    result[0] = {channels, h, w};
    for (const Step& step : steps) {
      std::vector<Shape> in;
      for (const int64_t i : step.in) in.push_back(result[static_cast<std::size_t>(i)]);
      Shape made = std::visit([&](const auto& o) { return o.shape(in); }, step.operation);
      if (step.gate) made.c /= 2;
      made = {made.c / (step.shuffle * step.shuffle), made.h * step.shuffle, made.w * step.shuffle};
      require(made.c >= 1 && made.c <= fastdeblur::nn::kMostChannels && made.h >= 1 && made.w >= 1 &&
                  made.h <= fastdeblur::nn::kMostPixels && made.w <= fastdeblur::nn::kMostPixels,
              "a value's shape is out of range");
      require(step.other_value < 0 || result[static_cast<std::size_t>(step.other_value)] == made,
              "expected values of the same shape");
      if (std::holds_alternative<op::Wiener>(step.operation))
        require(made.h == h && made.w == w, "fft_wiener: expected a value of the image's size");
      result[static_cast<std::size_t>(step.out)] = made;
    }
    require(result[static_cast<std::size_t>(output)] == result[0],
            "output: expected a value of the image's shape");
    return result;
  }

  // Of a value, and of what a step reads and is computed with.
  Format format(int64_t value) const { return formats_[static_cast<std::size_t>(value)]; }
  Format format(const Step& step) const { return format(step.in[0]); }

  std::vector<Step> steps;
  Weights weights;
  int64_t channels = 1, values = 0, output = 0;
  std::array<int64_t, 2> multiple_of{1, 1};
  float scale = 1, offset = 0, out_scale = 1, out_offset = 0;

 private:
  // Shapes of all values for one frame, to tell which have like ones; none if they cannot be told.
  static std::vector<Shape> shapes_of(const NetworkSpec& spec, const std::vector<Operation>& operations,
                                      const std::vector<int>& uses) {
    const auto rounded = [&](int64_t n, std::size_t axis) {
      return fastdeblur::nn::ceil_div(n, spec.multiple_of[axis]) * spec.multiple_of[axis];
    };
    std::vector<Shape> result{{spec.channels, rounded(512, 0), rounded(640, 1)}};
    try {
      for (std::size_t k = 0; k < operations.size(); ++k) {
        result.emplace_back();
        if (!uses[k + 1]) continue;
        std::vector<Shape> in;
        for (const int64_t i : spec.nodes[k].inputs) in.push_back(result[static_cast<std::size_t>(i)]);
        result.back() = std::visit([&](const auto& o) { return o.shape(in); }, operations[k]);
      }
    } catch (const std::invalid_argument&) {
      return {};
    }
    return result;
  }

  // What a convolution of numbers of so many bytes is computed by.
  static Step::Way way_of(const op::Convolution& c, int number) {
    if (c.depthwise()) return Step::depthwise;
    const int64_t in_each = c.inputs / c.groups, out_each = c.outputs / c.groups;
    if (c.groups > 1 && (in_each % 8 || out_each % 8)) return Step::direct;
    if (c.transposed) {
      if (c.stride[0] * c.stride[1] > 16) return Step::direct;
      return patch_fits(int(c.kernel[0] / c.stride[0] + 1), int(c.kernel[1] / c.stride[1] + 1), 1, 1, number)
                 ? Step::products
                 : Step::direct;
    }
    return patch_fits(int(c.kernel[0]), int(c.kernel[1]), int(c.stride[0]), int(c.stride[1]), number)
               ? Step::products
               : Step::direct;
  }

  // Whether what follows a step becomes part of it.
  bool join(Step& step, const Operation& next) const {
    auto* c = std::get_if<op::Convolution>(&step.operation);
    const bool elementwise = std::holds_alternative<op::PerChannel>(step.operation) ||
                             std::holds_alternative<op::InstanceNorm>(step.operation);
    if (const auto* pointwise = std::get_if<op::Pointwise>(&next)) {
      if (!(c || elementwise) || step.activation.kind != Activation::none ||
          step.with != Elementwise::nothing)
        return false;
      step.activation = pointwise->activation;
      return true;
    }
    if (!c || !step.plain()) return false;
    const auto outputs = static_cast<std::size_t>(c->outputs);
    if (std::holds_alternative<op::SimpleGate>(next)) {
      const Step::Way way = way_of(*c, size_of(format_));
      if (outputs % 2 || way == Step::direct || c->transposed || (c->groups > 1 && way != Step::depthwise) ||
          (way == Step::depthwise && outputs % 16))
        return false;
      step.gate = true;
      return true;
    }
    if (const auto* s = std::get_if<op::PixelShuffle>(&next)) {
      if (c->transposed || c->groups > 1 || c->outputs % (8 * s->factor * s->factor) ||
          way_of(*c, size_of(format_)) != Step::products)
        return false;
      step.shuffle = s->factor;
      return true;
    }
    const auto* by_channel = std::get_if<op::PerChannel>(&next);
    if (!by_channel || by_channel->kind == op::PerChannel::prelu || by_channel->numbers.size() != outputs)
      return false;
    if (step.factor.empty()) {
      step.factor.assign(outputs, 1.0f);
      step.plus.assign(outputs, 0.0f);
    }
    for (std::size_t o = 0; o < outputs; ++o) {
      const float x = by_channel->numbers[o];
      if (by_channel->kind == op::PerChannel::bias) {
        step.plus[o] += x;
      } else {
        step.factor[o] *= x;
        step.plus[o] *= x;
      }
    }
    return true;
  }

  static bool takes_other(const Step& step) {
    return step.with == Elementwise::nothing && (std::holds_alternative<op::Convolution>(step.operation) ||
                                                 std::holds_alternative<op::PerChannel>(step.operation) ||
                                                 std::holds_alternative<op::InstanceNorm>(step.operation) ||
                                                 std::holds_alternative<op::Pointwise>(step.operation));
  }

  // Multiplications, roughly, of a step for this image.
  static double cost(const Step& step, const std::vector<Shape>& probe) {
    const auto pixels = [&](int64_t v) {
      const Shape& s = probe[static_cast<std::size_t>(v)];
      return static_cast<double>(s.h) * static_cast<double>(s.w);
    };
    const auto* c = std::get_if<op::Convolution>(&step.operation);
    if (!c) return pixels(step.out) * static_cast<double>(probe[static_cast<std::size_t>(step.out)].c);
    return pixels(c->transposed ? step.in[0] : step.out) * static_cast<double>(c->kernel[0] * c->kernel[1]) *
           static_cast<double>(c->inputs / c->groups * c->outputs);
  }

  template <class Use>
  static void each_read(Step& step, const Use& use) {
    for (int64_t& v : step.in) use(v);
    if (step.other_value >= 0) use(step.other_value);
  }

  // A Wiener filter amplifies what it reads several times, and rounding with it: that and what it is made of
  // has 32 bits, where it is a small part of the network. Others read a copy of 16 bits.
  void widen(const std::vector<Shape>& probe) {
    constexpr double kMostWide = 0.2;
    std::vector<char> wide(static_cast<std::size_t>(values), 0);
    double part = 0, all = 0;
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
      const bool filter = std::holds_alternative<op::Wiener>(step->operation),
                 is_wide = wide[static_cast<std::size_t>(step->out)];
      if (filter || is_wide) each_read(*step, [&](int64_t v) { wide[static_cast<std::size_t>(v)] = 1; });
      const double multiplications = filter ? 0.0 : cost(*step, probe);
      all += multiplications;
      part += is_wide ? multiplications : 0.0;
      const auto* c = std::get_if<op::Convolution>(&step->operation);
      if (is_wide && c && (step->gate || step->shuffle > 1) &&
          way_of(*c, size_of(Format::single)) == Step::direct)
        return;
    }
    if (part > kMostWide * all) return;
    for (std::size_t v = 0; v < wide.size(); ++v)
      if (wide[v]) formats_[v] = Format::single;
    std::vector<int64_t> narrow(wide.size(), -1);
    std::vector<Step> before;
    before.swap(steps);
    for (Step& step : before) {
      if (!wide[static_cast<std::size_t>(step.out)] && !std::holds_alternative<op::Wiener>(step.operation))
        each_read(step, [&](int64_t& v) {
          if (!wide[static_cast<std::size_t>(v)]) return;
          int64_t& copy = narrow[static_cast<std::size_t>(v)];
          if (copy < 0) {
            Step converts;
            converts.operation = op::Pointwise{};
            converts.in = {v};
            converts.out = copy = values++;
            formats_.push_back(format_);
            steps.push_back(std::move(converts));
          }
          v = copy;
        });
      steps.push_back(std::move(step));
    }
  }

  // Puts a step's numbers where they belong.
  void place(Step& step) {
    if (auto* c = std::get_if<op::Convolution>(&step.operation)) {
      place_convolution(step, *c);
      c->weights = {};
    } else if (const auto* by_channel = std::get_if<op::PerChannel>(&step.operation)) {
      step.weights = weights.put_padded(by_channel->numbers);
    } else if (const auto* norm = std::get_if<op::LayerNorm>(&step.operation)) {
      step.weights = norm->weight.empty() ? -1 : weights.put_padded(norm->weight);
      step.bias = norm->bias.empty() ? -1 : weights.put_padded(norm->bias);
    } else if (const auto* instance = std::get_if<op::InstanceNorm>(&step.operation)) {
      step.weights = instance->weight.empty() ? -1 : weights.put_padded(instance->weight);
      step.bias = instance->bias.empty() ? -1 : weights.put_padded(instance->bias);
    }
  }

  void place_convolution(Step& step, const op::Convolution& c) {
    const Format f = format(step);
    step.way = way_of(c, size_of(f));
    const auto factor = [&](int64_t o) {
      return step.factor.empty() ? 1.0f : step.factor[static_cast<std::size_t>(o)];
    };
    const auto weight = [&](int64_t o, int64_t i, int64_t tap) { return c.weight(o, i, tap) * factor(o); };
    const auto bias = [&](int64_t o) {
      const auto at = static_cast<std::size_t>(o);
      return (c.bias.empty() ? 0.0f : c.bias[at]) * factor(o) + (step.plus.empty() ? 0.0f : step.plus[at]);
    };
    const int64_t taps = c.kernel[0] * c.kernel[1], in_each = c.inputs / c.groups,
                  out_each = c.outputs / c.groups;
    if (step.way != Step::products) {
      std::vector<float> plus;
      for (int64_t o = 0; o < c.outputs; ++o) plus.push_back(bias(o));
      step.bias = weights.put_padded(plus);
      std::vector<float> all;
      if (step.way == Step::depthwise) {
        const int64_t padded = (c.outputs + 7) / 8 * 8;
        for (int64_t t = 0; t < taps; ++t)
          for (int64_t o = 0; o < padded; ++o) all.push_back(o < c.outputs ? weight(o, o, t) : 0.0f);
      } else {
        for (int64_t o = 0; o < c.outputs; ++o)
          for (int64_t i = 0; i < in_each; ++i)
            for (int64_t t = 0; t < taps; ++t) all.push_back(weight(o, o / out_each * in_each + i, t));
      }
      step.weights = weights.put(all);
      return;
    }
    const int sy = static_cast<int>(c.stride[0]), sx = static_cast<int>(c.stride[1]);
    const int kh = static_cast<int>(c.kernel[0]), kw = static_cast<int>(c.kernel[1]);
    const int top = static_cast<int>(c.padding[0]), left = static_cast<int>(c.padding[2]);
    Pack p{};
    p.groups = static_cast<int>(c.groups);
    p.inputs = static_cast<int>(in_each);
    p.outputs = static_cast<int>(out_each);
    p.reflect = c.reflect;
    p.gate = step.gate;
    p.number = size_of(f);
    // The channels of a pixel shuffle's first pixel, then of its second.
    const auto given = [&](int64_t o) {
      const int64_t phases = step.shuffle * step.shuffle, each = out_each / phases;
      return step.shuffle > 1 ? o % each * phases + o / each : o;
    };
    p.bias = [&](int group, int o) { return bias(group * out_each + given(o)); };
    // (first tap, how many, and where they begin) of a phase of an axis.
    struct Phase {
      int first, count, begin;
    };
    const auto phase = [&](int i, int stride, int k, int before) {
      if (!c.transposed) return Phase{0, k, -before};
      const int first = (i + before) % stride, count = first < k ? (k - first + stride - 1) / stride : 0;
      return Phase{first, count, (i + before - first) / stride - std::max(count, 1) + 1};
    };
    for (int py = 0; py < (c.transposed ? sy : 1); ++py)
      for (int px = 0; px < (c.transposed ? sx : 1); ++px) {
        const Phase down = phase(py, sy, kh, top), across = phase(px, sx, kw, left);
        p.kh = std::max(down.count, 1);
        p.kw = std::max(across.count, 1);
        p.sy = c.transposed ? 1 : sy;
        p.sx = c.transposed ? 1 : sx;
        p.narrow = !c.transposed && c.groups == 1 && narrow_pays(p) ? p.inputs : 0;
        p.weight = [&, down, across](int group, int o, int i, int ky, int kx) {
          if (c.transposed) {
            if (!down.count || !across.count) return 0.0f;
            ky = down.first + sy * (down.count - 1 - ky);
            kx = across.first + sx * (across.count - 1 - kx);
          }
          return weight(group * out_each + given(o), group * in_each + i, int64_t(ky) * kw + kx);
        };
        Packed packed = pack(p);
        Launch launch{packed.shape,
                      packed.tiles,
                      weights.put(packed.weights, f),
                      weights.put(packed.bias),
                      weights.put(packed.offsets),
                      py,
                      px};
        launch.shape.y0 = down.begin;
        launch.shape.x0 = across.begin;
        launch.shape.osy = c.transposed ? sy : static_cast<int>(step.shuffle);
        launch.shape.osx = c.transposed ? sx : static_cast<int>(step.shuffle);
        launch.shape.shuffled = step.shuffle > 1;
        launch.shape.oy0 = py;
        launch.shape.ox0 = px;
        step.launches.push_back(launch);
      }
  }

  Format format_;
  std::vector<Format> formats_;  // of values
  std::vector<int64_t> alias_, made_by_;
};

}  // namespace fastdeblur::cuda::nn
