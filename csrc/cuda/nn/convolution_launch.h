// Chooses a convolution's kernel. Compiled apart from all else: these kernels take longest.
#pragma once

#include "cuda/nn/convolution.h"

namespace fastdeblur::cuda::nn {

template <class T, int NT, class Launcher>
void launch_tiles(Launcher& launcher, Stream stream, const Convolution& c) {
  using Kernel = ConvolutionKernel<T, NT>;
  launcher.launch(stream, Kernel{c}, {c.blocks(), kThreads, Kernel::shared_bytes(c)});
}

template <class T, class Launcher>
void launch_format(Launcher& launcher, Stream stream, const Convolution& c, int tiles) {
  if (tiles == 1) return launch_tiles<T, 1>(launcher, stream, c);
  if (tiles == 2) return launch_tiles<T, 2>(launcher, stream, c);
  if (tiles == 4) return launch_tiles<T, 4>(launcher, stream, c);
  launch_tiles<T, 8>(launcher, stream, c);
}

template <class Launcher>
void launch_convolution(Launcher& launcher, Stream stream, Format f, int tiles, const Convolution& c) {
  if (c.blocks() == 0) return;
  if (f == Format::half) return launch_format<Half>(launcher, stream, c, tiles);
  if (f == Format::bfloat) return launch_format<Bfloat>(launcher, stream, c, tiles);
  launch_format<float>(launcher, stream, c, tiles);
}

}  // namespace fastdeblur::cuda::nn
