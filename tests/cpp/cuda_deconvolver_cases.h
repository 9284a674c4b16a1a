// The deconvolver for a device, stepped on the host, against the one for the processor: boundaries, weights,
// accelerations, dimensions, element types, strides, both kinds of passes.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/element_bytes.h"
#include "cpu/deconvolver.h"
#include "cuda/deconvolver_impl.h"
#include "cuda_host_runtime.h"

namespace fastdeblur::tests {

using Shape = std::array<int64_t, 3>;
using cuda::LocatedPlane;
using cuda::PassKind;

inline std::string context;

inline void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s (%s)\n", what.c_str(), context.c_str());
  std::exit(1);
}

template <class T>
using Stepped = cuda::DeviceDeconvolver<T, QueuedLauncher>;

template <class T>
std::unique_ptr<Stepped<T>> stepped(Device& device, const Problem<T>& problem, PassKind kind,
                                    HostRuntime** made = nullptr) {
  auto runtime = std::make_unique<HostRuntime>(device);
  if (made) *made = runtime.get();
  QueuedLauncher launcher(*runtime);
  return std::make_unique<Stepped<T>>(std::move(runtime), launcher, problem, kind);
}

template <class E>
void put_as(char* at, double value) {
  const E element = static_cast<E>(value);
  std::memcpy(at, &element, sizeof element);
}

inline void put(Element element, char* at, double value) {
  switch (element) {
    case Element::f32:
      return put_as<float>(at, value);
    case Element::f64:
      return put_as<double>(at, value);
    case Element::u8:
      return put_as<std::uint8_t>(at, value);
    case Element::i8:
      return put_as<std::int8_t>(at, value);
    case Element::u16:
      return put_as<std::uint16_t>(at, value);
    case Element::i16:
      return put_as<std::int16_t>(at, value);
    case Element::u32:
      return put_as<std::uint32_t>(at, value);
    case Element::i32:
      return put_as<std::int32_t>(at, value);
    case Element::u64:
      return put_as<std::uint64_t>(at, value);
    case Element::i64:
      return put_as<std::int64_t>(at, value);
  }
}

// An image in memory of its own, which may be reversed, spread out and of any type.
struct Array {
  std::vector<char> memory;
  ImageView view;
  std::size_t first = 0;

  static Array make(Element element, const Shape& n, std::mt19937& random, double low, double high,
                    bool odd) {
    Array a;
    const auto e = static_cast<std::ptrdiff_t>(bytes_of(element));
    const std::ptrdiff_t spread = odd ? 2 : 1;
    const Shape pitch{n[1] * n[2] * e * spread, n[2] * e * spread, e * spread};
    a.memory.resize(static_cast<std::size_t>(n[0] * pitch[0] + e));
    a.view.element = element;
    std::ptrdiff_t first = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      const bool backwards = odd && i != 1;
      a.view.stride[i] = backwards ? -pitch[i] : pitch[i];
      if (backwards) first += (n[i] - 1) * pitch[i];
    }
    a.first = static_cast<std::size_t>(first);
    a.view.data = a.memory.data() + first;
    std::uniform_real_distribution<double> uniform(low, high);
    for (int64_t c = 0; c < n[0]; ++c)
      for (int64_t m = 0; m < n[1]; ++m)
        for (int64_t x = 0; x < n[2]; ++x) put(element, a.at(c, m, x), std::max(0.0, uniform(random)));
    return a;
  }
  char* at(int64_t c, int64_t m, int64_t x) {
    return memory.data() + first + c * view.stride[0] + m * view.stride[1] + x * view.stride[2];
  }
};

enum class Around { periodic, zero, reflect, unknown };

// Beyond the frame: two sources that fade into each other, their weights' sum 1.
inline AxisMap fade(int64_t frame, int64_t full) {
  AxisMap map;
  for (int64_t i = 0; i < full - frame; ++i) {
    map.first.push_back(std::max<int64_t>(0, frame - 1 - i % frame));
    map.second.push_back(i % frame);
    const double w = static_cast<double>(i + 1) / static_cast<double>(full - frame + 1);
    map.w1.push_back(1 - w);
    map.w2.push_back(w);
  }
  return map;
}
inline AxisMap dark(int64_t frame, int64_t full) {
  AxisMap map = fade(frame, full);
  std::fill(map.w1.begin(), map.w1.end(), 0.0);
  std::fill(map.w2.begin(), map.w2.end(), 0.0);
  return map;
}

