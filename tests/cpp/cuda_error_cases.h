// Calls that ask something of a device fail, one at a time: nothing leaks, nothing half-written reaches
// the caller, and the same plan then does its work.
#pragma once

#include "cuda_deconvolver_cases.h"

namespace fastdeblur::tests {

template <class T>
struct Scene {
  std::mt19937 random{11};
  Shape frame{6, 1, 9};
  Problem<T> problem = problem_of<T>(frame, {2, 0, 3}, {3, 1, 3}, Around::unknown, 2, random);
  std::vector<Array> images, weights;
  Outputs<T> out;

  explicit Scene(std::size_t count = 3) : out(count, frame, false) {
    for (std::size_t i = 0; i < count; ++i) {
      images.push_back(Array::make(Element::f32, frame, random, 1, 100, true));
      weights.push_back(Array::make(Element::f32, frame, random, 0.2, 1, false));
    }
  }
  std::vector<LocatedPlane<T>> planes(bool on_device) {
    std::vector<LocatedPlane<T>> result;
    for (std::size_t i = 0; i < images.size(); ++i)
      result.push_back({{images[i].view, out.views[i], static_cast<int64_t>(i % 2), weights[i].view, {}},
                        on_device,
                        on_device,
                        on_device,
                        on_device});
    return result;
  }
  void forget() {
    for (auto& v : out.values) std::fill(v.begin(), v.end(), T(-7));
  }
};

template <class T>
void work(Device& device, Stepped<T>& d, Scene<T>& scene, bool on_device) {
  const auto planes = scene.planes(on_device);
  const auto no_poll = [] {};
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (const auto reg : {WienerOptions<T>::laplacian, WienerOptions<T>::power}) {
      std::vector<T> power(static_cast<std::size_t>(scene.problem.grid.rows() * scene.problem.grid.half()),
                           T(1));
      d.wiener(planes, WienerOptions<T>{T(0.1), reg, power.data()}, nullptr, no_poll);
    }
    RichardsonLucyOptions options;
    options.iterations = 2;
    options.acceleration = Acceleration::biggs_andrews;
    d.richardson_lucy(planes, options, false, {}, nullptr, no_poll);
  }
  RichardsonLucyOptions options;
  options.iterations = 2;
  std::vector<T> seen(static_cast<std::size_t>(scene.frame[0] * scene.frame[2]));
  const std::ptrdiff_t e = sizeof(T);
  d.richardson_lucy(
      planes, options, true,
      [&](int64_t, int64_t, double, const auto& estimate) {
        device.here = false;  // as a function of somebody else's may leave it
        estimate(MutableImageView<T>{seen.data(), {scene.frame[2] * e, 0, e}}, false);
        require(!device.here, "the caller's device stays the current one");
        return true;
      },
      nullptr, no_poll);
}

// every: 1, or how many calls apart failures are.
template <class T>
void fail_everywhere(PassKind kind, bool on_device, bool lazy, std::int64_t every) {
  Scene<T> scene;
  Device good;
  {
    const auto d = stepped<T>(good, scene.problem, kind);
    work(good, *d, scene, on_device);
  }
  const auto expected = scene.out.values;
  require(good.idle(), "everything given back");

  std::int64_t failures = 0;
  for (std::int64_t at = 0;; at += every) {
    context = "failure at call " + std::to_string(at);
    Device device;
    device.lazy = lazy;
    device.fail_at = at;
    scene.forget();
    bool failed = false;
    std::unique_ptr<Stepped<T>> d;
    try {
      d = stepped<T>(device, scene.problem, kind);
      work(device, *d, scene, on_device);
    } catch (const cuda::OutOfDeviceMemory& error) {
      failed = true;
      require(error.asked > 0, "bytes asked for");
    } catch (const cuda::DeviceFailure&) {
      failed = true;
    }
    if (failed) {
      ++failures;
      if (d) work(device, *d, scene, on_device);
    }
    const bool made = static_cast<bool>(d);
    d.reset();
    require(device.idle(), "everything given back");
    if (made) require(scene.out.values == expected, "the plan works afterwards");
    if (device.calls <= at) break;  // there was none so late
  }
  require(failures > 100 / every, "calls that can fail");
}

