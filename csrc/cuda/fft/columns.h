// Column passes. The half spectrum lies in slabs: [block of columns][c][m][columns of the block], so that a
// tile of columns is contiguous in memory, whatever few columns shared memory can hold.
#pragma once

#include "cuda/fft/stage.h"
#include "cuda/fft/sums.h"

namespace fastdeblur::cuda {

// What a filter is told of the number that it works on. It is a function f(re, im, Frequency), or has the
// type Held with Held fetch(Frequency), called for all numbers of a thread before any apply(re, im, Held,
// Frequency). `at` is a number of its own below the spectrum's size, that neighbouring threads have side by
// side: filters keep transfer functions in this order, and a filter that stores what it sees makes them.
struct Frequency {
  int c, m, k;
  std::int64_t at;
};

template <class T>
struct Slabs {
  Complex<T>* spectrum;
  std::int64_t slab;  // elements from one block of columns to the next
  int log_width;      // of a block
  int columns, middle, half;

  FD_HD int width() const { return 1 << log_width; }
};

// Planes that one launch works on, their spectra one after the other. Side by side run the same parts of all:
// what lies between each other in memory, as channels do, is then read and written together.
struct Planes {
  Divider count;              // up to 4: exact for all numbers of blocks
  std::int64_t spectrum = 0;  // elements of one

  // Takes the plane out of a block's number.
  FD_HD int take(Thread& t) const {
    const int rest = count(t.block), plane = t.block - rest * count.value();
    t.block = rest;
    return plane;
  }
};

// All threads over all (butterfly, line) of a stage: f(butterfly, line).
template <class F>
FD_HD void each_item(const Thread& t, int butterflies, int log_lines, F f) {
  const int items = butterflies << log_lines, mask = (1 << log_lines) - 1;
  FD_LOOP
  for (int item = t.index; item < items; item += t.threads) f(item >> log_lines, item & mask);
}

// Transform over c, filter, inverse transform; one block a tile of columns at one m.
template <class T, class Filter>
struct ColumnsKernel {
  static constexpr int max_threads = 256, min_blocks = sizeof(T) == 4 ? 4 : 2;
  struct Registers {};

  Slabs<T> slabs;
  Fft<T> fft;
  const std::int32_t* middle_frequency;  // of a position along m
  int in, out;                           // rows c that are not 0, and that are wanted
  Filter filter;
  Planes planes;

  FD_HD int inner() const { return fft.last - fft.first; }
  FD_HD int phases() const { return 3 + 2 * inner(); }

  FD_HD void operator()(int phase, const Thread& thread, Registers&) const {
    const int log = slabs.log_width;
    Thread t = thread;
    const std::int64_t spectrum = planes.take(t) * planes.spectrum;
    if (phase == 0) {
      if (fft.joined_first())
        load<8>(t, spectrum);
      else
        load<1>(t, spectrum);
    } else if (phase <= inner()) {
      run_stage(fft, fft.first + phase - 1, log, false, t);
    } else if (phase == inner() + 1) {
      if (fft.joined_last())
        apply<8>(t);
      else
        apply<1>(t);
    } else if (phase < phases() - 1) {
      run_stage(fft, fft.last - (phase - inner() - 1), log, true, t);
    } else {
      if (fft.joined_first())
        store<8>(t, spectrum);
      else
        store<1>(t, spectrum);
    }
  }

 private:
  FD_HD int column_block(const Thread& t) const { return t.block / slabs.middle; }
  FD_HD int m(const Thread& t) const { return t.block - column_block(t) * slabs.middle; }
  FD_HD Complex<T>* base(const Thread& t) const {
    return slabs.spectrum + column_block(t) * slabs.slab + (m(t) << slabs.log_width);
  }
  // Lines of this block that hold a column.
  FD_HD int lines(const Thread& t) const {
    const int left = slabs.half - (column_block(t) << slabs.log_width);
    return left < slabs.width() ? left : slabs.width();
  }

  template <int R>
  FD_HD void load(const Thread& t, std::int64_t spectrum) const {
    const Complex<T>* from = base(t) + spectrum;
    const int valid = lines(t), stride = slabs.middle << slabs.log_width, span = first_span<R>(fft);
    each_item(t, fft.length / R, slabs.log_width, [&](int i, int line) {
      Complex<T> v[R];
      FD_UNROLL
      for (int q = 0; q < R; ++q) {
        const int c = i + q * span;
        v[q] = c < in && line < valid ? from[static_cast<std::int64_t>(c) * stride + line]
                                      : Complex<T>{T(0), T(0)};
      }
      first_forward<R>(fft, i, line, slabs.log_width, t.shared<Complex<T>>(), v);
    });
  }