template <class T>
Problem<T> problem_of(const Shape& frame, const Shape& more, const Shape& psf, Around around, int64_t psfs,
                      std::mt19937& random) {
  Problem<T> p;
  p.grid.frame = p.grid.full = frame;
  if (around != Around::periodic)
    for (std::size_t a = 0; a < 3; ++a) p.grid.full[a] += more[a];
  p.psf_shape = psf;
  p.psf_count = psfs;
  p.threads = 1;
  p.keep = true;
  p.extended = around == Around::periodic || around == Around::reflect;
  p.dark_outside = around == Around::zero;
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  const int64_t size = psf[0] * psf[1] * psf[2];
  for (int64_t k = 0; k < psfs; ++k) {
    std::vector<double> values(static_cast<std::size_t>(size));
    double sum = 0;
    for (double& v : values) sum += v = uniform(random);
    for (const double v : values) p.psfs.push_back(static_cast<T>(v / sum));
  }
  for (std::size_t a = 0; a < 3; ++a) {
    p.data_maps[a] = p.extended ? fade(frame[a], p.grid.full[a]) : dark(frame[a], p.grid.full[a]);
    p.init_maps[a] = fade(frame[a], p.grid.full[a]);
  }
  return p;
}

template <class T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
  double difference = 0, size = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double(a[i]) - double(b[i]), 2);
    size += std::pow(double(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

template <class T>
struct Outputs {
  std::vector<std::vector<T>> values;
  std::vector<MutableImageView<T>> views;
  Outputs(std::size_t count, const Shape& n, bool reversed) {
    const std::ptrdiff_t e = sizeof(T);
    values.assign(count, std::vector<T>(static_cast<std::size_t>(n[0] * n[1] * n[2]), T(-7)));
    for (auto& v : values) {
      MutableImageView<T> view{v.data(), {n[1] * n[2] * e, n[2] * e, e}};
      if (reversed) {
        view.data += n[2] - 1;
        view.stride[2] = -e;
      }
      views.push_back(view);
    }
  }
};

struct Setting {
  Shape frame, more, psf;
  Around around;
};

template <class T>
void compare(Element element, const Setting& s, PassKind kind, bool on_device, bool odd,
             std::mt19937& random) {
  const std::size_t count = 3;
  const double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-12;
  const Problem<T> problem = problem_of<T>(s.frame, s.more, s.psf, s.around, 2, random);
  Device device;
  HostRuntime* runtime = nullptr;
  auto ours = stepped<T>(device, problem, kind, &runtime);
  require(ours->kind() == kind, "kind of passes");
  const auto theirs = make_deconvolver<T>(problem, s.frame[0] == 1 && s.frame[1] == 1);
  std::vector<Array> images, weights, inits;
  for (std::size_t i = 0; i < count; ++i) {
    images.push_back(Array::make(element, s.frame, random, 1, 100, odd));
    weights.push_back(Array::make(Element::f32, s.frame, random, -0.3, 1, odd));
    inits.push_back(Array::make(Element::f64, s.frame, random, 1, 100, false));
  }
  const float some = 0.7f;  // of one pixel at least something is known
  for (Array& w : weights) std::memcpy(w.at(0, 0, 0), &some, sizeof some);
  Outputs<T> expected(count, s.frame, false), got(count, s.frame, odd);
  const auto planes = [&](Outputs<T>& out, bool with_weights, bool with_init) {
    std::vector<PlaneView<T>> views;
    for (std::size_t i = 0; i < count; ++i)
      views.push_back({images[i].view, out.views[i], static_cast<int64_t>(i % 2),
                       with_weights ? weights[i].view : ImageView{},
                       with_init ? inits[i].view : ImageView{}});
    return views;
  };
  const auto located = [&](const std::vector<PlaneView<T>>& views) {
    std::vector<LocatedPlane<T>> result;
    for (const auto& v : views) result.push_back({v, on_device, on_device, on_device, on_device});
    return result;
  };
  const auto straight = [&](std::vector<T> values) {
    if (odd)
      for (auto row = values.begin(); row != values.end(); row += s.frame[2])
        std::reverse(row, row + s.frame[2]);
    return values;
  };
  Stream stream = reinterpret_cast<Stream>(std::uintptr_t(on_device ? 1 : 0));
  const auto same = [&](const std::string& what) {
    if (on_device) runtime->synchronize(stream);  // arrays on the device are the caller's to wait for
    for (std::size_t i = 0; i < count; ++i) {
      const double d = distance(straight(got.values[i]), expected.values[i]);
      require(d < tolerance, what + ", plane " + std::to_string(i) + ": " + std::to_string(d / tolerance));
      std::fill(got.values[i].begin(), got.values[i].end(), T(-7));
    }
  };
  const auto no_poll = [] {};

  std::vector<T> power(static_cast<std::size_t>(problem.grid.rows() * problem.grid.half()));
  for (T& v : power) v = static_cast<T>(std::uniform_real_distribution<double>(0, 2)(random));
  for (const auto reg : {WienerOptions<T>::identity, WienerOptions<T>::laplacian, WienerOptions<T>::power}) {
    WienerOptions<T> options{T(0.05), reg, power.data()};
    theirs->wiener(planes(expected, false, false), options, no_poll);
    for (int repeat = 0; repeat < 3; ++repeat) {  // plain, recorded, replayed
      ours->wiener(located(planes(got, false, false)), options, stream, no_poll);
      same("wiener " + std::to_string(reg));
    }
  }
  for (const auto kind_of : {Acceleration::none, Acceleration::ogm, Acceleration::biggs_andrews})
    for (int which = 0; which < 4; ++which) {
      const bool with_weights = which & 1, with_init = which & 2;
      RichardsonLucyOptions options;
      options.iterations = 4;
      options.acceleration = kind_of;
      options.background = which == 3 ? 0.5 : 0;
      theirs->richardson_lucy(planes(expected, with_weights, with_init), options, false, {}, no_poll);
      for (int repeat = 0; repeat < (which == 0 ? 3 : 1); ++repeat) {
        ours->richardson_lucy(located(planes(got, with_weights, with_init)), options, false, {}, stream,
                              no_poll);
        same("richardson_lucy " + std::to_string(static_cast<int>(kind_of)) + " " + std::to_string(which));
      }
    }

  // Somebody who wants to be told, and ends the second plane's run early.
  RichardsonLucyOptions options;
  options.iterations = 5;
  options.acceleration = Acceleration::biggs_andrews;
  std::vector<double> changes, our_changes;
  std::vector<T> seen(expected.values[0]), our_seen(seen);
  const std::ptrdiff_t e = sizeof(T);
  const std::array<std::ptrdiff_t, 3> packed{s.frame[1] * s.frame[2] * e, s.frame[2] * e, e};
  theirs->richardson_lucy(
      planes(expected, false, false), options, true,
      [&](int64_t plane, int64_t done, double change, const auto& estimate) {
        changes.push_back(change);
        if (plane == 1 && done == 2) estimate(MutableImageView<T>{seen.data(), packed});
        return !(plane == 1 && done == 3);
      },
      no_poll);
  ours->richardson_lucy(
      located(planes(got, false, false)), options, true,
      [&](int64_t plane, int64_t done, double change, const auto& estimate) {
        our_changes.push_back(change);
        if (plane == 1 && done == 2) estimate(MutableImageView<T>{our_seen.data(), packed}, false);
        return !(plane == 1 && done == 3);
      },
      stream, no_poll);
  same("told");
  require(changes.size() == our_changes.size() && changes.size() == 13, "iterations told");
  for (std::size_t i = 0; i < changes.size(); ++i)
    require(std::abs(changes[i] - our_changes[i]) <= 200 * tolerance * (changes[i] + 1e-3), "change");
  require(distance(our_seen, seen) < tolerance, "estimate told");

  // One bad image of several: nothing is written.
  if (element == Element::f32) {
    const float nan = std::numeric_limits<float>::quiet_NaN(), negative = -1;
    for (const bool alone : {true, false})
      for (const bool wiener : {true, false}) {
        const float value = wiener ? nan : negative;
        char* where = images[2].at(s.frame[0] - 1, 0, s.frame[2] / 2);
        float kept;
        std::memcpy(&kept, where, sizeof kept);
        std::memcpy(where, &value, sizeof value);
        auto bad_planes = located(planes(got, false, false));
        if (alone) bad_planes.erase(bad_planes.begin(), bad_planes.begin() + 2);
        int64_t found = -1;
        try {
          if (wiener)
            ours->wiener(bad_planes, WienerOptions<T>{T(0.05)}, stream, no_poll);
          else
            ours->richardson_lucy(bad_planes, options, false, {}, stream, no_poll);
        } catch (const BadImage& bad) {
          found = bad.plane;
          require(bad.what == (wiener ? Bad::not_finite : Bad::negative) ||
                      (wiener && has(bad.what, Bad::not_finite)),
                  "what is bad");
        }
        require(found == (alone ? 0 : 2), "bad image found");
        for (const auto& v : got.values)
          for (const T x : v) require(x == T(-7), "nothing written");
        std::memcpy(where, &kept, sizeof kept);
      }
  }
  require(kind == PassKind::plain || device.transforms == 0, "transforms");
  require(device.graphs > 0, "graphs");
  ours.reset();
  require(device.idle(), "everything given back");
}

// Planes that differ by a constant distance, which passes work on at once: the channels of an image, or a
// batch. One bad pixel, and none is written.
template <class T>
void compare_alike(Element element, const Setting& s, PassKind kind, bool on_device, std::int64_t images,
                   std::int64_t channels, std::mt19937& random) {
  const std::int64_t h = s.frame[0], m = s.frame[1], w = s.frame[2], n = images * channels;
  const auto count = static_cast<std::size_t>(n);
  const Problem<T> problem = problem_of<T>(s.frame, s.more, s.psf, s.around, 1, random);
  Device device;
  HostRuntime* runtime = nullptr;
  auto ours = stepped<T>(device, problem, kind, &runtime);
  const auto theirs = make_deconvolver<T>(problem, h == 1 && m == 1);
  Array all = Array::make(element, {images * h, m, w * channels}, random, 1, 100, false);
  const std::ptrdiff_t in = all.view.stride[2], e = sizeof(T);
  const auto plane_of = [&](const void* data, std::ptrdiff_t size, std::size_t i) {
    const auto image = static_cast<std::ptrdiff_t>(i) / channels,
               channel = static_cast<std::ptrdiff_t>(i) % channels;
    return static_cast<const char*>(data) + (image * h * m * w * channels + channel) * size;
  };
  const auto strides = [&](std::ptrdiff_t size) {
    const std::ptrdiff_t pixel = channels * size;
    return std::array<std::ptrdiff_t, 3>{m * w * pixel, w * pixel, pixel};
  };
  std::vector<T> expected(static_cast<std::size_t>(h * m * w * n), T(-7)), got(expected);
  const auto planes = [&](std::vector<T>& out) {
    std::vector<LocatedPlane<T>> result;
    for (std::size_t i = 0; i < count; ++i) {
      const ImageView image{plane_of(all.view.data, in, i), element, strides(in)};
      const MutableImageView<T> to{reinterpret_cast<T*>(const_cast<char*>(plane_of(out.data(), e, i))),
                                   strides(e)};
      result.push_back({{image, to, 0, {}, {}}, on_device, on_device, on_device, on_device});
    }
    return result;
  };
  const auto views = [](const std::vector<LocatedPlane<T>>& located) {
    std::vector<PlaneView<T>> result;
    for (const auto& p : located) result.push_back(p.view);
    return result;
  };
  const Stream stream = reinterpret_cast<Stream>(std::uintptr_t(on_device ? 1 : 0));
  const auto no_poll = [] {};
  const WienerOptions<T> options{T(0.05)};
  theirs->wiener(views(planes(expected)), options, no_poll);
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::fill(got.begin(), got.end(), T(-7));
    ours->wiener(planes(got), options, stream, no_poll);
    if (on_device) runtime->synchronize(stream);
    require(distance(got, expected) < (sizeof(T) == 4 ? 2e-5 : 1e-12), "planes at once");
  }
  RichardsonLucyOptions run;
  run.iterations = 3;
  theirs->richardson_lucy(views(planes(expected)), run, false, {}, no_poll);
  ours->richardson_lucy(planes(got), run, false, {}, stream, no_poll);
  if (on_device) runtime->synchronize(stream);
  require(distance(got, expected) < (sizeof(T) == 4 ? 2e-5 : 1e-12), "planes in turn");
  if (element != Element::f32) return;
  for (std::size_t bad = 0; bad < count; ++bad) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    char* where = const_cast<char*>(plane_of(all.view.data, in, bad)) + (h * m * w / 2) * strides(in)[2];
    float kept;
    std::memcpy(&kept, where, sizeof kept);
    std::memcpy(where, &nan, sizeof nan);
    std::fill(got.begin(), got.end(), T(-7));
    std::int64_t found = -1;
    try {
      ours->wiener(planes(got), options, stream, no_poll);
    } catch (const BadImage& image) {
      found = image.plane;
    }
    require(found == static_cast<std::int64_t>(bad), "bad plane found");
    for (const T x : got) require(x == T(-7), "no plane written");
    std::memcpy(where, &kept, sizeof kept);
  }
}

