#include "cuda/psf_impl.h"

#include "cuda/device.h"

namespace fastdeblur::cuda {
namespace {

template <class F>
void rasterise(int device, const PsfTarget& out, Stream stream, F f) {
  const std::unique_ptr<Runtime> runtime = make_runtime(device);
  const std::shared_ptr<void> entered = runtime->enter();
  runtime->check_stream(stream);
  DeviceLauncher launcher(runtime->limits().block_shared);
  PsfRasteriser<DeviceLauncher> rasteriser(*runtime, launcher, out, stream);
  f(rasteriser);
}

}  // namespace

void rasterise_motion(int device, const double* lengths, const double* angles, const PsfTarget& out,
                      Stream stream) {
  rasterise(device, out, stream, [&](auto& r) { r.motion(lengths, angles); });
}
void rasterise_defocus(int device, const double* radii, const PsfTarget& out, Stream stream) {
  rasterise(device, out, stream, [&](auto& r) { r.defocus(radii); });
}
void rasterise_gaussian(int device, const double* sigmas, const PsfTarget& out, Stream stream) {
  rasterise(device, out, stream, [&](auto& r) { r.gaussian(sigmas); });
}

}  // namespace fastdeblur::cuda