  template <int R>
  FD_HD void apply(const Thread& t) const {
    const int valid = lines(t), block = column_block(t), middle = m(t), log = slabs.log_width;
    const int frequency_m = slabs.middle > 1 ? middle_frequency[middle] : 0;
    // `order` counts the frequencies as the threads meet them: what a filter stores by it, it finds side by
    // side.
    const std::int64_t first = block * slabs.slab + ((static_cast<std::int64_t>(middle) * fft.length) << log);
    const int step = fft.length / R;
    Complex<T>* tile = t.shared<Complex<T>>();
    each_item(t, fft.length / R, log, [&](int i, int line) {
      if (line >= valid) return;  // zeros stay zeros
      const int k = (block << log) + line, frequency = fft.frequency[i * R];
      const std::int64_t at = first + (i << log) + line;
      const auto of = [&](int q) {
        return Frequency{frequency + q * step, frequency_m, k, at + ((q * step) << log)};
      };
      Complex<T> v[R];
      if constexpr (requires { typename Filter::Held; }) {
        typename Filter::Held held[R];
        FD_UNROLL
        for (int q = 0; q < R; ++q) held[q] = filter.fetch(of(q));
        last_forward<R>(i, line, log, tile, v);
        FD_UNROLL
        for (int q = 0; q < R; ++q) filter.apply(v[q].re, v[q].im, held[q], of(q));
      } else {
        last_forward<R>(i, line, log, tile, v);
        FD_UNROLL
        for (int q = 0; q < R; ++q) filter(v[q].re, v[q].im, of(q));
      }
      first_inverse<R>(i, line, log, tile, v);
    });
  }

  template <int R>
  FD_HD void store(const Thread& t, std::int64_t spectrum) const {
    Complex<T>* to = base(t) + spectrum;
    const int valid = lines(t), stride = slabs.middle << slabs.log_width, span = first_span<R>(fft);
    each_item(t, fft.length / R, slabs.log_width, [&](int i, int line) {
      Complex<T> v[R];
      last_inverse<R>(fft, i, line, slabs.log_width, t.shared<Complex<T>>(), v);
      if (line >= valid) return;
      FD_UNROLL
      for (int q = 0; q < R; ++q) {
        const int c = i + q * span;
        if (c < out) to[static_cast<std::int64_t>(c) * stride + line] = v[q];
      }
    });
  }
};

// The middle axis of a volume alone, one block a tile [m][columns] at one c. Between the two directions it
// lies in permuted order.
template <class T>
struct MiddleKernel {
  static constexpr int max_threads = 256, min_blocks = sizeof(T) == 4 ? 4 : 2;
  struct Registers {};

  Slabs<T> slabs;
  Fft<T> fft;
  int rows;   // c that are worked on
  int valid;  // m that are not 0 (forward) or that are wanted (inverse)
  bool inverse;
  Planes planes;

  FD_HD int phases() const { return 2 + fft.last - fft.first; }

  FD_HD void operator()(int phase, const Thread& thread, Registers&) const {
    Thread t = thread;
    const std::int64_t spectrum = planes.take(t) * planes.spectrum;
    if (phase > 0 && phase < phases() - 1) {
      run_stage(fft, inverse ? fft.last - phase : fft.first + phase - 1, slabs.log_width, inverse, t);
      return;
    }
    const int block = t.block / rows, c = t.block - block * rows;
    Complex<T>* at = slabs.spectrum + spectrum + block * slabs.slab +
                     ((static_cast<std::int64_t>(c) * slabs.middle) << slabs.log_width);
    const bool natural = inverse == (phase > 0);
    if (natural ? fft.joined_first() : fft.joined_last())
      move<8>(phase, t, at);
    else
      move<1>(phase, t, at);
  }

 private:
  template <int R>
  FD_HD void move(int phase, const Thread& t, Complex<T>* at) const {
    const int log = slabs.log_width;
    Complex<T>* tile = t.shared<Complex<T>>();
    // The last block's lines beyond the half spectrum hold whatever memory held: they only meet themselves,
    // and are never stored as anything but that.
    const bool natural = inverse == (phase > 0);
    const int span = natural ? first_span<R>(fft) : 1, limit = natural ? valid : fft.length;
    each_item(t, fft.length / R, log, [&](int i, int line) {
      const int first = natural ? i : i * R;
      Complex<T> v[R];
      if (phase == 0) {
        FD_UNROLL
        for (int q = 0; q < R; ++q) {
          const int m = first + q * span;
          v[q] = m < limit ? at[(m << log) + line] : Complex<T>{T(0), T(0)};
        }
        if (natural)
          first_forward<R>(fft, i, line, log, tile, v);
        else
          first_inverse<R>(i, line, log, tile, v);
        return;
      }
      if (natural)
        last_inverse<R>(fft, i, line, log, tile, v);
      else
        last_forward<R>(i, line, log, tile, v);
      FD_UNROLL
      for (int q = 0; q < R; ++q) {
        const int m = first + q * span;
        if (m < limit) at[(m << log) + line] = v[q];
      }
    });
  }
};

}  // namespace fastdeblur::cuda
