// Networks of one layer and of several, and how they are run by the processor's engine and by the device's,
// its kernels stepped on the host.
#pragma once

#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "cuda/nn/network.h"
#include "cuda_host_runtime.h"
#include "nn/network.h"

namespace fastdeblur::tests {

using cuda::nn::DeviceNet;
using cuda::nn::Format;
using cuda::nn::Outcome;
using cuda::nn::Picture;
using cuda::nn::Result;
using nn::NetworkSpec;
using nn::NodeSpec;

inline int failures = 0;

inline void expect(bool ok, const std::string& what) {
  if (ok) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

class Builder {
 public:
  explicit Builder(int64_t channels, unsigned seed = 3) : random_(seed) {
    spec_.channels = channels;
    spec_.scale = 1.5f;
    spec_.offset = -0.25f;
    spec_.out_scale = 0.5f;
    spec_.out_offset = 0.1f;
    channels_.push_back(channels);
  }

  // Weights of about 1 over what they gather.
  nn::Tensor numbers(const std::vector<int64_t>& shape, float mean = 0, float scale = 1) {
    nn::Tensor t{shape, {}};
    int64_t size = 1, gathered = 1;
    for (std::size_t a = 0; a < shape.size(); ++a) {
      size *= shape[a];
      if (a) gathered *= shape[a];
    }
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < size; ++i)
      t.values.push_back(mean + scale * normal(random_) / std::sqrt(static_cast<float>(gathered)));
    return t;
  }

  int64_t add(NodeSpec node, int64_t channels) {
    spec_.nodes.push_back(std::move(node));
    channels_.push_back(channels);
    spec_.output = static_cast<int64_t>(spec_.nodes.size());
    return spec_.output;
  }
  int64_t last() const { return spec_.output; }
  int64_t channels(int64_t v) const { return channels_[static_cast<std::size_t>(v)]; }

  struct Conv {
    int64_t kh = 3, kw = 3, sy = 1, sx = 1, groups = 1;
    bool reflect = false, bias = true;
  };
  int64_t conv(int64_t in, int64_t out) { return conv(in, out, Conv{}); }
  int64_t conv(int64_t in, int64_t out, const Conv& c) {
    const std::vector<double> around{static_cast<double>(c.kh / 2), static_cast<double>(c.kh - 1 - c.kh / 2),
                                     static_cast<double>(c.kw / 2), static_cast<double>(c.kw - 1 - c.kw / 2)};
    NodeSpec node{"conv2d",
                  {in},
                  {{"stride", std::vector<double>{static_cast<double>(c.sy), static_cast<double>(c.sx)}},
                   {"padding", around},
                   {"groups", static_cast<double>(c.groups)},
                   {"padding_mode", std::string(c.reflect ? "reflect" : "zeros")}},
                  {{"weight", numbers({out, channels(in) / c.groups, c.kh, c.kw})}}};
    if (c.bias) node.tensors["bias"] = numbers({out});
    return add(node, out);
  }
  // first, last: rows and columns that are cut off.
  int64_t transposed(int64_t in, int64_t out, int64_t k, int64_t stride, double first, double last,
                     int64_t groups = 1) {
    const auto s = static_cast<double>(stride);
    return add({"conv_transpose2d",
                {in},
                {{"stride", std::vector<double>{s, s}},
                 {"padding", std::vector<double>{first, last, first, last}},
                 {"groups", static_cast<double>(groups)}},
                {{"weight", numbers({channels(in), out / groups, k, k})}, {"bias", numbers({out})}}},
               out);
  }
  int64_t linear(int64_t in, int64_t out) {
    return add({"linear", {in}, {}, {{"weight", numbers({out, channels(in)})}, {"bias", numbers({out})}}},
               out);
  }
  int64_t simple(const std::string& op, int64_t in) { return add({op, {in}, {}, {}}, channels(in)); }
  int64_t two(const std::string& op, int64_t a, int64_t b) { return add({op, {a, b}, {}, {}}, channels(a)); }

  NetworkSpec& spec() { return spec_; }

 private:
  NetworkSpec spec_;
  std::vector<int64_t> channels_;
  std::mt19937 random_;
};

// What stands for a Wiener filter here: any linear map of a plane will do.
inline void blur_plane(int64_t node, const float* in, float* out, int64_t h, int64_t w, int64_t row,
                       int64_t column, int64_t out_row, int64_t out_column) {
  std::vector<float> plane(static_cast<std::size_t>(h * w));  // the result may lie over the input
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x) plane[static_cast<std::size_t>(y * w + x)] = in[y * row + x * column];
  for (int64_t y = 0; y < h; ++y)
    for (int64_t x = 0; x < w; ++x)
      out[y * out_row + x * out_column] =
          0.75f * plane[static_cast<std::size_t>(y * w + x)] +
          (0.25f + 0.01f * static_cast<float>(node)) * plane[static_cast<std::size_t>((h - 1 - y) * w + x)];
}

