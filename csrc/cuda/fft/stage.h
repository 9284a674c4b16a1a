// Stages of a transform over a tile in shared memory: [position][line], the lines (columns, or rows)
// innermost and a power of two.
//
// Shared memory has 32 banks of 4 bytes. An element's neighbours in a stage lie powers of two apart, and
// would meet in one bank; one element of padding after each 128 bytes shifts every such line of elements by
// one, and any power of two of strides falls into different banks (a warp's accesses of 8 or 16 bytes are
// served in halves or quarters of a warp, 128 bytes each).
#pragma once

#include "cuda/fft/butterfly.h"
#include "cuda/fft/plan.h"

namespace fastdeblur::cuda {

template <class T>
constexpr int kPadShift = sizeof(T) == 4 ? 4 : 3;

template <class T>
FD_HD int padded(int at) {
  return at + (at >> kPadShift<T>);
}
// Elements that a tile of so many takes.
template <class T>
constexpr int tile_size(int elements) {
  return elements + (elements >> kPadShift<T>)+1;
}

template <class T, int R>
FD_HD void twiddle(Complex<T>* v, const Complex<T>* table, int span, int j) {
  FD_UNROLL
  for (int q = 1; q < R; ++q) v[q] = v[q] * table[(q - 1) * span + j];
}

template <class T, int R>
FD_HD void stage_of(Complex<T>* tile, const Complex<T>* table, Divider span, int length, int log_lines,
                    bool inverse, int thread, int threads) {
  const int items = length / R << log_lines, lines = 1 << log_lines, step = span.value() << log_lines;
  const bool turned = span.value() > 1;
  FD_LOOP
  for (int item = thread; item < items; item += threads) {
    const int i = item >> log_lines, block = span(i), j = i - block * span.value();
    const int at = ((block * span.value() * R + j) << log_lines) + (item & (lines - 1));
    Complex<T> v[R];
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = tile[padded<T>(at + q * step)];
    if (inverse && turned) twiddle<T, R>(v, table, span.value(), j);
    dft<R>(v);
    if (!inverse && turned) twiddle<T, R>(v, table, span.value(), j);
    FD_UNROLL
    for (int q = 0; q < R; ++q) tile[padded<T>(at + q * step)] = v[q];
  }
}

// One stage, of either direction. The inverse works on swapped numbers. One copy of this code serves every
// kernel of a file: it is most of what there is to compile.
template <class T>
FD_HD_SHARED void run_stage(const Complex<T>* table, Divider span, int radix, int length, int log_lines,
                            bool inverse, Thread t) {
  Complex<T>* tile = t.shared<Complex<T>>();
  switch (radix) {
    case 2:
      return stage_of<T, 2>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 3:
      return stage_of<T, 3>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 4:
      return stage_of<T, 4>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 5:
      return stage_of<T, 5>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 7:
      return stage_of<T, 7>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 8:
      return stage_of<T, 8>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 11:
      return stage_of<T, 11>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    case 13:
      return stage_of<T, 13>(tile, table, span, length, log_lines, inverse, t.index, t.threads);
    default:
      return;
  }
}

template <class T>
FD_HD void run_stage(const Fft<T>& fft, int s, int log_lines, bool inverse, const Thread& t) {
  run_stage<T>(fft.twiddle[s], fft.span[s], fft.radix[s], fft.length, log_lines, inverse, t);
}

// --- stages joined to what comes before or after, R = 8, or with R = 1 no stage at all ---

// The first forward stage: v[q] = load(position, line).
template <int R, class T, class Load>
FD_HD void first_forward(const Fft<T>& fft, int i, int line, int log_lines, Complex<T>* tile, Load load) {
  const int span = R > 1 ? fft.span[0].value() : 0;
  Complex<T> v[R];
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = load(i + q * span, line);
  if constexpr (R > 1) {
    dft<R>(v);
    twiddle<T, R>(v, fft.twiddle[0], span, i);
  }
  FD_UNROLL
  for (int q = 0; q < R; ++q) tile[padded<T>(((i + q * span) << log_lines) + line)] = v[q];
}

// The last inverse stage: store(position, line, value).
template <int R, class T, class Store>
FD_HD void last_inverse(const Fft<T>& fft, int i, int line, int log_lines, const Complex<T>* tile,
                        Store store) {
  const int span = R > 1 ? fft.span[0].value() : 0;
  Complex<T> v[R];
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = tile[padded<T>(((i + q * span) << log_lines) + line)];
  if constexpr (R > 1) {
    twiddle<T, R>(v, fft.twiddle[0], span, i);
    dft<R>(v);
  }
  FD_UNROLL
  for (int q = 0; q < R; ++q) store(i + q * span, line, swapped(v[q]));
}

// Last inverse stage, v = program(position, line, v), first forward stage.
template <int R, class T, class Program>
FD_HD void through_image(const Fft<T>& fft, int i, int line, int log_lines, Complex<T>* tile,
                         Program program) {
  const int span = R > 1 ? fft.span[0].value() : 0;
  Complex<T> v[R];
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = tile[padded<T>(((i + q * span) << log_lines) + line)];
  if constexpr (R > 1) {
    twiddle<T, R>(v, fft.twiddle[0], span, i);
    dft<R>(v);
  }
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = program(i + q * span, line, swapped(v[q]));
  if constexpr (R > 1) {
    dft<R>(v);
    twiddle<T, R>(v, fft.twiddle[0], span, i);
  }
  FD_UNROLL
  for (int q = 0; q < R; ++q) tile[padded<T>(((i + q * span) << log_lines) + line)] = v[q];
}

// Last forward stage, v = program(frequency, order, line, v), first inverse stage. `order` counts the
// frequencies as the threads meet them: what a program stores by it, it finds side by side.
template <int R, class T, class Program>
FD_HD void through_spectrum(const Fft<T>& fft, int i, int line, int log_lines, Complex<T>* tile,
                            Program program) {
  const int step = fft.length / R, first = fft.frequency[i * R];
  Complex<T> v[R];
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = tile[padded<T>(((i * R + q) << log_lines) + line)];
  dft<R>(v);
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = swapped(program(first + q * step, i + q * step, line, v[q]));
  dft<R>(v);
  FD_UNROLL
  for (int q = 0; q < R; ++q) tile[padded<T>(((i * R + q) << log_lines) + line)] = v[q];
}

// The last forward stage to store(position, line, value), and the first inverse one from load(position,
// line), of values in permuted order.
template <int R, class T, class Store>
FD_HD void last_forward(int i, int line, int log_lines, const Complex<T>* tile, Store store) {
  Complex<T> v[R];
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = tile[padded<T>(((i * R + q) << log_lines) + line)];
  dft<R>(v);
  FD_UNROLL
  for (int q = 0; q < R; ++q) store(i * R + q, line, v[q]);
}
template <int R, class T, class Load>
FD_HD void first_inverse(int i, int line, int log_lines, Complex<T>* tile, Load load) {
  Complex<T> v[R];
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = swapped(load(i * R + q, line));
  dft<R>(v);
  FD_UNROLL
  for (int q = 0; q < R; ++q) tile[padded<T>(((i * R + q) << log_lines) + line)] = v[q];
}

}  // namespace fastdeblur::cuda
