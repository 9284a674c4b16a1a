// Chooses a convolution's kernel. Compiled apart from all else: these kernels take longest.
#pragma once

#include "cuda/nn/convolution.h"

namespace fastdeblur::cuda::nn {

template <int Bytes, int NT, class Launcher>
void launch_tiles(Launcher& launcher, Stream stream, Format f, const Convolution& c) {
  using Kernel = ConvolutionKernel<Bytes, NT>;
  launcher.launch(stream, Kernel{c, f}, {c.blocks(), kThreads, Kernel::shared_bytes(c)});
}

// tiles: what `pack` says; in float32 always kSingleTiles.
template <class Launcher>
void launch_convolution(Launcher& launcher, Stream stream, Format f, int tiles, const Convolution& c) {
  if (c.blocks() == 0) return;
  if (f == Format::single) return launch_tiles<4, kSingleTiles>(launcher, stream, f, c);
  if (tiles == 1) return launch_tiles<2, 1>(launcher, stream, f, c);
  if (tiles == 2) return launch_tiles<2, 2>(launcher, stream, f, c);
  if (tiles == 4) return launch_tiles<2, 4>(launcher, stream, f, c);
  launch_tiles<2, 8>(launcher, stream, f, c);
}

}  // namespace fastdeblur::cuda::nn
