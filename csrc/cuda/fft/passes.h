// The passes of a method over one grid, fused: column transform, filter and inverse in one kernel, inverse
// row transform, program and forward transform in one kernel.
//
// How much of shared memory a block takes. A pass waits for memory first, then computes, then stores: one
// block alone on a multiprocessor would leave memory idle while it computes. So tiles take a third of a
// multiprocessor's shared memory or less; three blocks of 256 threads with 80 registers each also just fit
// the 65,536 registers. In flight are then 3 x 256 x 8 numbers of 8 bytes, 48 KB, twice what 4 TB/s times 0.7
// us asks of each of 132 multiprocessors. Wide tiles make long contiguous pieces, narrow ones more blocks:
// they are widened to 16 columns (128 bytes), and narrowed again where the grid would not occupy every
// multiprocessor twice.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>

#include "cuda/fft/rows.h"
#include "cuda/limits.h"

namespace fastdeblur::cuda {

// Layout, geometry and tables of a grid.
template <class T>
class FusedPlan {
 public:
  // Whether the kernels cover a grid: lengths of the factors 2, 3, 5, 7, 11 and 13 that fit shared memory.
  static bool can(const Grid& g, const Limits& limits) {
    const int64_t n = row_length(g), longest = std::max({n, g.full[0], g.full[1]});
    return has_radices(n) && has_radices(g.full[0]) && has_radices(g.full[1]) &&
           g.full[0] * g.full[1] < std::numeric_limits<int>::max() / 16 &&
           bytes(longest) <= limits.block_shared;
  }

  FusedPlan(const Grid& g, const Limits& limits)
      : grid_(g),
        row_(tables_.add(static_cast<int>(row_length(g)))),
        column_(tables_.add(static_cast<int>(g.full[0]))),
        middle_(tables_.add(static_cast<int>(g.full[1]))) {
    unpack_ = tables_.roots.size();
    for (int64_t k = 0; k < g.half(); ++k) tables_.roots.push_back(root<T>(k, g.full[2]));
    // Each block takes 1 KB for itself.
    const int64_t budget = std::min(limits.multiprocessor_shared / 3 - 1024, limits.block_shared);
    const int64_t wanted = 2 * int64_t(limits.multiprocessors);
    log_width_ = fitting(std::max(g.full[0], g.full[1]), budget);
    while (log_width_ > 1 && blocks() * g.full[1] < wanted) --log_width_;
    log_lines_ = fitting(row_length(g), budget);
    const int64_t piece = 32 / static_cast<int64_t>(sizeof(Complex<T>)) >> log_width_;
    while (log_lines_ > 0 && (1 << log_lines_) > piece && (g.rows() >> log_lines_) < wanted) --log_lines_;
  }

  const Grid& grid() const { return grid_; }
  int64_t blocks() const { return (grid_.half() + (1 << log_width_) - 1) >> log_width_; }
  int64_t slab() const { return grid_.rows() << log_width_; }
  int64_t spectrum_size() const { return blocks() * slab(); }
  int64_t row_blocks(Rows which) const { return (rows(which) + (1 << log_lines_) - 1) >> log_lines_; }
  int64_t rows(Rows which) const {
    return which == Rows::all ? grid_.rows() : grid_.frame[0] * grid_.frame[1];
  }

  // What has to be copied to where the kernels run, and where that is.
  const Tables<T>& tables() const { return tables_; }
  void place(const Complex<T>* roots, const std::int32_t* orders) {
    tables_.place(row_, roots, orders);
    tables_.place(column_, roots, orders);
    tables_.place(middle_, roots, orders);
    unpack_at_ = roots + unpack_;
  }

  Slabs<T> slabs(Complex<T>* spectrum) const {
    return {spectrum,
            slab(),
            log_width_,
            static_cast<int>(grid_.full[0]),
            static_cast<int>(grid_.full[1]),
            static_cast<int>(grid_.half())};
  }
  RowsShape<T> shape(Complex<T>* spectrum, Rows which) const {
    return {slabs(spectrum),
            row_,
            unpack_at_,
            log_lines_,
            static_cast<int>(rows(which)),
            static_cast<int>(which == Rows::all ? grid_.full[1] : grid_.frame[1]),
            static_cast<int>(grid_.full[2]),
            grid_.full[2] % 2 == 0};
  }
  Divider row_butterflies() const { return Divider(row_.joined_first() ? row_.length / 8 : row_.length); }
  const Fft<T>& column() const { return column_; }
  const Fft<T>& middle() const { return middle_; }

  Geometry column_geometry() const { return geometry(blocks() * grid_.full[1], grid_.full[0] << log_width_); }
  Geometry middle_geometry(int64_t rows) const {
    return geometry(blocks() * rows, grid_.full[1] << log_width_);
  }
  Geometry row_geometry(Rows which, std::size_t accumulator) const {
    Geometry g = geometry(row_blocks(which), int64_t(row_.length) << log_lines_);
    g.shared = std::max(g.shared, g.threads * static_cast<int>(accumulator));
    return g;
  }

