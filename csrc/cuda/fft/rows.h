// Row passes. A real row of even length is transformed as a complex one of half the length, x[2 j] + i x[2 j
// + 1]; one of odd length (rare: the grid that a boundary needs is always even) as a complex row without
// imaginary part.
//
// A block takes several consecutive rows: what it writes to one slab, [rows][columns of the block], is then
// one contiguous piece, of at least the 32 bytes that memory moves.
#pragma once

#include "cuda/fft/columns.h"
#include "cuda/fft/strip.h"

namespace fastdeblur::cuda {

template <class T>
struct RowsShape {
  Slabs<T> slabs;
  Fft<T> fft;
  const Complex<T>* unpack;  // exp(-2 pi i k / x)
  int log_lines;             // rows of a block
  int rows, run;             // rows that are worked on, and how many of them share one c
  int x;                     // length of a row
  bool packed;

  struct Row {
    int c, m;
    bool valid;
  };
  FD_HD Row row(const Thread& t, int line) const {
    const int i = (t.block << log_lines) + line;
    const int c = run == 1 ? i : i / run;
    return {c, run == 1 ? 0 : i - c * run, i < rows};
  }
  FD_HD std::int64_t offset(const Row& r) const {
    return (static_cast<std::int64_t>(r.c) * slabs.middle + r.m) << slabs.log_width;
  }
  FD_HD std::int64_t column(int k) const {
    return (k >> slabs.log_width) * slabs.slab + (k & (slabs.width() - 1));
  }

  // f(k, line) over the pairs k, length - k of all lines; threads side by side have one piece of a slab.
  template <class F>
  FD_HD void each_pair(const Thread& t, F f) const {
    const int last = packed ? fft.length / 2 : slabs.half - 1;
    const int log = log_lines + slabs.log_width;
    const int items = (last + slabs.width()) >> slabs.log_width << log;
    FD_LOOP
    for (int item = t.index; item < items; item += t.threads) {
      const int k = (item >> log << slabs.log_width) + (item & (slabs.width() - 1));
      if (k <= last) f(k, item >> slabs.log_width & ((1 << log_lines) - 1));
    }
  }

  // Half spectra from memory into the tile, as the inverse transform starts from them.
  FD_HD void load(const Thread& t, std::int64_t spectrum = 0) const {
    Complex<T>* tile = t.shared<Complex<T>>();
    const int n = fft.length;
    each_pair(t, [&](int k, int line) {
      const Row r = row(t, line);
      const Complex<T>* from = slabs.spectrum + spectrum + offset(r);
      Complex<T> a{T(0), T(0)}, b = a;  // X[k], and X[n - k] of a packed row
      if (r.valid) {
        a = from[column(k)];
        if (packed) b = from[column(n - k)];
      }
      if (k == 0) a.im = b.im = T(0);  // as they must be for a real row
      Complex<T> z = a, mirrored = conj(a);
      if (packed) {
        const Complex<T> even = a + conj(b), odd = (a - conj(b)) * conj(unpack[k]);
        z = even + times_i(odd);
        mirrored = conj(even) + times_i(conj(odd));
      }
      tile[mixed<T>((fft.position[k] << log_lines) + line)] = swapped(z);
      if (k > 0 && 2 * k != n) tile[mixed<T>((fft.position[n - k] << log_lines) + line)] = swapped(mirrored);
    });
  }

  FD_HD void store(const Thread& t, std::int64_t spectrum = 0) const {
    const Complex<T>* tile = t.shared<Complex<T>>();
    const int n = fft.length;
    each_pair(t, [&](int k, int line) {
      const Row r = row(t, line);
      if (!r.valid) return;
      Complex<T>* to = slabs.spectrum + spectrum + offset(r);
      const Complex<T> z = tile[mixed<T>((fft.position[k] << log_lines) + line)];
      if (!packed) {
        to[column(k)] = z;
        return;
      }
      const Complex<T> w = tile[mixed<T>((fft.position[k > 0 ? n - k : 0] << log_lines) + line)];
      const T half = T(0.5);
      const Complex<T> even{(z.re + w.re) * half, (z.im - w.im) * half};
      const Complex<T> odd{(z.im + w.im) * half, (w.re - z.re) * half};
      const Complex<T> turned = odd * unpack[k];
      to[column(k)] = even + turned;
      if (2 * k != n) to[column(n - k)] = conj(even - turned);
    });
  }

