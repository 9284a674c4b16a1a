// What the passes do to pixels and frequencies: the functors of core/functors.h with the memory that they
// work on.
#pragma once

#include <cstdint>
#include <limits>

#include "core/functors.h"
#include "core/image.h"
#include "cuda/fft/columns.h"
#include "cuda/reader.h"
#include "methods/richardson_lucy.h"

namespace fastdeblur::cuda {

// (A template, so that files may share its name.)
template <class Flag>
FD_HD_SHARED void raise(Flag* own, Flag* any, Flag bits) {
#if defined(__CUDA_ARCH__)
  atomicOr(own, bits);
  atomicOr(any, bits);
#else
  *own |= bits;
  *any |= bits;
#endif
}

// What has been found wrong with images, flags of Bad: one's own, and any of the call's.
struct Findings {
  int *own, *any;
  int relevant;
  FD_HD void add(int bits, int plane = 0) const {
    if (bits & relevant) raise(own + plane, any, bits & relevant);
  }
};

// Within +-limit no sum of a transform overflows; no NaN is.
template <class T>
FD_HD int look_at(T value, T limit) {
  return (value <= limit && value >= -limit ? 0 : static_cast<int>(Bad::not_finite)) |
         (value >= T(0) ? 0 : static_cast<int>(Bad::negative));
}

// --- transfer functions ---

// A kernel on the grid, its origin at grid pixel 0; one larger than the grid folds.
template <class T>
struct KernelSource {
  const T* kernel;  // (c, m, x), contiguous
  int shape[3], full[3];

  FD_HD int first(int axis, int at) const { return (at + shape[axis] / 2) % full[axis]; }
  FD_HD T operator()(int c, int m, int x) const {
    T sum = T(0);
    for (int i = first(0, c); i < shape[0]; i += full[0])
      for (int j = first(1, m); j < shape[1]; j += full[1])
        for (int k = first(2, x); k < shape[2]; k += full[2])
          sum += kernel[(static_cast<std::int64_t>(i) * shape[1] + j) * shape[2] + k];
    return sum;
  }
};

// Keeps what it sees as a transfer function, or blurs with one, or with its adjoint. One kernel for all
// three: the choice is the same for all threads, and costs nothing beside a transform.
template <class T>
struct OtfFilter {
  Complex<T>* otf;
  enum Kind { store, blur, adjoint } kind;
  using Held = Complex<T>;
  FD_HD Held fetch(const Frequency& f) const { return kind == store ? Held{T(0), T(0)} : otf[f.at]; }
  FD_HD void apply(T& re, T& im, const Held& h, const Frequency& f) const {
    if (kind == store)
      otf[f.at] = {re, im};
    else if (kind == blur)
      MulOtf<T>{}(re, im, h.re, h.im);
    else
      MulConjOtf<T>{}(re, im, h.re, h.im);
  }
  FD_HD void operator()(T& re, T& im, const Frequency& f) const { apply(re, im, fetch(f), f); }
};

// --- Wiener ---

// |R|^2: 1, (sum over axes of 2 - 2 cos(2 pi k / n))^2 from one table an axis, or given.
template <class T>
struct RegPower {
  enum Kind { identity, laplacian, power } kind = identity;
  const T* table[3] = {nullptr, nullptr, nullptr};
  const T* values = nullptr;  // (c, m, half)
  int middle = 1, half = 1;

