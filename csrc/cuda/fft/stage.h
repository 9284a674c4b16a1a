// Stages of a transform over a tile in shared memory: [position][line], the lines (columns, or rows)
// innermost and a power of two.
//
// Shared memory has 32 banks of 4 bytes, and a warp's accesses of 8 or 16 bytes are served in halves or
// quarters of a warp, 128 bytes each. What such a part wants lies powers of two apart, and would meet in few
// banks: the number of an element within its 128 bytes is mixed with those of the larger pieces that it lies
// in.
#pragma once

#include "cuda/fft/butterfly.h"
#include "cuda/fft/plan.h"

namespace fastdeblur::cuda {

template <class T>
constexpr int kLineShift = sizeof(T) == 4 ? 4 : 3;  // elements of 128 bytes

template <class T>
FD_HD int mixed(int at) {
  constexpr int shift = kLineShift<T>;
  return at ^ (((at >> shift) ^ (at >> 2 * shift)) & ((1 << shift) - 1));
}
// Elements that a tile of so many takes.
template <class T>
constexpr std::int64_t tile_size(std::int64_t elements) {
  constexpr std::int64_t line = 1 << kLineShift<T>;
  return (elements + line - 1) / line * line;
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
    for (int q = 0; q < R; ++q) v[q] = tile[mixed<T>(at + q * step)];
    if (inverse && turned) twiddle<T, R>(v, table, span.value(), j);
    dft<R>(v);
    if (!inverse && turned) twiddle<T, R>(v, table, span.value(), j);
    FD_UNROLL
    for (int q = 0; q < R; ++q) tile[mixed<T>(at + q * step)] = v[q];
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
//
// A thread has all R values of a butterfly at once, so that what they are made of, and what becomes of them,
// is one group of accesses to memory: a load that waits for the one before it would be alone in flight.

template <int R, class T>
FD_HD int first_span(const Fft<T>& fft) {
  return R > 1 ? fft.span[0].value() : 0;
}

// The first forward stage, of values at positions i + q first_span.
template <int R, class T>
FD_HD void first_forward(const Fft<T>& fft, int i, int line, int log_lines, Complex<T>* tile,
                         Complex<T> (&v)[R]) {
  const int span = first_span<R>(fft);
  if constexpr (R > 1) {
    dft<R>(v);
    twiddle<T, R>(v, fft.twiddle[0], span, i);
  }
  FD_UNROLL
  for (int q = 0; q < R; ++q) tile[mixed<T>(((i + q * span) << log_lines) + line)] = v[q];
}

// The last inverse stage, to such values.
template <int R, class T>
FD_HD void last_inverse(const Fft<T>& fft, int i, int line, int log_lines, const Complex<T>* tile,
                        Complex<T> (&v)[R]) {
  const int span = first_span<R>(fft);
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = tile[mixed<T>(((i + q * span) << log_lines) + line)];
  if constexpr (R > 1) {
    twiddle<T, R>(v, fft.twiddle[0], span, i);
    dft<R>(v);
  }
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = swapped(v[q]);
}

// The last forward stage, and the first inverse one, of values at positions i R + q in permuted order.
template <int R, class T>
FD_HD void last_forward(int i, int line, int log_lines, const Complex<T>* tile, Complex<T> (&v)[R]) {
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = tile[mixed<T>(((i * R + q) << log_lines) + line)];
  dft<R>(v);
}
template <int R, class T>
FD_HD void first_inverse(int i, int line, int log_lines, Complex<T>* tile, Complex<T> (&v)[R]) {
  FD_UNROLL
  for (int q = 0; q < R; ++q) v[q] = swapped(v[q]);
  dft<R>(v);
  FD_UNROLL
  for (int q = 0; q < R; ++q) tile[mixed<T>(((i * R + q) << log_lines) + line)] = v[q];
}

}  // namespace fastdeblur::cuda