template <class T>
void check_alike(std::mt19937& random) {
  const Setting flat{{13, 1, 11}, {3, 0, 5}, {4, 1, 5}, Around::reflect},
      odd{{6, 1, 9}, {2, 0, 6}, {3, 1, 4}, Around::zero},
      deep{{3, 5, 6}, {2, 1, 2}, {2, 2, 3}, Around::reflect};
  const std::pair<std::int64_t, std::int64_t> layouts[] = {{1, 2}, {1, 3}, {1, 6}, {2, 1},
                                                           {3, 1}, {6, 1}, {2, 3}};
  for (const bool on_device : {true, false})
    for (const auto& [images, channels] : layouts)
      for (const Setting& s : {flat, odd, deep}) {
        context = std::to_string(images) + " images of " + std::to_string(channels) + " channels" +
                  (on_device ? " on the device" : "") + ", " + std::to_string(s.frame[0]) + " rows";
        compare_alike<T>(Element::f32, s, PassKind::fused, on_device, images, channels, random);
        if (images * channels != 3) continue;
        compare_alike<T>(Element::u8, s, PassKind::fused, on_device, images, channels, random);
        compare_alike<T>(Element::u16, s, PassKind::fused, on_device, images, channels, random);
        compare_alike<T>(Element::f32, s, PassKind::plain, on_device, images, channels, random);
      }
}

