// A network on a CUDA device. Nothing here needs CUDA's headers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/image.h"
#include "cuda/nn/numbers.h"
#include "cuda/runtime.h"
#include "nn/node.h"

namespace fastdeblur::cuda::nn {

using fastdeblur::nn::NetworkSpec;

// The caller's image, (c, h, w); `white` is 1 to the network.
struct Picture {
  ImageView view;
  int64_t h = 0, w = 0;
  float white = 1;
  bool on_device = false;
};

// Of the image's shape and unit.
struct Result {
  MutableImageView<float> view;
  bool on_device = false;
};

// Deblurs planes of float32 in device memory as node `node`, an `fft_wiener`, asks, in the order of a stream.
// False where it cannot, since a number is none or too large.
using Wiener = std::function<bool(int64_t node, const float* in, float* out, int64_t channels, int64_t h,
                                  int64_t w, Stream stream)>;

enum class Outcome { good, bad_image, overflow };

class Net {
 public:
  virtual ~Net() = default;

  // Work is ordered after what `stream` has to do, and has been done on return. bad_image: a number of it is
  // none, or beyond `limit`. Then, and after an overflow, what the result holds means nothing, and in host
  // memory it holds what it did. Throws std::invalid_argument where the frame cannot be run,
  // OutOfDeviceMemory, DeviceFailure.
  virtual Outcome run(const Picture& image, const Result& result, float limit, const Wiener& wiener,
                      Stream stream, const std::function<void()>& poll) = 0;
  // Device bytes of a run beside what is in device memory already; more than any device has for frames that
  // no run can have.
  virtual double memory(int64_t h, int64_t w) const = 0;
  virtual int64_t channels() const = 0;
  // Bytes of it that the last run has left to the next.
  virtual int64_t kept() = 0;
  // Gives them back.
  virtual void release() = 0;
};

std::unique_ptr<Net> make_net(int device, const NetworkSpec& spec, Format format);

}  // namespace fastdeblur::cuda::nn
