// Activations of eight numbers. Those that take exponentials are one function for all kernels of a file: it
// would be most of what there is to compile.
//
// An infinite sum comes from a value that overflowed its 16 bits. What would hide it, a ReLU or an activation
// with two asymptotes, makes it NaN, which reaches the result and is seen there; 0 times what is finite adds
// nothing.
#pragma once

#include "cuda/launch.h"
#include "nn/activation.h"

namespace fastdeblur::cuda::nn {

using fastdeblur::nn::Activation;

FD_HD_SHARED inline float curved(Activation::Kind kind, float x) {
  return Activation{kind, 0.0f}(x) + 0.0f * x;
}

FD_HD void activate(const Activation& a, float (&v)[8]) {
  if (a.kind == Activation::none) return;
  if (a.kind == Activation::relu) {
    for (float& x : v) x = x < 0.0f ? 0.0f * x : x;
  } else if (a.kind == Activation::leaky) {
    for (float& x : v) x = x < 0.0f ? x * a.slope : x;
  } else {
    for (float& x : v) x = curved(a.kind, x);
  }
}

}  // namespace fastdeblur::cuda::nn