// A frame that is no graph: the call returns when the image has been looked at, and not later.
template <class T>
void check_early_return(std::mt19937& random) {
  const Shape n{1024, 1, 1024};
  context = "a large frame";
  const Problem<T> problem = problem_of<T>(n, {0, 0, 0}, {3, 1, 3}, Around::periodic, 1, random);
  Device device;
  HostRuntime* runtime = nullptr;
  auto ours = stepped<T>(device, problem, PassKind::fused, &runtime);
  require(ours->kind() == PassKind::fused, "kind of passes");
  const auto theirs = make_deconvolver<T>(problem, false);
  Array image = Array::make(Element::f32, n, random, 1, 100, false);
  Outputs<T> expected(1, n, false), got(1, n, false);
  const WienerOptions<T> options{T(0.05)};
  const auto no_poll = [] {};
  theirs->wiener({{image.view, expected.views[0], 0, {}, {}}}, options, no_poll);
  const std::vector<LocatedPlane<T>> planes{{{image.view, got.views[0], 0, {}, {}}, true, true, true, true}};
  const Stream stream = reinterpret_cast<Stream>(std::uintptr_t(1));
  ours->wiener(planes, options, stream, no_poll);
  require(got.values[0].back() == T(-7), "returns before it is done");
  runtime->synchronize(stream);
  require(distance(got.values[0], expected.values[0]) < 2e-5, "and is done then");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(image.at(1023, 0, 1000), &nan, sizeof nan);
  std::fill(got.values[0].begin(), got.values[0].end(), T(-7));
  bool found = false;
  try {
    ours->wiener(planes, options, stream, no_poll);
  } catch (const BadImage&) {
    found = true;
  }
  runtime->synchronize(stream);
  require(found, "a bad pixel of a large frame");
  for (const T x : got.values[0]) require(x == T(-7), "nothing of it written");
}

