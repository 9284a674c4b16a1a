// Arrays in host memory on their way to a device and back: in parts, whatever their strides; and images
// looked at by the processor.
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cuda/staging.h"
#include "cuda_host_runtime.h"

namespace fastdeblur::tests {
namespace {

using cuda::HostArray;
using cuda::Shape;

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

char* at(const HostArray& a, std::int64_t c, std::int64_t m, std::int64_t x) {
  return a.data + c * a.stride[0] + m * a.stride[1] + x * a.stride[2];
}

template <class F>
void each_pixel(const Shape& n, F f) {
  for (std::int64_t c = 0; c < n[0]; ++c)
    for (std::int64_t m = 0; m < n[1]; ++m)
      for (std::int64_t x = 0; x < n[2]; ++x) f(c, m, x);
}

// Channels that lie pixel by pixel or plane by plane, some backwards, with gaps or without.
struct Scene {
  std::vector<char> memory;
  std::vector<HostArray> arrays;

  Scene(const Shape& n, std::int64_t element, std::int64_t channels, std::int64_t gap, bool interleaved,
        bool backwards) {
    const std::int64_t pitch = element * (interleaved ? channels : 1) * gap;
    const std::int64_t plane = n[0] * n[1] * n[2] * pitch;
    memory.resize(static_cast<std::size_t>(interleaved ? plane : plane * channels));
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<char>(i * 31 + i / 251);
    for (std::int64_t k = 0; k < channels; ++k) {
      HostArray a{memory.data() + k * (interleaved ? element : plane),
                  {static_cast<std::ptrdiff_t>(n[1] * n[2] * pitch),
                   static_cast<std::ptrdiff_t>(n[2] * pitch), static_cast<std::ptrdiff_t>(pitch)},
                  element};
      if (backwards) {
        a.data += (n[2] - 1) * a.stride[2];
        a.stride[2] = -a.stride[2];
      }
      arrays.push_back(a);
    }
  }
};

void there_and_back(const Shape& n, std::int64_t element, std::int64_t channels, std::int64_t gap,
                    bool interleaved, bool backwards, std::int64_t part) {
  const std::string what = std::to_string(n[0]) + "x" + std::to_string(n[1]) + "x" + std::to_string(n[2]) +
                           ", " + std::to_string(element) + " bytes, gap " + std::to_string(gap) +
                           (interleaved ? ", interleaved" : "") + (backwards ? ", backwards" : "") +
                           ", parts of " + std::to_string(part);
  Scene scene(n, element, channels, gap, interleaved, backwards);
  const std::vector<char> before = scene.memory;
  Device device;
  HostRuntime runtime(device);
  {
    cuda::Arena arena(runtime);
    cuda::Transfer in(arena, part), out(arena, part);
    const Stream up = runtime.make_stream(), down = runtime.make_stream();
    in.place(scene.arrays, n, false);
    in.send(up);
    runtime.synchronize(up);
    out.place(scene.arrays, n, true);
    std::fill(scene.memory.begin(), scene.memory.end(), char(99));
    bool same = true;
    for (std::size_t k = 0; k < scene.arrays.size(); ++k)
      each_pixel(n, [&](std::int64_t c, std::int64_t m, std::int64_t x) {
        const char* expected = before.data() + (at(scene.arrays[k], c, m, x) - scene.memory.data());
        same &= std::memcmp(at(in.at(k), c, m, x), expected, static_cast<std::size_t>(element)) == 0;
        std::memcpy(at(out.at(k), c, m, x), expected, static_cast<std::size_t>(element));
      });
    require(same, what + ": in");
    out.fetch(down);
    out.unpack();
    std::vector<bool> belongs(scene.memory.size());
    for (const HostArray& a : scene.arrays)
      each_pixel(n, [&](std::int64_t c, std::int64_t m, std::int64_t x) {
        for (std::int64_t e = 0; e < element; ++e)
          belongs[static_cast<std::size_t>(at(a, c, m, x) + e - scene.memory.data())] = true;
      });
    for (std::size_t i = 0; i < belongs.size(); ++i)
      same &= scene.memory[i] == (belongs[i] ? before[i] : char(99));
    require(same, what + ": out, and nothing beside");
    runtime.destroy_stream(up);
    runtime.destroy_stream(down);
  }
  runtime.synchronize(nullptr);
  require(device.idle(), what + ": everything given back");
}

void look() {
  const Shape n{300, 1, 1000};
  std::vector<float> image(300000, 1.0f), weights(300000, 1.0f);
  ImageView view{image.data(), Element::f32, {4000, 4000, 4}},
      weight{weights.data(), Element::f32, {4000, 4000, 4}};
  const auto found = [&](bool weighed) {
    return cuda::look_at_host<float>(view, weighed ? weight : ImageView{}, n, 1e30f);
  };
  require(found(false) == Bad::none && found(true) == Bad::none, "a good image");
  for (const std::size_t where : {std::size_t(0), std::size_t(123456), image.size() - 1}) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const float value : {nan, 1e31f, -1.0f}) {
      image[where] = value;
      const Bad bad = found(false);
      require(has(bad, Bad::not_finite) == (value != -1.0f), "not finite, or too large");
      require(has(bad, Bad::negative) == !(value >= 0), "negative");
      weights[where] = 0;
      require(found(true) == Bad::none, "weighed with 0");
      weights[where] = 1;
    }
    image[where] = 1;
  }
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  using namespace fastdeblur::tests;
  for (const std::int64_t part : {std::int64_t(1), std::int64_t(100), fastdeblur::cuda::Transfer::kPart})
    for (const bool interleaved : {false, true})
      for (const bool backwards : {false, true})
        for (const std::int64_t gap : {1, 3})
          for (const std::int64_t element : {1, 2, 4, 8})
            for (const Shape& n : {Shape{1, 1, 1}, Shape{7, 1, 5}, Shape{2, 3, 11}})
              there_and_back(n, element, 3, gap, interleaved, backwards, part);
  there_and_back({600, 1, 900}, 4, 3, 1, true, false, 1 << 20);
  there_and_back({600, 1, 900}, 8, 1, 2, false, true, 1 << 20);
  look();
  return 0;
}
