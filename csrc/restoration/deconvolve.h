// scikit-image's Wiener filter and Richardson-Lucy of one image, whole plans made and left in a call.
#pragma once

#include <array>
#include <cstdint>

namespace fastdeblur::restoration {

using Shape = std::array<std::int64_t, 3>;  // (c, m, x), see core/grid.h

template <class T>
struct Kernel {
  const T* values;  // contiguous, origin at shape / 2
  Shape shape;
};

template <class T>
struct WienerCall {
  const T* image;
  Shape shape;
  Kernel<T> psf;
  const T* power;  // |R|^2, (c, m, half), contiguous; null: of the Laplacian
  double balance;
  bool clip;  // to [-1, 1]
};

// Both return false where the answer would hang on rounding or is not finite; what out then holds is
// worthless. (Richardson-Lucy: where a blurred estimate passes through 0 while the data do not.)
template <class T>
bool wiener(const WienerCall<T>& call, T* out, int n_threads);

template <class T>
struct RichardsonLucyCall {
  const T* image;
  Shape shape;  // frame
  Shape grid;
  Kernel<T> psf;
  std::array<bool, 3> shifted;  // axes along which the back projector is the adjoint moved on by a pixel
  std::int64_t iterations;
  bool limited;  // whether filter_epsilon is there
  double filter_epsilon;
  bool clip;
};

template <class T>
bool richardson_lucy(const RichardsonLucyCall<T>& call, T* out, int n_threads);

extern template bool wiener<float>(const WienerCall<float>&, float*, int);
extern template bool wiener<double>(const WienerCall<double>&, double*, int);
extern template bool richardson_lucy<float>(const RichardsonLucyCall<float>&, float*, int);
extern template bool richardson_lucy<double>(const RichardsonLucyCall<double>&, double*, int);

}  // namespace fastdeblur::restoration
