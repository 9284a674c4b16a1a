// What a deconvolver is asked, on whatever device it computes.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/grid.h"
#include "core/image.h"
#include "methods/richardson_lucy.h"

namespace fastdeblur {

// What to deconvolve: shapes in (c, m, x); maps fill the grid from the data (0 outside where that is
// unobserved) and from a first estimate. extended: the maps cover the whole grid, so that every pixel of it
// counts as observed.
template <class T>
struct Problem {
  Grid grid;
  std::array<int64_t, 3> psf_shape{1, 1, 1};
  std::vector<T> psfs;  // one after another, each of sum 1
  int64_t psf_count = 1;
  std::array<AxisMap, 3> data_maps, init_maps;
  bool extended = false;
  bool dark_outside = false;  // the scene is 0 outside the frame
  bool keep = false;          // many images to come: store transfer functions
  int threads = 0;
};

template <class T>
struct PlaneView {
  ImageView image;
  MutableImageView<T> out;
  int64_t psf = 0;
  ImageView weights, init;  // may be null
};

template <class T>
struct WienerOptions {
  T balance = 0;
  enum Reg { identity, laplacian, power } reg = identity;
  const T* power_values = nullptr;  // |R|^2, (c, m, half), contiguous
};

// What is wrong with a plane's image; the result was not touched.
struct BadImage {
  int64_t plane;
  Bad what;
};

// Called after an iteration of a plane: (plane, iterations done, relative change, estimate), where
// estimate(view) copies the estimate out. Returns whether to go on.
template <class T>
using Progress =
    std::function<bool(int64_t, int64_t, double, const std::function<void(MutableImageView<T>)>&)>;

}  // namespace fastdeblur