  // f(butterfly, line) with the butterflies side by side, as the image's pixels are.
  template <class F>
  FD_HD void each_butterfly(const Thread& t, Divider butterflies, F f) const {
    const int items = butterflies.value() << log_lines;
    FD_LOOP
    for (int item = t.index; item < items; item += t.threads) {
      const int line = butterflies(item);
      f(item - line * butterflies.value(), line);
    }
  }

  // v[q] = f(v[q]'s real part, its pixel), and so on.
  template <int R, class F>
  FD_HD void each_pixel(Complex<T> (&v)[R], const Strip& s, const F& f) const {
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = {f(v[q].re, s.x(q)), packed ? f(v[q].im, s.x(q) + 1) : T(0)};
  }
  template <int R>
  FD_HD Strip strip(const Row& r, int i, int plane = 0) const {
    return {r.c, r.m, i, first_span<R>(fft), packed, plane};
  }
};

template <class F>
constexpr bool kInStrips = requires { typename F::Strips; };

// s(c, m, x) -> real FFT -> spectrum
template <class T, class Source>
struct RowsForwardKernel {
  static constexpr int max_threads = 256, min_blocks = sizeof(T) == 4 ? 3 : 2;
  struct Registers {};

  RowsShape<T> shape;
  Divider butterflies;
  Source source;
  int last_block;
  Planes planes;

  FD_HD int inner() const { return shape.fft.stages - shape.fft.first; }
  FD_HD int phases() const { return 2 + inner(); }

  FD_HD void operator()(int phase, const Thread& thread, Registers&) const {
    // Rows beyond the frame are the last, and take longest: they begin first.
    Thread t = thread;
    t.block = last_block - thread.block;
    const int plane = planes.take(t);
    if (phase == 0) {
      if (shape.fft.joined_first())
        load<8>(t, plane);
      else
        load<1>(t, plane);
    } else if (phase <= inner()) {
      run_stage(shape.fft, shape.fft.first + phase - 1, shape.log_lines, false, t);
    } else {
      shape.store(t, plane * planes.spectrum);
    }
  }

 private:
  template <int R>
  FD_HD void load(const Thread& t, int plane) const {
    shape.each_butterfly(t, butterflies, [&](int i, int line) {
      const auto r = shape.row(t, line);
      const Strip strip = shape.template strip<R>(r, i, plane);
      Complex<T> v[R];
      FD_UNROLL
      for (int q = 0; q < R; ++q) v[q] = {T(0), T(0)};
      if (r.valid) {
        if constexpr (kInStrips<Source>)
          source.template fill<R>(v, strip);
        else
          shape.each_pixel(v, strip, [&](T, int x) -> T { return source(r.c, r.m, x); });
      }
      first_forward<R>(shape.fft, i, line, shape.log_lines, t.shared<Complex<T>>(), v);
    });
  }
};

// spectrum -> inverse -> s(value, c, m, x, accumulator)
template <class T, class Sink>
struct RowsInverseKernel {
  static constexpr int max_threads = 256, min_blocks = sizeof(T) == 4 ? 4 : 2;
  using Accumulator = typename Sink::Accumulator;
  struct Registers {
    Accumulator sum{};
  };

  RowsShape<T> shape;
  Divider butterflies;
  Accumulator* parts;  // one a block; several planes have none
  Sink sink;
  Planes planes;

  FD_HD int inner() const { return shape.fft.stages - shape.fft.first; }
  FD_HD int phases() const { return 2 + inner() + sum_phases<Accumulator>; }

