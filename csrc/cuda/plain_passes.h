// The passes of a method over one grid with a transform of the whole grid in between, which a library does:
// rows_forward is a pointwise kernel and the transform, columns a pointwise kernel, and so on. It runs for
// every length, and walks through memory about twice as often as the fused passes.
//
// The half spectrum is row-major, [c][m][k], and its image lies in the same memory, in rows of 2 (x / 2 + 1).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "core/grid.h"
#include "cuda/fft/columns.h"
#include "cuda/runtime.h"

namespace fastdeblur::cuda {

// How threads share rows of `x` pixels: a block has 2^log_lanes threads side by side on each of a few rows,
// and each thread a few pixels of one row.
struct RowTiles {
  static constexpr int kThreads = 256, kPixels = 8;

  int rows, run, x;  // run: rows of one c
  int log_lanes, chunks;

  RowTiles() = default;
  RowTiles(std::int64_t rows_, std::int64_t run_, std::int64_t x_)
      : rows(static_cast<int>(rows_)), run(static_cast<int>(run_)), x(static_cast<int>(x_)), log_lanes(0) {
    while (log_lanes < 8 && (1 << log_lanes) < x) ++log_lanes;
    chunks = (x + (kPixels << log_lanes) - 1) / (kPixels << log_lanes);
  }

  std::int64_t blocks() const {
    const int lines = kThreads >> log_lanes;
    return std::int64_t((rows + lines - 1) / lines) * chunks;
  }

  // f(row, c, m, x)
  template <class F>
  FD_HD void each(const Thread& t, F f) const {
    const int group = t.block / chunks, chunk = t.block - group * chunks;
    const int row = group * (kThreads >> log_lanes) + (t.index >> log_lanes);
    if (row >= rows) return;
    const int c = row / run, m = row - c * run;
    const int first = chunk * (kPixels << log_lanes) + (t.index & ((1 << log_lanes) - 1));
    for (int i = 0; i < kPixels; ++i) {
      const int at = first + (i << log_lanes);
      if (at < x) f(row, c, m, at);
    }
  }
};

// f(row, c, m, x, sum) for every pixel of some rows, and the sums.
template <class F>
struct EachKernel {
  using Accumulator = typename F::Accumulator;
  static constexpr int max_threads = RowTiles::kThreads, min_blocks = 2;
  struct Registers {
    Accumulator sum{};
  };

  RowTiles tiles;
  F f;
  Accumulator* parts;  // one a block

  FD_HD int phases() const { return 1 + sum_phases<Accumulator>; }
  FD_HD void operator()(int phase, const Thread& t, Registers& registers) const {
    if (phase == 0)
      tiles.each(t, [&](int row, int c, int m, int x) { f(row, c, m, x, registers.sum); });
    else if constexpr (sum_phases<Accumulator> > 0)
      sum_block(phase - 1, t, registers.sum, parts + t.block);
  }
};

// Runs EachKernel, and adds up what it leaves; *result receives the sum.
template <class F, class Launcher>
void each_pixel(Launcher& launcher, Stream stream, const RowTiles& tiles, const F& f, void* parts,
                typename F::Accumulator* result) {
  using Accumulator = typename F::Accumulator;
  constexpr bool sums = sum_phases<Accumulator> > 0;
  const Geometry geometry{tiles.blocks(), RowTiles::kThreads,
                          sums ? RowTiles::kThreads * static_cast<int>(sizeof(Accumulator)) : 0};
  launcher.launch(stream, EachKernel<F>{tiles, f, static_cast<Accumulator*>(parts)}, geometry);
  if constexpr (sums)
    launcher.launch(stream, SumKernel<Accumulator>{static_cast<Accumulator*>(parts), tiles.blocks(), result},
                    Geometry{1, 256, 256 * static_cast<int>(sizeof(Accumulator))});
}

template <class T>
class PlainPlan {
 public:
  PlainPlan(const Grid& g, Runtime& runtime) : grid_(g) {
    FftShape shape{{}, g.full[2] > 1, sizeof(T) == sizeof(double)};
    for (const std::int64_t n : g.full)
      if (n > 1) shape.lengths.push_back(n);
    if (!shape.lengths.empty()) fft_ = runtime.fft(shape);
  }

  static bool can(const Grid& g) {
    constexpr std::int64_t most = (std::int64_t(1) << 31) - 1;
    return g.rows() < most / 2 && g.full[2] < most / 2 && row_blocks(g) < most;
  }

  const Grid& grid() const { return grid_; }
  std::int64_t spectrum_size() const { return grid_.rows() * grid_.half(); }
  static std::int64_t row_blocks(const Grid& g) {
    return std::max(RowTiles(g.rows(), g.full[1], g.full[2]).blocks(),
                    RowTiles(g.rows(), g.full[1], g.half()).blocks());
  }
  std::size_t workspace() const { return fft_ ? fft_->workspace() : 0; }
  void transform(Complex<T>* spectrum, bool forward, void* workspace, Stream stream) const {
    if (fft_) fft_->execute(spectrum, forward, workspace, stream);
  }