struct Frame {
  int64_t c, h, w;
  std::vector<float> image;
  Frame(int64_t channels, int64_t height, int64_t width, unsigned seed = 9)
      : c(channels), h(height), w(width), image(static_cast<std::size_t>(c * h * w)) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform;
    for (float& x : image) x = uniform(random);
  }
};

inline std::vector<float> by_processor(const NetworkSpec& spec, const Frame& f) {
  std::vector<float> out(f.image.size());
  const nn::Network network(spec);
  network.run(
      {f.image.data(), {f.h * f.w, f.w, 1}, f.h, f.w, 1, 0}, out.data(), 1, 0,
      [&](int64_t node, const nn::Channels& c) {
        for (int64_t k = 0; k < c.count; ++k)
          blur_plane(node, c.in + k / c.lanes * c.block + k % c.lanes,
                     c.out + k / c.lanes * c.out_block + k % c.lanes, c.h, c.w, c.row, c.lanes, c.out_row,
                     c.lanes);
      },
      [] {});
  return out;
}

// Steps kernels in an order of the test's choice when their stream comes to them.
class OrderedLauncher {
 public:
  using Order = cuda::HostLauncher::Order;
  OrderedLauncher(HostRuntime& runtime, Order order) : runtime_(&runtime), order_(order) {}
  template <class Kernel>
  void launch(cuda::Stream stream, const Kernel& kernel, const cuda::Geometry& geometry) {
    runtime_->fail_or_go();
    runtime_->queue(stream, [kernel, geometry, order = order_] {
      cuda::HostLauncher launcher(order, 3);
      launcher.launch(nullptr, kernel, geometry);
    });
  }

 private:
  HostRuntime* runtime_;
  Order order_;
};

using Stepped = DeviceNet<OrderedLauncher>;

// A device, and a network on it.
struct Machine {
  Device own;
  Device& device;
  HostRuntime* runtime = nullptr;
  std::unique_ptr<Stepped> net;
  bool refuses = false;     // its Wiener filters
  std::vector<float> read;  // by the last of them

  Machine(const NetworkSpec& spec, Format format,
          OrderedLauncher::Order order = OrderedLauncher::Order::shuffled, Device* given = nullptr)
      : device(given ? *given : own) {
    auto made = std::make_unique<HostRuntime>(device);
    runtime = made.get();
    OrderedLauncher launcher(*made, order);
    net = std::make_unique<Stepped>(std::move(made), launcher, spec, format);
  }

  Outcome run(const Frame& f, std::vector<float>& out, bool on_device = false) {
    const auto wiener = [this](int64_t node, const float* in, float* made, int64_t c, int64_t h, int64_t w,
                               cuda::Stream stream) {
      runtime->queue(stream, [=, this] {
        read.assign(in, in + c * h * w);
        for (int64_t k = 0; k < c; ++k) blur_plane(node, in + k * h * w, made + k * h * w, h, w, w, 1, w, 1);
      });
      device.here = false;  // as a function of somebody else's may leave it
      return !refuses;
    };
    constexpr std::ptrdiff_t size = sizeof(float);
    const std::array<std::ptrdiff_t, 3> stride{f.h * f.w * size, f.w * size, size};
    return net->run({{f.image.data(), Element::f32, stride}, f.h, f.w, 1, on_device},
                    {{out.data(), stride}, on_device}, 1e12f, wiener, nullptr, [] {});
  }
  std::vector<float> run(const Frame& f, bool on_device = false) {
    std::vector<float> out(f.image.size(), std::nanf(""));
    if (run(f, out, on_device) != Outcome::good) std::fill(out.begin(), out.end(), std::nanf(""));
    return out;
  }
};

inline double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double away = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    away += d * d;
    norm += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return std::sqrt(away / (norm > 0 ? norm : 1));
}

}  // namespace fastdeblur::tests