// Planes in host memory take turns in the ring whatever lies between them.
template <class T>
void both_kinds_of_memory() {
  Scene<T> scene(6);
  context = "planes in host and in device memory";
  std::vector<std::vector<T>> expected;
  for (const bool mixed : {false, true}) {
    Device device;
    HostRuntime* runtime = nullptr;
    auto d = stepped<T>(device, scene.problem, PassKind::fused, &runtime);
    auto planes = scene.planes(true);
    for (std::size_t i = 0; mixed && i < planes.size(); ++i)
      if (i % 3 == 0 || i == 4) {
        planes[i].image_on_device = planes[i].out_on_device = false;
        planes[i].weights_on_device = planes[i].init_on_device = false;
      }
    scene.forget();
    RichardsonLucyOptions options;
    options.iterations = 2;
    d->richardson_lucy(planes, options, false, {}, nullptr, [] {});
    runtime->synchronize(nullptr);
    if (mixed) require(scene.out.values == expected, "the same results");
    expected = scene.out.values;
  }
}

// Where memory runs out, nothing has been written: all of it is asked for before the first result.
template <class T>
void short_of_memory() {
  Scene<T> scene(6);
  const auto untouched = [&] {
    scene.forget();
    return scene.out.values;
  }();
  // The first is in device memory, and would be done before the second asks for buffers to travel through;
  // the last are larger, so that buffers grow while there are results.
  for (std::size_t i = 3; i < 6; ++i)
    scene.images[i] = Array::make(Element::f64, scene.frame, scene.random, 1, 100, true);
  auto planes = scene.planes(false);
  planes[0] = scene.planes(true)[0];
  std::int64_t failures = 0;
  for (const bool richardson_lucy : {false, true})
    for (std::int64_t at = 0;; ++at) {
      context = "allocation " + std::to_string(at) + " fails";
      Device device;
      device.fail_allocation = at;
      auto d = stepped<T>(device, scene.problem, PassKind::plain);
      scene.forget();
      try {
        RichardsonLucyOptions options;
        options.iterations = 2;
        if (richardson_lucy)
          d->richardson_lucy(planes, options, false, {}, nullptr, [] {});
        else
          d->wiener(planes, WienerOptions<T>{T(0.1)}, nullptr, [] {});
        break;                               // there was none so late
      } catch (const std::runtime_error&) {  // OutOfDeviceMemory, or DeviceFailure for pinned memory
        ++failures;
        require(scene.out.values == untouched, "nothing is written");
      }
    }
  require(failures > 12, "allocations that can fail");
}

// Channels that are worked on at once where there is memory for it, and one by one where there is not.
template <class T>
void short_of_memory_for_several() {
  const Shape n{20, 1, 24};
  std::mt19937 random(3);
  const Problem<T> problem = problem_of<T>(n, {4, 0, 8}, {5, 1, 7}, Around::reflect, 1, random);
  const std::ptrdiff_t e = sizeof(T), c = 3;
  for (const bool on_device : {true, false}) {
    Array image =
        Array::make(sizeof(T) == 4 ? Element::f32 : Element::f64, {n[0], 1, c * n[2]}, random, 1, 100, false);
    std::vector<T> out(static_cast<std::size_t>(c * n[0] * n[2]));
    std::vector<LocatedPlane<T>> planes;
    const std::array<std::ptrdiff_t, 3> strides{c * n[2] * e, c * n[2] * e, c * e};
    for (std::ptrdiff_t k = 0; k < c; ++k)
      planes.push_back(
          {{{image.at(0, 0, 0) + k * e, image.view.element, strides}, {out.data() + k, strides}, 0, {}, {}},
           on_device,
           on_device,
           on_device,
           on_device});
    const WienerOptions<T> options{T(0.1)};
    std::vector<T> expected;
    std::int64_t again = 0;
    for (std::int64_t at = -1;; ++at) {
      context = "allocation " + std::to_string(at) + " of three channels fails";
      Device device;
      device.fail_allocation = at;
      HostRuntime* runtime = nullptr;
      auto d = stepped<T>(device, problem, PassKind::fused, &runtime);
      const auto run = [&] {
        std::fill(out.begin(), out.end(), T(-7));
        d->wiener(planes, options, nullptr, [] {});
        runtime->synchronize(nullptr);
      };
      bool failed = false;
      try {
        run();
      } catch (const std::runtime_error&) {  // of what a single plane needs as well
        failed = true;
        require(out == std::vector<T>(out.size(), T(-7)), "nothing is written");
      }
      if (at < 0) expected = out;
      if (failed) run();  // the plan is as good as before
      require(distance(out, expected) < 1e-6, "the same without it");
      if (!failed && at >= 0 && device.allocations <= at) break;  // there was none so late
      again += failed ? 0 : 1;
    }
    require(again > 1, "calls that do with less");
  }
}