inline const char* name(Around around) {
  constexpr const char* names[] = {"periodic", "zero", "reflect", "unknown"};
  return names[static_cast<int>(around)];
}

template <class T>
void check_all() {
  std::mt19937 random(5);
  const struct {
    Shape frame, more, psf;
    bool fused;  // whether the fused passes cover the extended grid, and the frame itself
  } shapes[] = {
      {{1, 1, 1}, {0, 0, 0}, {1, 1, 1}, true},   {{1, 1, 17}, {0, 0, 7}, {1, 1, 4}, false},
      {{1, 1, 24}, {0, 0, 8}, {1, 1, 9}, true},  {{6, 1, 10}, {2, 0, 5}, {3, 1, 4}, true},
      {{13, 1, 11}, {3, 0, 4}, {4, 1, 5}, true}, {{7, 1, 1}, {3, 0, 0}, {4, 1, 1}, true},
      {{1, 1, 2}, {0, 0, 2}, {1, 1, 2}, true},   {{17, 1, 19}, {2, 0, 4}, {3, 1, 3}, false},
      {{3, 5, 6}, {2, 1, 2}, {2, 2, 3}, true},   {{5, 1, 40}, {4, 0, 8}, {5, 1, 12}, true},
      {{4, 3, 7}, {4, 2, 3}, {6, 3, 2}, true},
  };
  std::mt19937 others(7);
  check_alike<T>(others);
  if constexpr (sizeof(T) == 4) check_early_return<T>(others);
  int odd = 0;
  for (const auto& shape : shapes)
    for (const auto around : {Around::periodic, Around::zero, Around::reflect, Around::unknown})
      for (const auto kind : {PassKind::fused, PassKind::plain}) {
        if (kind == PassKind::fused && !shape.fused) continue;
        const Setting s{shape.frame, shape.more, shape.psf, around};
        ++odd;
        context = std::string(name(around)) + (kind == PassKind::fused ? " fused " : " plain ") +
                  std::to_string(s.frame[0]) + "x" + std::to_string(s.frame[1]) + "x" +
                  std::to_string(s.frame[2]) + ", " + std::to_string(sizeof(T)) + " bytes, variant " +
                  std::to_string(odd % 4);
        compare<T>(Element::f32, s, kind, odd % 4 > 1, odd % 2, random);
      }
  const Setting s{{5, 1, 9}, {3, 0, 3}, {3, 1, 3}, Around::reflect};
  for (const bool on_device : {true, false}) {
    context = on_device ? "element types on the device" : "element types";
    compare<T>(Element::f64, s, PassKind::plain, on_device, true, random);
    compare<T>(Element::u8, s, PassKind::fused, on_device, true, random);
    compare<T>(Element::i8, s, PassKind::plain, on_device, false, random);
    compare<T>(Element::u16, s, PassKind::plain, on_device, true, random);
    compare<T>(Element::i16, s, PassKind::fused, on_device, false, random);
    compare<T>(Element::u32, s, PassKind::plain, on_device, true, random);
    compare<T>(Element::i32, s, PassKind::plain, on_device, false, random);
    compare<T>(Element::u64, s, PassKind::plain, on_device, true, random);
    compare<T>(Element::i64, s, PassKind::fused, on_device, false, random);
  }
}

}  // namespace fastdeblur::tests