  FD_HD T operator()(const Frequency& f) const {
    if (kind == identity) return T(1);
    if (kind == power) return values[(static_cast<std::int64_t>(f.c) * middle + f.m) * half + f.k];
    const T sum = table[0][f.c] + table[1][f.m] + table[2][f.k];
    return sum * sum;
  }
};

template <class T>
struct RegularizedFilter {
  WienerFilter<T> filter;
  RegPower<T> reg;
};

template <class T>
struct WienerColumns {
  const Complex<T>* otf;
  RegularizedFilter<T> f;
  struct Held {
    Complex<T> h;
    T reg;
  };
  FD_HD Held fetch(const Frequency& at) const { return {otf[at.at], f.reg(at)}; }
  FD_HD void apply(T& re, T& im, const Held& held, const Frequency&) const {
    f.filter(re, im, held.h.re, held.h.im, held.reg);
  }
  FD_HD void operator()(T& re, T& im, const Frequency& at) const { apply(re, im, fetch(at), at); }
};

// Reads an image and looks at it.
template <class T>
struct CheckedSource {
  using Strips = void;
  Reader<T> reader;
  Findings findings;
  T limit;
  template <int R>
  FD_HD void fill(Complex<T> (&v)[R], const Strip& s) const {
    reader.template fill<R>(v, s);
    if (s.c >= reader.axis[0].frame || s.m >= reader.axis[1].frame) return;
    const int frame = reader.axis[2].frame;
    int bits = 0;
    FD_UNROLL
    for (int q = 0; q < R; ++q) {
      bits |= s.x(q) < frame ? look_at(v[q].re, limit) : 0;
      bits |= s.packed && s.x(q) + 1 < frame ? look_at(v[q].im, limit) : 0;
    }
    findings.add(bits, s.plane);
  }
  FD_HD T operator()(int c, int m, int x) const {
    const T value = reader(c, m, x);
    if (reader.in_frame(c, m, x)) findings.add(look_at(value, limit));
    return value;
  }
};

// Writes the frame, unless an image of the call is bad.
template <class T>
struct Writer {
  char* data;
  std::int64_t stride[3];
  int frame[3];
  const int* bad;
  std::int64_t plane_step = 0;  // bytes

  FD_HD void operator()(T value, int c, int m, int x) const {
    if (c < frame[0] && m < frame[1] && x < frame[2] && *bad == 0)
      *reinterpret_cast<T*>(data + c * stride[0] + m * stride[1] + x * stride[2]) = value;
  }
  template <int R>
  FD_HD void drain(const Complex<T> (&v)[R], const Strip& s) const {
    if (s.c >= frame[0] || s.m >= frame[1] || *bad != 0) return;
    char* row = data + s.c * stride[0] + s.m * stride[1] + s.plane * plane_step;
    T* own = reinterpret_cast<T*>(row);
    if (stride[2] == sizeof(T) && s.last<R>() < frame[2] && pairs_lie(own)) {
      store_row<R>(own, s, v);
      return;
    }
    char* first = row + s.x(0) * stride[2];
    const std::int64_t step = (s.packed ? 2 : 1) * s.span * stride[2];
    FD_UNROLL
    for (int q = 0; q < R; ++q) {
      char* at = first + q * step;
      if (s.x(q) < frame[2]) *reinterpret_cast<T*>(at) = v[q].re;
      if (s.packed && s.x(q) + 1 < frame[2]) *reinterpret_cast<T*>(at + stride[2]) = v[q].im;
    }
  }
};

template <class T>
struct WriteSink {
  using Accumulator = Nothing;
  using Strips = void;
  Writer<T> writer;
  Nothing* result() const { return nullptr; }
  template <int R>
  FD_HD void drain(const Complex<T> (&v)[R], const Strip& s, Nothing&) const {
    writer.template drain<R>(v, s);
  }
  FD_HD void operator()(T value, int c, int m, int x, Nothing&) const { writer(value, c, m, x); }
};

// For images that are looked at before anything else.
template <class T>
struct LookAtAll {
  using Accumulator = Nothing;
  CheckedSource<T> source;
  int planes;
  FD_HD void operator()(int, int c, int m, int x, Nothing&) const {
    if (x >= source.reader.axis[2].frame) return;
    for (int plane = 0; plane < planes; ++plane)
      source.findings.add(look_at(source.reader.pixel(plane, c, m, x), source.limit), plane);
  }
};

}  // namespace fastdeblur::cuda