 private:
  Grid grid_;
  std::shared_ptr<FftPlan> fft_;
};

// The image's pixels in the spectrum's memory.
template <class T>
struct InPlace {
  T* image;
  std::int64_t pitch;   // of a row, in T
  int columns, middle;  // rows that are worked on: c < columns, m < middle

  FD_HD bool has(int c, int m) const { return c < columns && m < middle; }
  FD_HD T& at(int row, int x) const { return image[row * pitch + x]; }
  FD_HD void put(int row, int x, T value) const {
    at(row, x) = value;
    if (pitch == 2) at(row, 1) = T(0);  // a row of one pixel is a complex number
  }
};

template <class T, class Source>
struct PlainForward {
  using Accumulator = Nothing;
  InPlace<T> in;
  Source source;
  FD_HD void operator()(int row, int c, int m, int x, Nothing&) const {
    in.put(row, x, in.has(c, m) ? source(c, m, x) : T(0));
  }
};

template <class T, class Program>
struct PlainThrough {
  using Accumulator = typename Program::Accumulator;
  InPlace<T> in;
  Program program;
  FD_HD void operator()(int row, int c, int m, int x, Accumulator& sum) const {
    in.put(row, x, in.has(c, m) ? program(in.at(row, x), c, m, x, sum) : T(0));
  }
};

template <class T, class Sink>
struct PlainInverse {
  using Accumulator = typename Sink::Accumulator;
  InPlace<T> in;
  Sink sink;
  FD_HD void operator()(int row, int c, int m, int x, Accumulator& sum) const {
    if (in.has(c, m)) sink(in.at(row, x), c, m, x, sum);
  }
};

template <class T, class Filter>
struct PlainColumns {
  using Accumulator = Nothing;
  Complex<T>* spectrum;
  int half;
  Filter filter;
  FD_HD void operator()(int row, int c, int m, int k, Nothing&) const {
    const std::int64_t at = std::int64_t(row) * half + k;
    Complex<T> value = spectrum[at];
    filter(value.re, value.im, Frequency{c, m, k, at});
    spectrum[at] = value;
  }
};

template <class T, class Launcher>
class PlainPasses {
 public:
  // parts: where kernels run, room for row_blocks accumulators of the largest kind. They work on one plane.
  PlainPasses(const PlainPlan<T>& plan, Launcher& launcher, void* parts, void* workspace)
      : plan_(plan), launcher_(launcher), parts_(parts), workspace_(workspace) {}

  template <class Source>
  void rows_forward(Stream stream, Complex<T>* spectrum, Rows which, const Source& s, int = 1) {
    each(stream, PlainForward<T, Source>{in_place(spectrum, which), s}, nullptr);
    plan_.transform(spectrum, true, workspace_, stream);
  }

  // Rows outside `in` are 0 already: the pass before has filled them.
  template <class Filter>
  void columns(Stream stream, Complex<T>* spectrum, Rows, Rows, const Filter& f, int = 1) {
    const Grid& g = plan_.grid();
    each_pixel(launcher_, stream, RowTiles(g.rows(), g.full[1], g.half()),
               PlainColumns<T, Filter>{spectrum, static_cast<int>(g.half()), f}, parts_, nullptr);
  }

  template <class Program>
  void rows(Stream stream, Complex<T>* spectrum, Rows which, const Program& f,
            typename Program::Accumulator* result = nullptr) {
    plan_.transform(spectrum, false, workspace_, stream);
    each(stream, PlainThrough<T, Program>{in_place(spectrum, which), f}, result);
    plan_.transform(spectrum, true, workspace_, stream);
  }

  template <class Sink>
  void rows_inverse(Stream stream, Complex<T>* spectrum, Rows which, const Sink& s,
                    typename Sink::Accumulator* result = nullptr, int = 1) {
    plan_.transform(spectrum, false, workspace_, stream);
    each(stream, PlainInverse<T, Sink>{in_place(spectrum, which), s}, result);
  }

 private:
  InPlace<T> in_place(Complex<T>* spectrum, Rows which) const {
    const Grid& g = plan_.grid();
    const auto& reach = which == Rows::all ? g.full : g.frame;
    return {reinterpret_cast<T*>(spectrum), 2 * g.half(), static_cast<int>(reach[0]),
            static_cast<int>(reach[1])};
  }
  template <class F>
  void each(Stream stream, const F& f, typename F::Accumulator* result) {
    const Grid& g = plan_.grid();
    each_pixel(launcher_, stream, RowTiles(g.rows(), g.full[1], g.full[2]), f, parts_, result);
  }

  const PlainPlan<T>& plan_;
  Launcher& launcher_;
  void* parts_;
  void* workspace_;
};

}  // namespace fastdeblur::cuda
