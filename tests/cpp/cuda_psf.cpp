// PSFs by the device's kernels, stepped on the host, against the rasterisers for the processor; and every
// call to the device failing once.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cuda/psf_impl.h"
#include "cuda_host_runtime.h"
#include "psf/rasterise.h"

namespace fastdeblur::tests {
namespace {

void require(bool holds, const std::string& what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what.c_str());
  std::exit(1);
}

constexpr std::int64_t kCount = 5;
const std::vector<double> lengths{0, 0.7, 5.5, 20, 131}, angles{0, 45, 30, -90, 123.4};
const std::vector<double> radii{0, 0.5, 0.51, 3.25, 9};
const std::vector<double> sigmas{0, 0, 0, 1, 1, 1, 0.3, 2, 0, 0.01, 40, 3, 2, 0.5, 0.7};

enum class Kind { motion, defocus, gaussian };

template <class T>
std::vector<T> on_device(Device& device, Kind kind, std::int64_t d, std::int64_t h, std::int64_t w) {
  std::vector<T> out(static_cast<std::size_t>(kCount * d * h * w), T(-7));  // outlives what is queued
  HostRuntime runtime(device);
  QueuedLauncher launcher(runtime);
  const cuda::PsfTarget target{out.data(), sizeof(T) == 8, kCount, d, h, w};
  cuda::PsfRasteriser<QueuedLauncher> rasteriser(runtime, launcher, target, nullptr);
  if (kind == Kind::motion) rasteriser.motion(lengths.data(), angles.data());
  if (kind == Kind::defocus) rasteriser.defocus(radii.data());
  if (kind == Kind::gaussian) rasteriser.gaussian(sigmas.data());
  runtime.synchronize(nullptr);
  return out;
}

std::vector<double> on_host(Kind kind, std::int64_t d, std::int64_t h, std::int64_t w) {
  std::vector<double> out(static_cast<std::size_t>(kCount * d * h * w));
  if (kind == Kind::motion) psf::rasterise_motion(lengths.data(), angles.data(), kCount, h, w, out.data(), 1);
  if (kind == Kind::defocus) psf::rasterise_defocus(radii.data(), kCount, h, w, out.data(), 1);
  if (kind == Kind::gaussian) psf::rasterise_gaussian(sigmas.data(), kCount, d, h, w, out.data(), 1);
  return out;
}

// Shares are the same to the bit; sums are taken in another order.
void compare(Kind kind, std::int64_t d, std::int64_t h, std::int64_t w) {
  Device device;
  const auto doubles = on_device<double>(device, kind, d, h, w);
  const auto floats = on_device<float>(device, kind, d, h, w);
  const auto expected = on_host(kind, d, h, w);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::string what = "kind " + std::to_string(static_cast<int>(kind)) + ", " + std::to_string(d) +
                             "x" + std::to_string(h) + "x" + std::to_string(w) + ", pixel " +
                             std::to_string(i);
    require(std::abs(doubles[i] - expected[i]) <= 1e-15 * 8 * expected[i], what);
    require(std::abs(double(floats[i]) - expected[i]) <= 1.2e-7 * expected[i] + 1e-45, what);
  }
  require(device.idle(), "everything given back");
}

void fail_everywhere(Kind kind) {
  Device good;
  const auto expected = on_device<double>(good, kind, 1, 9, 11);
  for (std::int64_t at = 0; at < good.calls; ++at) {
    Device device;
    device.fail_at = at;
    bool failed = false;
    try {
      on_device<double>(device, kind, 1, 9, 11);
    } catch (const std::runtime_error&) {
      failed = true;
    }
    require(failed && device.idle(), "a failure is told, and everything given back");
    require(on_device<double>(device, kind, 1, 9, 11) == expected, "usable afterwards");
  }
}

void refuse() {
  Device device;
  HostRuntime runtime(device);
  QueuedLauncher launcher(runtime);
  for (const auto& target :
       {cuda::PsfTarget{nullptr, true, 0, 1, 5, 5}, cuda::PsfTarget{nullptr, true, 1, 1, 5, 0},
        cuda::PsfTarget{nullptr, true, std::int64_t(1) << 20, 1, 1 << 20, 5}}) {
    bool refused = false;
    try {
      cuda::PsfRasteriser<QueuedLauncher> rasteriser(runtime, launcher, target, nullptr);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    require(refused, "a target of no pixel, or of too many rows");
  }
}

}  // namespace
}  // namespace fastdeblur::tests

int main() {
  using namespace fastdeblur::tests;
  for (const Kind kind : {Kind::motion, Kind::defocus}) {
    compare(kind, 1, 31, 29);
    compare(kind, 1, 1, 200);
    compare(kind, 1, 20, 1);
    fail_everywhere(kind);
  }
  compare(Kind::gaussian, 1, 13, 16);
  compare(Kind::gaussian, 7, 8, 131);
  fail_everywhere(Kind::gaussian);
  refuse();
  return 0;
}
