// The device's engine for networks against the processor's: every operation, and chains that it joins, plans
// and records.
#include "cuda_nn_cases.h"
#include "cuda_nn_convolution.h"

namespace fastdeblur::tests {
namespace {

// How much of it: what a layer computes, or as well whether a graph of it, arrays in device memory and
// another order of threads give the same bits.
enum class Care { some, full };

void compare(const std::string& name, const NetworkSpec& spec, int64_t h, int64_t w, Care care) {
  const Frame frame(spec.channels, h, w);
  const std::vector<float> wanted = by_processor(spec, frame);
  for (const Format f : {Format::half, Format::single, Format::bfloat}) {
    if (care == Care::some && f == Format::bfloat) continue;
    Machine machine(spec, f);
    const std::vector<float> once = machine.run(frame);
    const double away = difference(once, wanted);
    const double limit = f == Format::single ? 2e-5 : f == Format::half ? 4e-3 : 2e-2;
    if (!(away <= limit)) {
      ++failures;
      std::printf("FAILED: %s, %lld x %lld, format %d: %.2e\n", name.c_str(), static_cast<long long>(h),
                  static_cast<long long>(w), static_cast<int>(f), away);
    }
    if (care == Care::some) continue;
    machine.run(frame);
    expect(machine.run(frame) == once, name + ": recorded, the same");
    expect(machine.device.graphs > 0, name + ": is recorded");
    expect(machine.run(frame, true) == once, name + ": in device memory, the same");
    Machine other(spec, f, OrderedLauncher::Order::descending);
    expect(other.run(frame) == once, name + ": in another order, the same");
  }
}

// A layer between a linear one that makes `in` channels and one that brings back the image's.
using Make = std::function<int64_t(Builder&, int64_t)>;
void enclosed(const std::string& name, int64_t in, const Make& make, int64_t h, int64_t w, Care care) {
  Builder b(3);
  const int64_t x = b.linear(0, in), y = make(b, x);
  b.linear(y, 3);
  compare(name + " of " + std::to_string(in), b.spec(), h, w, care);
}

void operations() {
  for (const int64_t c : {1, 3, 7, 8, 9, 16, 24, 64, 72})
    for (const bool pixel : {false, true}) {
      if (pixel && c != 3 && c != 64) continue;
      const auto check = [&](const std::string& name, const Make& make) {
        enclosed(name, c, make, pixel ? 1 : 9, pixel ? 1 : 18, c == 9 ? Care::full : Care::some);
      };
      check("conv 3x3", [](Builder& b, int64_t x) { return b.conv(x, 9); });
      check("depthwise", [&](Builder& b, int64_t x) { return b.conv(x, c, {3, 5, 1, 1, c}); });
      check("layer norm", [&](Builder& b, int64_t x) {
        return b.add({"layer_norm",
                      {x},
                      {{"eps", 1e-2}},
                      {{"weight", b.numbers({c}, 1.0f)}, {"bias", b.numbers({c})}}},
                     c);
      });
      check("instance norm", [&](Builder& b, int64_t x) {
        return b.add({"instance_norm",
                      {x},
                      {{"eps", 1e-2}},
                      {{"weight", b.numbers({c}, 1.0f)}, {"bias", b.numbers({c})}}},
                     c);
      });
      check("mean of the frame", [](Builder& b, int64_t x) {
        return b.two("multiply", x, b.add({"average_pool", {x}, {{"window", {}}}, {}}, b.channels(x)));
      });
      check("windows", [](Builder& b, int64_t x) {
        return b.add({"average_pool", {x}, {{"window", std::vector<double>{5, 6}}}, {}}, b.channels(x));
      });
      check("attention", [&](Builder& b, int64_t x) {
        return b.add({"channel_attention",
                      {x},
                      {{"window", std::vector<double>{7, 40}}, {"activation", std::string("sigmoid")}},
                      {{"weight", b.numbers({c, 4})},
                       {"squeeze_weight", b.numbers({4, c})},
                       {"bias", b.numbers({c})}}},
                     c);
      });
      check("attention at every few pixels", [&](Builder& b, int64_t x) {
        return b.add({"channel_attention",
                      {x},
                      {{"window", std::vector<double>{6, 40}},
                       {"step", std::vector<double>{3, 4}},
                       {"activation", std::string("none")}},
                      {{"weight", b.numbers({c, c})}, {"bias", b.numbers({c})}}},
                     c);
      });
      check("prelu",
            [&](Builder& b, int64_t x) { return b.add({"prelu", {x}, {}, {{"slope", b.numbers({c})}}}, c); });
      check("bias, scale and tanh", [&](Builder& b, int64_t x) {
        const int64_t y = b.simple("tanh", x);  // used twice: neither joins what made it
        const int64_t z = b.add({"bias", {y}, {}, {{"bias", b.numbers({c})}}}, c);
        const int64_t scaled = b.add({"scale", {z}, {}, {{"scale", b.numbers({c})}}}, c);
        return b.two("multiply", b.add({"gelu", {scaled}, {{"approximate", std::string("none")}}, {}}, c), y);
      });
      check("joined", [&](Builder& b, int64_t x) {
        const int64_t y = b.conv(x, 2 * c, {1, 1});
        const int64_t z = b.add({"scale", {y}, {}, {{"scale", b.numbers({2 * c}, 1.0f)}}}, 2 * c);
        return b.two("add", x, b.add({"simple_gate", {z}, {}, {}}, c));
      });
      check("pixel shuffle", [&](Builder& b, int64_t x) {
        const int64_t y = b.add({"pixel_shuffle", {b.linear(x, 4 * c)}, {{"factor", 2.0}}, {}}, c);
        return b.add({"pixel_unshuffle", {y}, {{"factor", 2.0}}, {}}, 4 * c);
      });
      check("concat", [&](Builder& b, int64_t x) {
        return b.add({"concat", {x, 0, x, b.linear(x, 8)}, {}, {}}, 2 * c + 11);
      });
    }
  for (const bool large : {false, true}) {
    const auto check = [&](const std::string& name, int64_t c, const Make& make) {
      enclosed(name, c, make, large ? 10 : 6, large ? 18 : 10, large ? Care::some : Care::full);
    };
    using Conv = Builder::Conv;
    check("conv 9x9, reflected", 16,
          [](Builder& b, int64_t x) { return b.conv(x, 8, Conv{9, 9, 1, 1, 1, true}); });
    check("groups of whole blocks", 32,
          [](Builder& b, int64_t x) { return b.conv(x, 16, Conv{3, 3, 1, 1, 2}); });
    check("groups of odd sizes", 12,
          [](Builder& b, int64_t x) { return b.conv(x, 20, Conv{3, 3, 1, 1, 4}); });
    check("depthwise, gated", 32, [](Builder& b, int64_t x) {
      return b.two("add", b.add({"simple_gate", {b.conv(x, 32, Conv{3, 3, 1, 1, 32, true})}, {}, {}}, 16),
                   b.linear(0, 16));
    });
    check("down and up", 24, [](Builder& b, int64_t x) {
      return b.transposed(b.conv(x, 40, Conv{2, 2, 2, 2}), 12, 4, 2, 1, 1);
    });
    check("up, odd kernel and groups", 16, [](Builder& b, int64_t x) {
      const int64_t y = b.conv(x, 16, Conv{2, 2, 2, 2});
      return b.add({"resize",
                    {b.transposed(y, 16, 3, 2, 1, 0, 2)},
                    {{"factor", std::vector<double>{1, 1}}, {"mode", std::string("nearest")}},
                    {}},
                   16);
    });
    for (const char* mode : {"nearest", "bilinear"})
      check(mode, 9, [&](Builder& b, int64_t x) {
        const int64_t y = b.add(
            {"resize", {x}, {{"factor", std::vector<double>{3, 0.5}}, {"mode", std::string(mode)}}, {}}, 9);
        return b.add(
            {"resize", {y}, {{"factor", std::vector<double>{1.0 / 3, 2}}, {"mode", std::string(mode)}}, {}},
            9);
      });
    check("kernel larger than shared memory", 8,
          [](Builder& b, int64_t x) { return b.conv(x, 8, Conv{61, 61}); });
    check("pixels multiplied by one channel", 16,
          [](Builder& b, int64_t x) { return b.two("multiply", x, b.linear(x, 1)); });
    check("wiener", 9, [](Builder& b, int64_t x) {
      return b.add({"fft_wiener", {x}, {}, {{"log_balance", b.numbers({9})}}}, 9);
    });
  }
}

// As networks are made of these: blocks with gates and attention, and a U-net with skips and instance norms.
NetworkSpec gated_blocks() {
  Builder b(3);
  int64_t x = b.conv(0, 16);
  const int64_t skip = x;
  for (int level = 0; level < 2; ++level) {
    const int64_t c = b.channels(x);
    const auto norm = [&](int64_t v) {
      return b.add({"layer_norm", {v}, {{"eps", 1e-6}}, {{"weight", b.numbers({c}, 1.0f)}}}, c);
    };
    int64_t y = b.conv(b.linear(norm(x), 2 * c), 2 * c, {3, 3, 1, 1, 2 * c});
    y = b.add({"simple_gate", {y}, {}, {}}, c);
    y = b.add({"channel_attention",
               {y},
               {{"window", std::vector<double>{8, 8}},
                {"step", std::vector<double>{2, 2}},
                {"activation", std::string("none")}},
               {{"weight", b.numbers({c, c})}}},
              c);
    x = b.two("add", x, b.add({"scale", {b.linear(y, c)}, {}, {{"scale", b.numbers({c})}}}, c));
    y = b.linear(b.add({"simple_gate", {b.linear(norm(x), 2 * c)}, {}, {}}, c), c);
    x = b.two("add", x, y);
    if (level == 0) x = b.conv(x, 32, {2, 2, 2, 2});
  }
  x = b.add({"pixel_shuffle", {b.linear(x, 64)}, {{"factor", 2.0}}, {}}, 16);
  b.two("add", b.conv(b.two("add", skip, x), 3), 0);
  b.spec().multiple_of = {2, 2};
  return b.spec();
}

void chains() {
  const auto gated = gated_blocks();
  compare("gated blocks", gated, 11, 18, Care::full);
  compare("gated blocks", gated, 1, 1, Care::some);
  Builder b(1);
  const auto normed = [&](int64_t x) {
    return b.simple("relu", b.add({"instance_norm", {x}, {{"eps", 1e-3}}, {}}, b.channels(x)));
  };
  const int64_t top = normed(b.conv(0, 12, {7, 7, 1, 1, 1, true}));
  const int64_t below = normed(b.conv(top, 20, {3, 3, 2, 2}));
  const int64_t between = b.two("add", normed(b.conv(below, 20, {3, 3, 1, 1, 1, true})), below);
  const int64_t up = normed(b.transposed(between, 12, 4, 2, 1, 1));
  const int64_t sharp = b.add({"fft_wiener", {up}, {}, {{"log_balance", b.numbers({12})}}}, 12);
  const int64_t both = b.add({"concat", {sharp, top}, {}, {}}, 24);
  b.two("add", b.simple("tanh", b.conv(both, 1, {7, 7, 1, 1, 1, true})), 0);
  b.spec().multiple_of = {4, 4};
  compare("U-net", b.spec(), 15, 18, Care::full);
}

// Every call that can fail does so once: the network stays usable, and nothing is kept in the end.
void failing() {
  Builder b(3);
  const int64_t x = b.add({"fft_wiener", {b.linear(0, 8)}, {}, {{"log_balance", b.numbers({8})}}}, 8);
  b.linear(b.add({"instance_norm", {x}, {{"eps", 1e-3}}, {}}, 8), 3);
  const auto spec = b.spec();
  const Frame frame(3, 5, 6);
  std::vector<float> wanted;
  int64_t calls = 0;
  {
    Machine machine(spec, Format::half);
    wanted = machine.run(frame);
    machine.run(frame);
    calls = machine.device.calls;
  }
  for (int64_t at = 0; at < calls; ++at) {
    Device device;
    device.fail_at = at;
    int failed = 0;
    try {
      Machine machine(spec, Format::half, OrderedLauncher::Order::ascending, &device);
      for (int run = 0; run < 3; ++run) {
        std::vector<float> out(frame.image.size(), -7.0f);
        try {
          expect(machine.run(frame, out) == Outcome::good, "a good image");
          expect(out == wanted, "after a failure, the same");
        } catch (const std::runtime_error&) {
          ++failed;
        }
      }
    } catch (const std::runtime_error&) {
      ++failed;
    }
    // A graph that cannot be recorded is done without.
    expect(failed <= 1, "one failure at most");
    expect(device.idle(), "everything is given back");
  }
}

void images_that_cannot_be_used() {
  Builder b(1);
  b.linear(b.linear(0, 8), 1);
  for (float& w : b.spec().nodes[0].tensors["weight"].values) w = 1e3f;
  const auto spec = b.spec();
  Machine machine(spec, Format::half);
  Frame frame(1, 6, 7);
  std::vector<float> out(frame.image.size(), -7.0f);
  for (const float bad : {std::nanf(""), 2e12f, -std::numeric_limits<float>::infinity()}) {
    const float kept = std::exchange(frame.image[40], bad);
    expect(machine.run(frame, out) == Outcome::bad_image, "bad images are found");
    frame.image[40] = kept;
  }
  const float kept = std::exchange(frame.image[3], 1e5f);  // no half
  expect(machine.run(frame, out) == Outcome::overflow, "an overflow is found");
  frame.image[3] = kept;
  expect(out == std::vector<float>(out.size(), -7.0f), "nothing is written");
  expect(machine.run(frame, out) == Outcome::good, "others are good");
  // Bytes, the other way round, into every second column: as the same image in float32.
  std::vector<std::uint8_t> turned(42);
  for (int64_t y = 0; y < 6; ++y)
    for (int64_t x = 0; x < 7; ++x) {
      const auto v = static_cast<std::uint8_t>(20 * x + y);
      turned[static_cast<std::size_t>((6 - x) * 6 + y)] = v;
      frame.image[static_cast<std::size_t>(y * 7 + x)] = static_cast<float>(v) / 255.0f;
    }
  machine.run(frame, out);
  std::vector<float> wide(84, -7.0f);
  const Picture view{{turned.data() + 36, Element::u8, {0, 1, -6}}, 6, 7, 255, false};
  for (const bool on_device : {false, true}) {
    Picture picture = view;
    picture.on_device = on_device;
    const Result result{{wide.data(), {0, 56, 8}}, on_device};
    expect(machine.net->run(picture, result, 1e12f, {}, nullptr, [] {}) == Outcome::good, "a view");
    for (std::size_t i = 0; i < 42; ++i)
      expect(
          std::abs(wide[2 * i] - 255 * out[i]) < 1e-5f * std::abs(255 * out[i]) && wide[2 * i + 1] == -7.0f,
          "a view of bytes");
  }
  // Numbers that a Wiener filter cannot take, the image's own or the network's.
  Builder filtered(1);
  filtered.linear(
      filtered.add({"fft_wiener", {filtered.linear(0, 8)}, {}, {{"log_balance", filtered.numbers({8})}}}, 8),
      1);
  Machine other(filtered.spec(), Format::half);
  expect(other.run(frame, out) == Outcome::good, "a filter");
  other.refuses = true;
  expect(other.run(frame, out) == Outcome::overflow, "numbers that a filter refuses");
  frame.image[7] = std::nanf("");
  expect(other.run(frame, out) == Outcome::bad_image, "a bad image before a filter");
  frame.image[7] = 0;
  other.refuses = false;
  expect(other.run(frame, out) == Outcome::good, "others are good");
  expect(machine.net->memory(4000, 6000) > 4000.0 * 6000 * 16, "memory of a frame");
  expect(machine.net->memory(1 << 20, 1 << 20) > 1e15, "memory of a frame that no device holds");
  for (const auto& [h, w] : std::vector<std::pair<int64_t, int64_t>>{{0, 4}, {4, -1}}) {
    bool refused = false;
    try {
      machine.net->memory(h, w);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    expect(refused, "no frame without pixels");
  }
}

// What a Wiener filter reads is not rounded to 16 bits, where little work comes before it; others read it so.
void before_a_filter() {
  const auto wiener = [](Builder& b, int64_t x) {
    const int64_t c = b.channels(x);
    return b.add({"fft_wiener", {x}, {}, {{"log_balance", b.numbers({c})}}}, c);
  };
  Builder little(1);
  const int64_t seen = little.simple("relu", little.conv(0, 12, {5, 5}));
  const int64_t twice = wiener(little, little.linear(wiener(little, seen), 12));
  const int64_t both = little.two("add", little.conv(little.conv(twice, 48), 12), seen);
  little.two("add", little.conv(both, 1), 0);
  compare("before a filter", little.spec(), 19, 22, Care::full);
  Builder much(1);
  much.conv(wiener(much, much.conv(much.conv(0, 32), 32)), 1);
  const Frame frame(1, 19, 22);
  const auto rounding = [&](const NetworkSpec& spec, Format format) {
    Machine exact(spec, Format::single), machine(spec, format);
    const auto out = machine.run(frame);
    expect(difference(out, exact.run(frame)) < (format == Format::half ? 5e-3 : 2e-2), "before a filter");
    return difference(machine.read, exact.read);
  };
  for (const Format format : {Format::half, Format::bfloat}) {
    expect(rounding(little.spec(), format) < 1e-6, "what little makes for a filter is exact");
    expect(rounding(much.spec(), format) > 1e-4, "what much makes for a filter is rounded");
  }
}

// Weights that the numbers cannot hold are nobody's image's fault. Two sizes in turn keep their graphs.
void weights_and_sizes() {
  Builder b(1);
  b.linear(b.linear(0, 8), 1);
  const auto good = b.spec();
  b.spec().nodes[0].tensors["weight"].values[3] = 7e4f;
  const auto large = b.spec();
  for (const Format format : {Format::bfloat, Format::single}) Machine(large, format);
  bool refused = false;
  try {
    Machine machine(large, Format::half);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  expect(refused, "weights that are no halves");
  Machine machine(good, Format::half);
  const Frame small(1, 5, 6), wide(1, 40, 50);
  for (int round = 0; round < 3; ++round)
    for (const Frame* frame : {&small, &wide}) machine.run(*frame);
  const std::int64_t graphs = machine.device.graphs, allocations = machine.device.allocations;
  const auto kept = machine.run(small);
  machine.run(wide);
  expect(machine.device.graphs == graphs + 2, "both sizes are recorded");
  expect(machine.device.allocations == allocations, "and ask for nothing");
  machine.net->release();
  expect(machine.run(small) == kept, "after what was kept is given back, the same");
}

// An overflow within the network that an activation would turn into a number as good as any.
void hidden_overflows() {
  for (const Format format : {Format::half, Format::bfloat})
    for (const std::string op : {"relu", "sigmoid", "tanh"}) {
      Builder b(1);
      const float huge = format == Format::half ? 300.0f : 3e38f;
      b.linear(b.simple(op, b.linear(b.linear(0, 8), 8)), 1);
      for (float& w : b.spec().nodes[0].tensors["weight"].values) w = huge;
      for (float& w : b.spec().nodes[1].tensors["weight"].values) w = -1e-3f;
      const auto spec = b.spec();
      Machine machine(spec, format);
      Frame frame(1, 6, 7);
      std::vector<float> out(frame.image.size(), -7.0f);
      for (float& x : frame.image) x = 0.2f;  // 0.05 for the network
      expect(machine.run(frame, out) == Outcome::good, op + " of large values");
      frame.image[20] = 250.0f;
      expect(machine.run(frame, out) == Outcome::overflow, op + " hides no overflow");
    }
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  using namespace fastdeblur::tests;
  convolutions::check();
  operations();
  chains();
  failing();
  images_that_cannot_be_used();
  before_a_filter();
  hidden_overflows();
  weights_and_sizes();
  return failures ? 1 : 0;
}
