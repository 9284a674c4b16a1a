// The network engine: convolutions against plain loops, and thousands of broken graphs, which must be refused
// or run; meant for the sanitizers, which see what is read or written beyond a value.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "nn/network.h"

namespace {

using namespace fastdeblur::nn;

std::mt19937 rng(1);

int64_t pick(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng); }

std::vector<float> numbers(int64_t n) {
  std::normal_distribution<float> normal;
  std::vector<float> v(static_cast<std::size_t>(n));
  for (float& x : v) x = normal(rng);
  return v;
}

Tensor weights(std::vector<int64_t> shape) {
  int64_t n = 1;
  for (const int64_t s : shape) n *= s;
  return {std::move(shape), numbers(n)};
}

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

std::vector<float> run(const NetworkSpec& spec, const std::vector<float>& image, int64_t h, int64_t w,
                       int threads, int64_t max_memory = 0) {
  const Network network(spec);
  std::vector<float> out(image.size(), NAN);
  const Image view{image.data(), {h * w, w, 1}, h, w, 1, 0};
  const auto wiener = [](int64_t, const Channels& c) {
    for (int64_t k = 0; k < c.count; ++k)
      for (int64_t y = 0; y < c.h; ++y)
        for (int64_t x = 0; x < c.w; ++x)
          c.out[k / c.lanes * c.out_block + k % c.lanes + y * c.out_row + x * c.lanes] =
              c.in[k / c.lanes * c.block + k % c.lanes + y * c.row + x * c.lanes];
  };
  network.run(view, out.data(), threads, max_memory, wiener, {});
  return out;
}

NodeSpec convolution(int64_t value, Tensor weight, double stride, std::vector<double> padding,
                     const char* mode, double groups) {
  NodeSpec node{"conv2d", {value}, {}, {}};
  node.attributes["stride"] = std::vector<double>{stride, stride};
  node.attributes["padding"] = std::move(padding);
  node.attributes["padding_mode"] = std::string(mode);
  node.attributes["groups"] = groups;
  node.tensors["weight"] = std::move(weight);
  return node;
}

// Same size in and out: a convolution with an odd kernel, c to c channels.
void check_convolution(int64_t c, int64_t k, int64_t groups, bool reflect, int64_t h, int64_t w,
                       int threads) {
  const int64_t pad = k / 2;
  if (reflect && pad >= std::min(h, w)) return;
  NetworkSpec spec;
  spec.channels = c;
  spec.output = 1;
  const Tensor weight = weights({c, c / groups, k, k});
  const auto p = static_cast<double>(pad);
  spec.nodes.push_back(
      convolution(0, weight, 1, {p, p, p, p}, reflect ? "reflect" : "zeros", static_cast<double>(groups)));
  const std::vector<float> image = numbers(c * h * w), out = run(spec, image, h, w, threads);
  const auto inside = [&](int64_t i, int64_t n) {
    if (!reflect) return i;
    return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i;
  };
  const int64_t each = c / groups;
  for (int64_t o = 0; o < c; ++o)
    for (int64_t y = 0; y < h; ++y)
      for (int64_t x = 0; x < w; ++x) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < each; ++i)
          for (int64_t u = 0; u < k; ++u)
            for (int64_t v = 0; v < k; ++v) {
              const int64_t at_y = inside(y + u - pad, h), at_x = inside(x + v - pad, w);
              if (at_y < 0 || at_y >= h || at_x < 0 || at_x >= w) continue;
              const double product =
                  static_cast<double>(
                      weight.values[static_cast<std::size_t>(((o * each + i) * k + u) * k + v)]) *
                  static_cast<double>(
                      image[static_cast<std::size_t>(((o / each * each + i) * h + at_y) * w + at_x)]);
              sum += product;
              size += std::abs(product);
            }
        require(std::abs(static_cast<double>(out[static_cast<std::size_t>((o * h + y) * w + x)]) - sum) <=
                    1e-5 * size + 1e-6,
                "convolution");
      }
}

