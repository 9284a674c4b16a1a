// Linear convolution of an image with a kernel by FFT, cropped to what is wanted of it.
//
// An axis of the grid is either as long as the image needs it (one window, whose lower corner is the
// image's), or shorter: then the image is cut into windows that overlap by K - 1, each convolved periodically
// and kept where nothing has come around (overlap-save). Windows in cache beat whole images in memory where
// the kernel is small.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/image.h"

namespace fastdeblur::signal {

using std::int64_t;
using Shape = std::array<int64_t, 3>;

// Axes are (c, m, x) as in core/grid.h: a signal is (1, 1, w), an image (h, 1, w).
struct Convolution {
  Shape image{1, 1, 1}, kernel{1, 1, 1};
  Shape out{1, 1, 1}, start{0, 0, 0};  // the part of the full convolution that is wanted
  Shape grid{1, 1, 1};
  int threads = 0;
};

// One image and its result; both contiguous along x where T's own, any strides else.
template <class T>
struct ConvolutionPlane {
  ImageView image;
  MutableImageView<T> out;
};

// kernels: one for all planes, or one each. False if a value is not finite, or so large that a transform
// could overflow: then the results are undefined.
template <class T>
bool fft_convolve(const Convolution& c, const std::vector<ConvolutionPlane<T>>& planes,
                  const std::vector<ImageView>& kernels);

// Rows of one kernel: image (rows, n), kernel (k), out (rows, count) from start on, in segments of a length
// that the caller chooses, L of them in the SIMD lanes at once. The result's rows are contiguous.
struct OverlapSave {
  int64_t rows = 1, n = 1, k = 1, count = 1, start = 0, segment = 1;
  int threads = 0;
};

template <class T>
bool overlap_save(const OverlapSave& c, const ConvolutionPlane<T>& plane, const ImageView& kernel);

}  // namespace fastdeblur::signal