 private:
  static int64_t row_length(const Grid& g) { return g.full[2] % 2 == 0 ? g.full[2] / 2 : g.full[2]; }
  static int64_t bytes(int64_t elements) {
    return tile_size<T>(elements) * static_cast<int64_t>(sizeof(Complex<T>));
  }
  static int fitting(int64_t length, int64_t budget) {
    int log = 4;
    while (log > 0 && bytes(length << log) > budget) --log;
    return log;
  }
  // A thread for each butterfly of a radix of 8, up to 256.
  static Geometry geometry(int64_t blocks, int64_t elements) {
    int threads = 32;
    while (threads < 256 && threads * 8 < elements) threads *= 2;
    return {blocks, threads, static_cast<int>(bytes(elements))};
  }

  Grid grid_;
  Tables<T> tables_;
  Fft<T> row_, column_, middle_;
  std::size_t unpack_ = 0;
  const Complex<T>* unpack_at_ = nullptr;
  int log_width_ = 0, log_lines_ = 0;
};

// Runs the passes. Launcher: DeviceLauncher or HostLauncher. Programs are trivially copyable functors; those
// of rows and rows_inverse name the type of their sums, Accumulator (Nothing, if there are none).
template <class T, class Launcher>
class FusedPasses {
 public:
  // parts: where kernels run, room for row_blocks(Rows::all) accumulators of the largest kind; unused by
  // programs that sum nothing.
  FusedPasses(const FusedPlan<T>& plan, Launcher& launcher, void* parts)
      : plan_(plan), launcher_(launcher), parts_(parts) {}

  static bool can(const Grid& g, const Limits& limits) { return FusedPlan<T>::can(g, limits); }

  // s(c, m, x) -> T. planes: how many are worked on, with sources and sinks in strips only.
  template <class Source>
  void rows_forward(Stream stream, Complex<T>* spectrum, Rows which, const Source& s, int planes = 1) {
    const Geometry geometry = of_planes(plan_.row_geometry(which, 0), planes);
    launcher_.launch(stream,
                     RowsForwardKernel<T, Source>{plan_.shape(spectrum, which), plan_.row_butterflies(), s,
                                                  static_cast<int>(geometry.blocks) - 1, several(planes)},
                     geometry);
  }

  // f(re, im, Frequency) in place. Rows outside `in` count as 0; only rows inside `out` are valid afterwards.
  template <class Filter>
  void columns(Stream stream, Complex<T>* spectrum, Rows in, Rows out, const Filter& f, int planes = 1) {
    const Grid& g = plan_.grid();
    const Slabs<T> slabs = plan_.slabs(spectrum);
    const int in_c = reach(in, 0), out_c = reach(out, 0);
    if (g.full[1] > 1) middle(stream, slabs, in_c, reach(in, 1), false, planes);
    launcher_.launch(stream,
                     ColumnsKernel<T, Filter>{slabs, plan_.column(), plan_.middle().frequency, in_c, out_c, f,
                                              several(planes)},
                     of_planes(plan_.column_geometry(), planes));
    if (g.full[1] > 1) middle(stream, slabs, out_c, reach(out, 1), true, planes);
  }

  // f(value, c, m, x, sum) -> T between inverse and forward transform; *result (where kernels run) receives
  // the sum over all pixels.
  template <class Program>
  void rows(Stream stream, Complex<T>* spectrum, Rows which, const Program& f,
            typename Program::Accumulator* result = nullptr) {
    const RowsKernel<T, Program> kernel{plan_.shape(spectrum, which), plan_.row_butterflies(),
                                        static_cast<typename Program::Accumulator*>(parts_), f};
    run_rows(stream, which, kernel, 1, result);
  }

  // s(value, c, m, x, sum)
  template <class Sink>
  void rows_inverse(Stream stream, Complex<T>* spectrum, Rows which, const Sink& s,
                    typename Sink::Accumulator* result = nullptr, int planes = 1) {
    const RowsInverseKernel<T, Sink> kernel{plan_.shape(spectrum, which), plan_.row_butterflies(),
                                            static_cast<typename Sink::Accumulator*>(parts_), s,
                                            several(planes)};
    run_rows(stream, which, kernel, planes, result);
  }

 private:
  int reach(Rows which, std::size_t axis) const {
    return static_cast<int>(which == Rows::all ? plan_.grid().full[axis] : plan_.grid().frame[axis]);
  }

  Planes several(int planes) const { return {Divider(planes), plan_.spectrum_size()}; }
  static Geometry of_planes(Geometry g, int planes) {
    g.blocks *= planes;
    return g;
  }

  void middle(Stream stream, const Slabs<T>& slabs, int rows, int valid, bool inverse, int planes) {
    launcher_.launch(stream, MiddleKernel<T>{slabs, plan_.middle(), rows, valid, inverse, several(planes)},
                     of_planes(plan_.middle_geometry(rows), planes));
  }

  template <class Kernel, class Accumulator>
  void run_rows(Stream stream, Rows which, const Kernel& kernel, int planes, Accumulator* result) {
    constexpr bool sums = sum_phases<Accumulator> > 0;
    launcher_.launch(stream, kernel,
                     of_planes(plan_.row_geometry(which, sums ? sizeof(Accumulator) : 0), planes));
    if constexpr (sums)
      launcher_.launch(stream, SumKernel<Accumulator>{kernel.parts, plan_.row_blocks(which), result},
                       Geometry{1, 256, 256 * static_cast<int>(sizeof(Accumulator))});
  }

  const FusedPlan<T>& plan_;
  Launcher& launcher_;
  void* parts_;
};

}  // namespace fastdeblur::cuda
