// The arithmetic of every pass, once, for host and device. All are pointwise: an engine loops.
#pragma once

#include <limits>

#include "core/host_device.h"

namespace fastdeblur {

// --- frequency domain: (re, im) is the spectrum in place, (hre, him) the transfer function H ---

// S <- S H
template <class T>
struct MulOtf {
  FD_HD void operator()(T& re, T& im, T hre, T him) const {
    const T r = re * hre - im * him;
    im = re * him + im * hre;
    re = r;
  }
};

// S <- S conj(H)
template <class T>
struct MulConjOtf {
  FD_HD void operator()(T& re, T& im, T hre, T him) const {
    const T r = re * hre + im * him;
    im = im * hre - re * him;
    re = r;
  }
};

// a / b; on a device within 2 units in the last place in single precision, where b is below 2^126.
template <class T>
FD_HD T quotient(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 4) return __fdividef(a, b);
#endif
  return a / b;
}

// |H|^2 up to which a frequency counts as removed by the blur.
template <class T>
constexpr T removed_power = 16 * std::numeric_limits<T>::epsilon() * std::numeric_limits<T>::epsilon();

// S <- S conj(H) / (|H|^2 + balance |R|^2). Where that denominator is no more than what rounding leaves of a
// zero of H, the blur removed the frequency, and it stays removed.
template <class T>
struct WienerFilter {
  T balance;
  T removed;  // the largest such denominator
  T scale;    // of the inverse transform
  FD_HD void operator()(T& re, T& im, T hre, T him, T reg_power) const {
    const T denominator = hre * hre + him * him + balance * reg_power;
    const T gain = denominator > removed ? quotient(scale, denominator) : T(0);
    const T r = (re * hre + im * him) * gain;
    im = (im * hre - re * him) * gain;
    re = r;
  }
};

// --- image domain ---

// y / max(Hx + background, floor); the floor is the transforms' rounding, which may make Hx zero or negative.
template <class T>
struct RlRatio {
  T scale, background, floor;  // scale: of the inverse transform
  FD_HD T operator()(T model, T data) const {
    const T m = model * scale + background;
    return quotient(data, m > floor ? m : floor);
  }
};

// x <- max(x c / (H^T W), 0). inv_norm is scale / (H^T W), or negative where a pixel sends too little light
// into the frame to be estimated: such a pixel keeps its value.
template <class T>
struct RlUpdate {
  FD_HD T operator()(T x, T correction, T inv_norm) const {
    const T updated = x * (correction * inv_norm);
    const T clipped = updated > T(0) ? updated : T(0);
    return inv_norm < T(0) ? x : clipped;
  }
};

// max(x + step (x - x_before), 0): Biggs and Andrews 1997.
template <class T>
struct Extrapolate {
  T step;
  FD_HD T operator()(T x, T before) const {
    const T z = x + step * (x - before);
    return z > T(0) ? z : T(0);
  }
};

// max(x + a (x - x_before) + b (x - z), floor x): the optimized gradient method's momentum, kept away from 0.
template <class T>
struct Momentum {
  T a, b, floor;
  FD_HD T operator()(T x, T before, T z) const {
    const T moved = x + a * (x - before) + b * (x - z), least = floor * x;
    return moved > least ? moved : least;
  }
};

}  // namespace fastdeblur
