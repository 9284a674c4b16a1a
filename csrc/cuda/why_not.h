// Why CUDA devices cannot compute, in one sentence, of what was seen of the machine. Nothing here needs
// CUDA's headers.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace fastdeblur::cuda {

struct MachineSeen {
  enum Answer { good, old_driver, no_device, broken };
  struct Device {
    int major = 0, minor = 0;  // compute capability
    bool pools = false;        // memory pools
  };

  int driver = 0, runtime = 0;  // 13000 is CUDA 13.0; driver: 0 where there is none
  int lowest = 0;               // compute capability that is needed, times ten
  Answer answer = good;         // the driver's when it was asked for devices
  std::string error;            // where it is broken
  std::vector<Device> devices;
  std::function<std::string()> no_cufft;  // why there is none; looked for where all else is there
};

// Empty if this device can compute.
inline std::string why_not(const MachineSeen& seen, int device) {
  const auto version = [](int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); };
  const auto capability = [](int major, int minor) {
    return std::to_string(major) + "." + std::to_string(minor);
  };
  const auto count = static_cast<int>(seen.devices.size());
  if (seen.driver == 0) return "there is no NVIDIA driver on this machine";
  if (seen.answer == MachineSeen::old_driver)
    return "the NVIDIA driver serves CUDA " + version(seen.driver) + ", and CUDA " + version(seen.runtime) +
           " is needed";
  if (seen.answer == MachineSeen::broken) return "the CUDA devices cannot be used: " + seen.error;
  if (seen.answer == MachineSeen::no_device || count == 0) return "there is no CUDA device";
  const std::string name = "cuda:" + std::to_string(device);
  if (device < 0 || device >= count)
    return "there is no " + name + ", only " + std::to_string(count) + (count == 1 ? " device" : " devices");
  const auto& one = seen.devices[static_cast<std::size_t>(device)];
  if (one.major * 10 + one.minor < seen.lowest)
    return name + " has compute capability " + capability(one.major, one.minor) + ", and " +
           capability(seen.lowest / 10, seen.lowest % 10) + " is needed";
  if (!one.pools) return name + " has no memory pools";
  return seen.no_cufft();
}

// Empty if some device can, else what is wrong with the first.
inline std::string why_not(const MachineSeen& seen) {
  const std::string first = why_not(seen, 0);
  if (first.empty()) return "";
  for (int device = 1; device < static_cast<int>(seen.devices.size()); ++device)
    if (why_not(seen, device).empty()) return "";
  return first;
}

}  // namespace fastdeblur::cuda