double any_number() {
  switch (pick(0, 9)) {
    case 0:
      return NAN;
    case 1:
      return INFINITY;
    case 2:
      return -1;
    case 3:
      return 1e30;
    case 4:
      return 0.5;
    default:
      return static_cast<double>(pick(0, 5));
  }
}

std::vector<double> any_list() {
  std::vector<double> list(static_cast<std::size_t>(pick(0, 5)));
  for (double& x : list) x = any_number();
  return list;
}

Attribute any_attribute() {
  switch (pick(0, 4)) {
    case 0:
      return {};
    case 1:
      return any_number();
    case 2:
      return any_list();
    case 3:
      return std::string(pick(0, 1) ? "reflect" : "nonsense");
    default:
      return static_cast<double>(pick(1, 3));
  }
}

// A node that is right, or nearly.
NodeSpec any_node(int64_t count, const std::vector<int64_t>& channels) {
  const int64_t value = pick(0, count);
  const int64_t c = channels[static_cast<std::size_t>(value)];
  NodeSpec node;
  node.inputs = {value};
  switch (pick(0, 13)) {
    case 0: {
      const auto k = pick(1, 4), pad = pick(0, 3);
      const auto p = static_cast<double>(pad);
      node = convolution(value, weights({pick(1, 20), c, k, k}), static_cast<double>(pick(1, 2)),
                         {p, p, p, p}, pick(0, 1) ? "zeros" : "reflect", 1);
      break;
    }
    case 1:
      node = convolution(value, weights({c, 1, 3, 3}), 1, {1, 1, 1, 1}, "zeros", static_cast<double>(c));
      break;
    case 2:
      node = convolution(value, weights({c, pick(1, 5), 2, 2}), 2, {0, 0, 0, 0}, "zeros", 1);
      node.op = "conv_transpose2d";
      break;
    case 3:
      node.op = "linear";
      node.tensors["weight"] = weights({pick(1, 12), c});
      break;
    case 4:
      node.op = "instance_norm";
      node.attributes["eps"] = 1e-5;
      break;
    case 5:
      node.op = "layer_norm";
      node.attributes["eps"] = 1e-5;
      break;
    case 6:
      node.op = "simple_gate";
      break;
    case 7:
      node.op = "average_pool";
      node.attributes["window"] = pick(0, 1) ? Attribute{} : Attribute{std::vector<double>{3, 4}};
      break;
    case 8:
      node.op = "channel_attention";
      node.attributes["window"] = pick(0, 1) ? Attribute{} : Attribute{std::vector<double>{3, 4}};
      if (!missing(node, "window") && pick(0, 2))
        node.attributes["step"] =
            std::vector<double>{static_cast<double>(pick(1, 4)), static_cast<double>(pick(1, 9))};
      node.attributes["activation"] = std::string("sigmoid");
      node.tensors["weight"] = weights({c, c});
      break;
    case 9:
      node.op = pick(0, 1) ? "pixel_shuffle" : "pixel_unshuffle";
      node.attributes["factor"] = 2.0;
      break;
    case 10:
      node.op = "resize";
      node.attributes["factor"] = pick(0, 1) ? std::vector<double>{2, 2} : std::vector<double>{0.5, 0.5};
      node.attributes["mode"] = std::string(pick(0, 1) ? "nearest" : "bilinear");
      break;
    case 11:
      node.op = pick(0, 1) ? "add" : "multiply";
      node.inputs.push_back(pick(0, count));
      break;
    case 12:
      node.op = "concat";
      node.inputs.push_back(pick(0, count));
      break;
    default:
      node.op = pick(0, 1) ? "fft_wiener" : "prelu";
      node.tensors["log_balance"] = weights({c});
      node.tensors["slope"] = weights({c});
  }
  return node;
}