// A graph that is not launched is done without.
template <class T>
void graphs_that_fail() {
  Scene<T> scene;
  context = "graphs that fail";
  Device device;
  auto d = stepped<T>(device, scene.problem, PassKind::fused);
  const auto planes = scene.planes(false);
  const auto once = [&] {
    scene.forget();
    d->wiener(planes, WienerOptions<T>{T(0.1)}, nullptr, [] {});
    return scene.out.values;
  };
  const auto expected = once();
  require(once() == expected && device.graphs > 0, "recorded");
  const std::int64_t launched = device.graphs;
  device.fails_graphs = true;
  require(once() == expected, "the same results");
  device.fails_graphs = false;
  require(once() == expected && device.graphs == launched, "not launched again");
}

// A poll or a callback that throws, a foreign stream, more than there is.
template <class T>
void other_errors() {
  Scene<T> scene;
  Device device;
  auto d = stepped<T>(device, scene.problem, PassKind::fused);
  struct Stop {};
  bool stopped = false;
  try {
    d->wiener(scene.planes(true), WienerOptions<T>{T(0.1)}, nullptr, [] { throw Stop{}; });
  } catch (const Stop&) {
    stopped = true;
  }
  require(stopped, "poll");
  stopped = false;
  try {
    RichardsonLucyOptions options;
    options.iterations = 3;
    d->richardson_lucy(
        scene.planes(false), options, true,
        [&](int64_t plane, int64_t, double, const auto&) -> bool {
          device.here = false;
          if (plane == 1) throw Stop{};
          return true;
        },
        nullptr, [] {});
  } catch (const Stop&) {
    stopped = true;
  }
  require(stopped, "callback");
  stopped = false;
  try {
    d->wiener(scene.planes(true), WienerOptions<T>{T(0.1)}, HostRuntime::foreign(), [] {});
  } catch (const std::invalid_argument&) {
    stopped = true;
  }
  require(stopped, "foreign stream");
  work(device, *d, scene, false);
  d.reset();
  require(device.idle(), "everything given back");
}

// Every third call, and of what differs little every eleventh; with FASTDEBLUR_EVERY_FAILURE set every single
// one.
template <class T>
int check_errors() {
  const bool all = std::getenv("FASTDEBLUR_EVERY_FAILURE") != nullptr;
  const std::int64_t some = all ? 1 : 11, most = all ? 1 : sizeof(T) == 4 ? 3 : 11;
  fail_everywhere<T>(PassKind::fused, false, true, most);
  fail_everywhere<T>(PassKind::plain, true, true, most);
  if constexpr (sizeof(T) == 4) {
    fail_everywhere<T>(PassKind::fused, true, true, some);
    fail_everywhere<T>(PassKind::plain, false, false, some);
    both_kinds_of_memory<T>();
    short_of_memory<T>();
    short_of_memory_for_several<T>();
    graphs_that_fail<T>();
  }
  other_errors<T>();
  return 0;
}

}  // namespace fastdeblur::tests
