#include "cuda/nn/network.h"

#include "cuda/device.h"

namespace fastdeblur::cuda::nn {

std::unique_ptr<Net> make_net(int device, const NetworkSpec& spec, Format format) {
  std::unique_ptr<Runtime> runtime = make_runtime(device);
  const DeviceLauncher launcher(runtime->limits().block_shared);
  return std::make_unique<DeviceNet<DeviceLauncher>>(std::move(runtime), launcher, spec, format);
}

}  // namespace fastdeblur::cuda::nn