void mutate(NodeSpec& node) {
  switch (pick(0, 5)) {
    case 0:
      node.op = "relu6";
      break;
    case 1:
      for (int64_t& i : node.inputs) i = pick(-2, 12);
      break;
    case 2:
      for (auto& [key, value] : node.attributes) value = any_attribute();
      break;
    case 3:
      for (auto& [key, value] : node.tensors)
        if (!value.shape.empty())
          value.shape[static_cast<std::size_t>(pick(0, static_cast<int64_t>(value.shape.size()) - 1))] =
              pick(0, 1) ? pick(-1, 9) : int64_t(1) << 62;
      break;
    case 4:
      for (auto& [key, value] : node.tensors) value.values.resize(static_cast<std::size_t>(pick(0, 9)));
      break;
    default:
      for (auto& [key, value] : node.tensors) value.shape.pop_back();
  }
}

void check_broken_graphs() {
  int ran = 0;
  for (int round = 0; round < 4000; ++round) {
    NetworkSpec spec;
    spec.channels = pick(1, 9);
    std::vector<int64_t> channels{spec.channels};
    const auto count = pick(1, 6);
    for (int64_t k = 0; k < count; ++k) {
      spec.nodes.push_back(any_node(k, channels));
      // What comes out, roughly: wrong guesses are wrong graphs.
      const NodeSpec& node = spec.nodes.back();
      int64_t c = channels[static_cast<std::size_t>(node.inputs[0])];
      if (node.op == "conv2d" || node.op == "linear") c = node.tensors.at("weight").shape[0];
      if (node.op == "conv_transpose2d") c = node.tensors.at("weight").shape[1];
      if (node.op == "simple_gate") c = std::max<int64_t>(1, c / 2);
      if (node.op == "pixel_shuffle") c = std::max<int64_t>(1, c / 4);
      if (node.op == "pixel_unshuffle") c *= 4;
      if (node.op == "concat") c += channels[static_cast<std::size_t>(node.inputs[1])];
      channels.push_back(c);
    }
    // Back to the image's channels, most of the time.
    NodeSpec last{"linear", {count}, {}, {}};
    last.tensors["weight"] = weights({spec.channels, channels.back()});
    spec.nodes.push_back(std::move(last));
    spec.output = pick(0, 9) ? count + 1 : pick(-2, 9);
    if (pick(0, 2) == 0) mutate(spec.nodes[static_cast<std::size_t>(pick(0, count))]);
    const int64_t h = pick(1, 20), w = pick(1, 70);
    try {
      const std::vector<float> image = numbers(spec.channels * h * w);
      const std::vector<float> one = run(spec, image, h, w, 1);
      const std::vector<float> two = run(spec, image, h, w, 2);
      for (std::size_t i = 0; i < one.size(); ++i)
        require(one[i] == two[i] || (std::isnan(one[i]) && std::isnan(two[i])),
                "the same for any number of threads");
      ++ran;
      const Network network(spec);
      for (int64_t limit = network.memory(h, w, 1, 0); limit > 0; limit = limit * pick(4, 9) / 10) {
        const std::vector<float> less = run(spec, image, h, w, 1, limit);  // until it is refused
        double away = 0, all = 0;
        for (std::size_t i = 0; i < one.size(); ++i) {
          away += std::abs(static_cast<double>(less[i]) - static_cast<double>(one[i]));
          all += std::abs(static_cast<double>(one[i]));
        }
        require(!(away > 1e-3 * all), "the same in less memory");
      }
    } catch (const std::invalid_argument&) {
    }
  }
  require(ran > 200, "some graphs run");
}

}  // namespace

int main() {
  for (const int64_t c : {1, 3, 7, 8, 9, 40})
    for (const int64_t k : {1, 3, 5})
      for (const bool reflect : {false, true}) {
        check_convolution(c, k, 1, reflect, 5, 37, 1);
        check_convolution(c, k, c, reflect, 9, 4, 2);
      }
  check_convolution(16, 3, 2, false, 33, 50, 2);
  check_convolution(12, 3, 4, true, 7, 9, 1);
  check_convolution(3, 9, 1, false, 1, 1, 1);
  check_broken_graphs();
}