  FD_HD void operator()(int phase, const Thread& thread, Registers& registers) const {
    Thread t = thread;
    const int plane = planes.take(t);
    if (phase == 0) {
      shape.load(t, plane * planes.spectrum);
    } else if (phase <= inner()) {
      run_stage(shape.fft, shape.fft.stages - phase, shape.log_lines, true, t);
    } else if (phase == inner() + 1) {
      if (shape.fft.joined_first())
        store<8>(t, registers.sum, plane);
      else
        store<1>(t, registers.sum, plane);
    } else if constexpr (sum_phases<Accumulator> > 0) {
      sum_block(phase - inner() - 2, t, registers.sum, parts + t.block);
    }
  }

 private:
  template <int R>
  FD_HD void store(const Thread& t, Accumulator& sum, int plane) const {
    shape.each_butterfly(t, butterflies, [&](int i, int line) {
      const auto r = shape.row(t, line);
      if (!r.valid) return;
      const Strip strip = shape.template strip<R>(r, i, plane);
      Complex<T> v[R];
      last_inverse<R>(shape.fft, i, line, shape.log_lines, t.shared<Complex<T>>(), v);
      if constexpr (kInStrips<Sink>)
        sink.template drain<R>(v, strip, sum);
      else
        shape.each_pixel(v, strip, [&](T value, int x) -> T {
          sink(value, r.c, r.m, x, sum);
          return T(0);
        });
    });
  }
};

// spectrum -> inverse -> f(value, c, m, x, accumulator) -> forward -> spectrum; the rows never leave the
// chip.
template <class T, class Program>
struct RowsKernel {
  static constexpr int max_threads = 256, min_blocks = sizeof(T) == 4 ? 3 : 2;
  using Accumulator = typename Program::Accumulator;
  struct Registers {
    Accumulator sum{};
  };

  RowsShape<T> shape;
  Divider butterflies;
  Accumulator* parts;
  Program program;

  FD_HD int inner() const { return shape.fft.stages - shape.fft.first; }
  FD_HD int phases() const { return 3 + 2 * inner() + sum_phases<Accumulator>; }

  FD_HD void operator()(int phase, const Thread& t, Registers& registers) const {
    const int middle = inner() + 1, last = 2 * inner() + 2;
    if (phase == 0) {
      shape.load(t);
    } else if (phase < middle) {
      run_stage(shape.fft, shape.fft.stages - phase, shape.log_lines, true, t);
    } else if (phase == middle) {
      if (shape.fft.joined_first())
        apply<8>(t, registers.sum);
      else
        apply<1>(t, registers.sum);
    } else if (phase < last) {
      run_stage(shape.fft, shape.fft.first + phase - middle - 1, shape.log_lines, false, t);
    } else if (phase == last) {
      shape.store(t);
    } else if constexpr (sum_phases<Accumulator> > 0) {
      sum_block(phase - last - 1, t, registers.sum, parts + t.block);
    }
  }

 private:
  template <int R>
  FD_HD void apply(const Thread& t, Accumulator& sum) const {
    shape.each_butterfly(t, butterflies, [&](int i, int line) {
      const auto r = shape.row(t, line);
      if (!r.valid) return;  // zeros stay zeros
      const Strip strip = shape.template strip<R>(r, i);
      Complex<T>* tile = t.shared<Complex<T>>();
      Complex<T> v[R];
      if constexpr (kInStrips<Program>) {
        const auto held = program.template hold<R>(strip);
        last_inverse<R>(shape.fft, i, line, shape.log_lines, tile, v);
        program.template change<R>(v, held, strip, sum);
      } else {
        last_inverse<R>(shape.fft, i, line, shape.log_lines, tile, v);
        shape.each_pixel(v, strip, [&](T value, int x) -> T { return program(value, r.c, r.m, x, sum); });
      }
      first_forward<R>(shape.fft, i, line, shape.log_lines, tile, v);
    });
  }
};

}  // namespace fastdeblur::cuda
