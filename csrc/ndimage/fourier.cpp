#include "ndimage/fourier.h"

#include <complex>

#include "ndimage/units.h"

namespace fastdeblur::ndimage {

namespace {

struct NoScratch {};

// Calls f(row, begin) for all rows along the last axis; begin: the row's first element.
template <class F>
void for_rows(const Factors& factors, int n_threads, F&& f) {
  const std::size_t last = factors.shape.size() - 1;
  const int64_t width = factors.shape[last];
  int64_t rows = 1;
  for (std::size_t axis = 0; axis < last; ++axis) rows *= factors.shape[axis];
  const int64_t together = width < 4096 ? 4096 / width : 1;
  const int64_t units = (rows + together - 1) / together;
  for_units<NoScratch>(units, 32.0 * static_cast<double>(rows) * static_cast<double>(width), n_threads,
                       [&](int64_t unit, NoScratch&) {
                         const int64_t end = unit + 1 == units ? rows : (unit + 1) * together;
                         for (int64_t row = unit * together; row < end; ++row) f(row, row * width);
                       });
}

// The product of the leading axes' factors, first axis first.
template <class T>
T leading(const Factors& factors, int64_t row) {
  const std::size_t last = factors.shape.size() - 1;
  int64_t rows = 1;
  for (std::size_t axis = 0; axis < last; ++axis) rows *= factors.shape[axis];
  T product = 1.0;
  for (std::size_t axis = 0; axis < last; ++axis) {
    rows /= factors.shape[axis];
    product *= reinterpret_cast<const T*>(factors.tables[axis])[row / rows % factors.shape[axis]];
  }
  return product;
}

template <class T>
void scale(const T* input, T* out, const Factors& factors, int n_threads) {
  const int64_t width = factors.shape.back();
  const double* table = factors.tables.back();
  for_rows(factors, n_threads, [&](int64_t row, int64_t begin) {
    const double first = leading<double>(factors, row);
    for (int64_t x = 0; x < width; ++x)
      out[begin + x] = static_cast<T>(static_cast<double>(input[begin + x]) * (first * table[x]));
  });
}

template <class In, class Out, bool Real>
void rotate(const In* input, Out* out, const Factors& factors, int n_threads) {
  const int64_t width = factors.shape.back();
  const double* table = factors.tables.back();
  for_rows(factors, n_threads, [&](int64_t row, int64_t begin) {
    const auto first = leading<std::complex<double>>(factors, row);
    const double c = first.real(), s = first.imag();
    Out* to = out + 2 * begin;
    const In* from = input + (Real ? 1 : 2) * begin;
    for (int64_t x = 0; x < width; ++x) {
      const double cosine = c * table[2 * x] - s * table[2 * x + 1];
      const double sine = c * table[2 * x + 1] + s * table[2 * x];
      const double re = from[Real ? x : 2 * x], im = Real ? 0.0 : static_cast<double>(from[2 * x + 1]);
      to[2 * x] = static_cast<Out>(Real ? re * cosine : re * cosine - im * sine);
      to[2 * x + 1] = static_cast<Out>(Real ? re * sine : re * sine + im * cosine);
    }
  });
}

template <class In, class Out>
void rotate_from(const void* input, bool real_input, void* out, const Factors& factors, int n_threads) {
  const In* from = static_cast<const In*>(input);
  Out* to = static_cast<Out*>(out);
  if (real_input) {
    rotate<In, Out, true>(from, to, factors, n_threads);
  } else {
    rotate<In, Out, false>(from, to, factors, n_threads);
  }
}

}  // namespace

void fourier_scale(const void* input, void* out, Element element, const Factors& factors, int n_threads) {
  if (element == Element::f32) {
    scale(static_cast<const float*>(input), static_cast<float*>(out), factors, n_threads);
  } else {
    scale(static_cast<const double*>(input), static_cast<double*>(out), factors, n_threads);
  }
}

void fourier_rotate(const void* input, Element input_element, bool real_input, void* out, Element out_element,
                    const Factors& factors, int n_threads) {
  const bool from_single = input_element == Element::f32, to_single = out_element == Element::f32;
  if (from_single && to_single) return rotate_from<float, float>(input, real_input, out, factors, n_threads);
  if (from_single) return rotate_from<float, double>(input, real_input, out, factors, n_threads);
  if (to_single) return rotate_from<double, float>(input, real_input, out, factors, n_threads);
  rotate_from<double, double>(input, real_input, out, factors, n_threads);
}

}  // namespace fastdeblur::ndimage
