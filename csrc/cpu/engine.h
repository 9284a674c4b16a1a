// CpuEngine: runs the pass vocabulary over SIMD lanes and threads. Only an engine loops, schedules and
// transforms.
//
// Spectrum layout: the half spectrum of a row is cut into blocks of L columns; block b is a slab [c][m][re L
// | im L], contiguous, so that a columns pass finds its columns side by side, transforms all of them at once,
// and stays in cache.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <vector>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "core/functors.h"
#include "core/grid.h"
#include "core/image.h"
#include "cpu/buffer.h"
#include "cpu/fft.h"
#include "cpu/parallel.h"
#include "cpu/transpose.h"

namespace fastdeblur {

// FFT plans and layout of one grid, shared by every engine that works on it.
template <class T, int L>
struct GridPlan {
  Grid grid;
  int64_t blocks;  // of L columns of the half spectrum
  int64_t slab;    // elements from one block to the next
  std::vector<RowGroup> all, frame;
  RealFft<T, L> rows;
  ComplexFft<T, L> columns, middle;

  explicit GridPlan(const Grid& g)
      : grid(g),
        blocks((g.half() + L - 1) / L),
        slab(slab_size(g)),
        all(row_groups(g, Rows::all, L)),
        frame(row_groups(g, Rows::frame, L)),
        rows(g.full[2]),
        columns(g.full[0]),
        middle(g.full[1]) {}

  const std::vector<RowGroup>& groups(Rows which) const { return which == Rows::all ? all : frame; }
  int64_t spectrum_size() const { return blocks * slab; }

  // Slabs start an odd number of cache lines apart: rows passes write one piece into every slab, and with
  // power-of-two distances all the pieces would fall into the same cache set.
  static int64_t slab_size(const Grid& g) {
    if (L == 1) return g.rows() * 2;  // nothing is aligned, and padding would multiply a signal's memory
    constexpr int64_t line = 64 / static_cast<int64_t>(sizeof(T));
    const int64_t size = g.rows() * 2 * L;
    const int64_t lines = (size + line - 1) / line;
    // A multiple of the register size and an odd multiple of it.
    constexpr int64_t unit = 2 * L > line ? 2 * L / line : 1;
    const int64_t units = (lines + unit - 1) / unit;
    return (units | 1) * unit * line;
  }
};

// What one thread works in.
template <class T, int L>
struct Scratch {
  Buffer<T> a, b, fft;
  Buffer<T> rows;   // rows on their way into lanes
  Buffer<T> extra;  // lanes of a second image
  Buffer<T> slab;   // a transfer function's, where it is not stored

  static int64_t line_length(const Grid& g) {
    return std::max({g.full[2] + 2, 2 * g.full[0], 2 * g.full[1]}) * L;
  }
  void require(const GridPlan<T, L>& p) {
    a.require(line_length(p.grid));
    b.require(line_length(p.grid));
    fft.require(std::max({p.rows.scratch(), p.columns.scratch(), p.middle.scratch()}) + 32 * L);
  }
  // rows and extra are made by the passes that need them: to a lone signal they are as long as all the rest.
  static int64_t bytes(const GridPlan<T, L>& p, bool richardson_lucy, bool weights) {
    const int64_t fft = std::max({p.rows.scratch(), p.columns.scratch(), p.middle.scratch()}) + 32 * L;
    const int64_t rows = L > 1 ? L + 2 : weights ? 2 : 0, extra = richardson_lucy ? L : 0;
    return (2 * line_length(p.grid) + fft + (rows + extra) * p.grid.full[2]) *
           static_cast<int64_t>(sizeof(T));
  }
};

// Reads grid rows of an image: converts, weighs, extends by the axis maps, and turns rows into lanes.
template <class T, int L>
class RowReader {
 public:
  // With weights it reads weight times image, and 0 where the weight is 0, whatever the image holds there.
  RowReader(const GridPlan<T, L>& plan, ImageView image, const std::array<AxisMap, 3>& maps,
            ImageView weights = {})
      : plan_(&plan), image_(image), weights_(weights), maps_(&maps) {}

  // lanes[x][L] of the group's rows; lanes without a row are 0.
  void read(const RowGroup& group, T* lanes, Buffer<T>& scratch) const {
    const Grid& g = plan_->grid;
    const int64_t n = g.frame[2], nx = g.full[2];
    if constexpr (L == 1) {
      if (weights_ || !g.in_frame(group.first)) scratch.require(2 * n);
      const T* row = read_row(group.first, lanes, scratch.data());
      if (!row) {
        std::fill_n(lanes, n, T(0));
      } else if (row != lanes) {
        std::copy_n(row, n, lanes);
      }
    } else {
      scratch.require((L + 2) * nx);
      T* rows = scratch.data();
      const T* row[L];
      for (int j = 0; j < L; ++j)
        row[j] = j < group.count ? read_row(group.first + j, rows + j * nx, rows + L * nx) : nullptr;
      for (int j = 0; j < L; ++j)
        if (!row[j]) {
          std::fill_n(rows + j * nx, n, T(0));
          row[j] = rows + j * nx;
        }
      int64_t x = 0;
      for (; x + L <= n; x += L) transpose_block<T, L>([&](int j) { return row[j] + x; }, lanes + x * L, L);
      for (; x < n; ++x)
        for (int j = 0; j < L; ++j) lanes[x * L + j] = row[j][x];
    }
    const AxisMap& map = (*maps_)[2];
    for (int64_t x = n; x < nx; ++x) {
      const std::size_t i = static_cast<std::size_t>(x - n);
      const T w1 = static_cast<T>(map.w1[i]), w2 = static_cast<T>(map.w2[i]);
      const T *first = lanes + map.first[i] * L, *second = lanes + map.second[i] * L;
      for (int j = 0; j < L; ++j) lanes[x * L + j] = w1 * first[j] + w2 * second[j];
    }
  }

 private:
  // The frame's part of grid row r, or nullptr where it is 0: in the image's own memory if it can be used as
  // it lies, else in out.
  const T* read_row(int64_t r, T* out, T* temporary) const {
    const Grid& g = plan_->grid;
    const int64_t c = r / g.full[1], m = r % g.full[1], n = g.frame[2];
    if (c < g.frame[0] && m < g.frame[1]) {
      if (!weights_ && image_.element == element_of<T>() &&
          image_.stride[2] == static_cast<std::ptrdiff_t>(sizeof(T)))
        return reinterpret_cast<const T*>(address(image_, c, m));
      convert(c, m, out, temporary);
      return out;
    }
    const AxisMap::Sources cs = (*maps_)[0].sources(c, g.frame[0]), ms = (*maps_)[1].sources(m, g.frame[1]);
    bool any = false;
    for (std::size_t i = 0; i < 2; ++i)
      for (std::size_t k = 0; k < 2; ++k) {
        const T weight = static_cast<T>(cs.weight[i] * ms.weight[k]);
        if (weight == T(0)) continue;
        convert(cs.at[i], ms.at[k], any ? temporary : out, temporary + n);
        if (any) {
          for (int64_t x = 0; x < n; ++x) out[x] += weight * temporary[x];
        } else {
          for (int64_t x = 0; x < n; ++x) out[x] *= weight;
        }
        any = true;
      }
    return any ? out : nullptr;
  }

  // One row of the frame; temporary: room for another.
  void convert(int64_t c, int64_t m, T* out, T* temporary) const {
    const int64_t n = plan_->grid.frame[2];
    convert_row(image_.element, address(image_, c, m), image_.stride[2], n, out);
    if (!weights_) return;
    convert_row(weights_.element, address(weights_, c, m), weights_.stride[2], n, temporary);
    for (int64_t x = 0; x < n; ++x) out[x] = temporary[x] > T(0) ? temporary[x] * out[x] : T(0);
  }

  static const char* address(const ImageView& image, int64_t c, int64_t m) {
    return static_cast<const char*>(image.data) + c * image.stride[0] + m * image.stride[1];
  }

  const GridPlan<T, L>* plan_;
  ImageView image_, weights_;
  const std::array<AxisMap, 3>* maps_;
};

// Looks at n pixels of each lane: whether all are within +-limit (no NaN is), whether none is negative.
template <class T, int L>
Bad look_at(const T* lanes, int64_t n, T limit) {
#if defined(FASTDEBLUR_VECTOR_EXTENSIONS)
  using V = typename Register<T, L>::type;
  using U = typename Register<T, L>::unaligned;
  const V high = V{} + limit, zero{};
  auto within = high == high, positive = within;
  for (int64_t x = 0; x < n; ++x) {
    const V y = *reinterpret_cast<const U*>(lanes + x * L);
    within &= (y <= high) & (y >= -high);
    positive &= y >= zero;
  }
  bool all_within = true, all_positive = true;
  for (int j = 0; j < L; ++j) {
    all_within = all_within && within[j];
    all_positive = all_positive && positive[j];
  }
#else
  bool all_within = true, all_positive = true;
  for (int64_t i = 0; i < n * L; ++i) {
    all_within = all_within && lanes[i] <= limit && lanes[i] >= -limit;
    all_positive = all_positive && lanes[i] >= T(0);
  }
#endif
  return static_cast<Bad>((all_within ? 0 : static_cast<int>(Bad::not_finite)) |
                          (all_positive ? 0 : static_cast<int>(Bad::negative)));
}

// Writes the frame's part of lanes into an image.
template <class T, int L>
class RowWriter {
 public:
  RowWriter(const GridPlan<T, L>& plan, MutableImageView<T> image) : plan_(&plan), image_(image) {}

  // lanes[x][L] to the group's rows; rows outside the frame are dropped.
  void write(const RowGroup& group, const T* lanes) const {
    const Grid& g = plan_->grid;
    const int64_t n = g.frame[2];
    char* row[L];
    bool whole = image_.stride[2] == static_cast<std::ptrdiff_t>(sizeof(T));
    for (int j = 0; j < L; ++j) {
      const int64_t r = group.first + j;
      const bool wanted = j < group.count && g.in_frame(r);
      row[j] = wanted ? reinterpret_cast<char*>(image_.data) + r / g.full[1] * image_.stride[0] +
                            r % g.full[1] * image_.stride[1]
                      : nullptr;
      whole = whole && wanted;
    }
    int64_t x = 0;
    if (whole) {
      for (; x + L <= n; x += L) {
        T block[L * L];
        transpose_block<T, L>([&](int j) { return lanes + (x + j) * L; }, block, L);
        for (int j = 0; j < L; ++j)
          std::memcpy(row[j] + x * static_cast<int64_t>(sizeof(T)), block + j * L, L * sizeof(T));
      }
    }
    for (int j = 0; j < L; ++j)
      if (row[j])
        for (int64_t i = x; i < n; ++i)
          *reinterpret_cast<T*>(row[j] + i * image_.stride[2]) = lanes[i * L + j];
  }

 private:
  const GridPlan<T, L>* plan_;
  MutableImageView<T> image_;
};

// A kernel's rows on the grid, transformed along x: the rest of the grid is 0, so that its transfer function
// can be had slab by slab from very little memory.
template <class T>
struct KernelRows {
  std::vector<int64_t> at;  // grid rows, ascending
  Buffer<T> spectrum;       // [block][row][re L | im L]
};

template <class T, int L>
class CpuEngine {
 public:
  using Plan = GridPlan<T, L>;

  // scratch: one for each of the team's threads.
  CpuEngine(const Plan& plan, Team& team, std::vector<Scratch<T, L>>& scratch)
      : plan_(plan), team_(team), scratch_(scratch) {}

  const Plan& plan() const { return plan_; }

  // fill(k, group, lanes, scratch) makes the rows of the k-th group; their half spectra go to the spectrum.
  template <class Fill>
  void rows_forward(T* spectrum, Rows which, Fill&& fill) {
    each_group(which, [&](int64_t k, const RowGroup& group, Scratch<T, L>& s) {
      fill(k, group, s.a.data(), s);
      store(group, plan_.rows.exec(s.a.data(), s.b.data(), s.fft.data(), true), spectrum);
    });
  }

  // use(k, group, lanes, scratch) takes the image rows, unnormalised.
  template <class Use>
  void rows_inverse(const T* spectrum, Rows which, Use&& use) {
    each_group(which, [&](int64_t k, const RowGroup& group, Scratch<T, L>& s) {
      load(group, spectrum, s.a.data());
      use(k, group, plan_.rows.exec(s.a.data(), s.b.data(), s.fft.data(), false), s);
    });
  }

  // Inverse, f(k, group, lanes, scratch) in place, forward: a row never leaves the cache.
  template <class F>
  void rows(T* spectrum, Rows which, F&& f) {
    each_group(which, [&](int64_t k, const RowGroup& group, Scratch<T, L>& s) {
      load(group, spectrum, s.a.data());
      T* lanes = plan_.rows.exec(s.a.data(), s.b.data(), s.fft.data(), false);
      f(k, group, lanes, s);
      T* other = lanes == s.a.data() ? s.b.data() : s.a.data();
      store(group, plan_.rows.exec(lanes, other, s.fft.data(), true), spectrum);
    });
  }

  // f(k, group, lanes, scratch) without a transform: for what only looks at the data.
  template <class F>
  void scan(Rows which, F&& f) {
    each_group(which,
               [&](int64_t k, const RowGroup& group, Scratch<T, L>& s) { f(k, group, s.a.data(), s); });
  }

  // Forward over c (and m), f(filter, m, column) in place, inverse, where filter = prepare(block, scratch)
  // once per block. Rows outside `in` count as 0; only rows inside `out` are valid afterwards. column: [c][re
  // L | im L].
  template <class Prepare, class F>
  void columns(T* spectrum, Rows in, Rows out, Prepare&& prepare, F&& f) {
    each_block([&](int64_t block, int worker) {
      Scratch<T, L>& s = scratch_[static_cast<std::size_t>(worker)];
      const auto filter = prepare(block, s);
      transform_slab(spectrum + block * plan_.slab, in, out, s,
                     [&](int64_t m, T* column) { f(filter, m, column); });
    });
  }

  // f(block, worker) for every block of columns; small ones are handed out several at a time.
  template <class F>
  void each_block(F&& f) {
    const int64_t run = std::max<int64_t>(1, 4096 / plan_.slab);
    team_.parallel_for((plan_.blocks + run - 1) / run, [&](int64_t k, int worker) {
      const int64_t end = std::min(plan_.blocks, (k + 1) * run);
      for (int64_t block = k * run; block < end; ++block) f(block, worker);
    });
  }

  // The slab of a transfer function, [m][c][re L | im L], from the half spectra of a kernel's few rows.
  void otf_slab(const KernelRows<T>& kernel, int64_t block, T* slab, Scratch<T, L>& s) const {
    const Grid& g = plan_.grid;
    const int64_t nc = g.full[0], nm = g.full[1], count = static_cast<int64_t>(kernel.at.size());
    std::fill_n(slab, nc * nm * 2 * L, T(0));
    const T* source = kernel.spectrum.data() + block * count * 2 * L;
    // Middle axis first, for the few c that have rows; the column axis is then done for every m, in place:
    // slab[m][c].
    int64_t k = 0;
    while (k < count) {
      const int64_t c = kernel.at[static_cast<std::size_t>(k)] / nm;
      if (nm == 1) {
        std::memcpy(slab + c * 2 * L, source + k * 2 * L, 2 * L * sizeof(T));
        ++k;
        continue;
      }
      T* line = s.a.data();
      std::fill_n(line, nm * 2 * L, T(0));
      for (; k < count && kernel.at[static_cast<std::size_t>(k)] / nm == c; ++k)
        std::memcpy(line + kernel.at[static_cast<std::size_t>(k)] % nm * 2 * L, source + k * 2 * L,
                    2 * L * sizeof(T));
      const T* done = plan_.middle.exec(line, s.b.data(), s.fft.data(), true);
      for (int64_t m = 0; m < nm; ++m)
        std::memcpy(slab + (m * nc + c) * 2 * L, done + m * 2 * L, 2 * L * sizeof(T));
    }
    if (nc > 1)
      for (int64_t m = 0; m < nm; ++m) {
        T* column = slab + m * nc * 2 * L;
        const T* done = plan_.columns.exec(column, s.b.data(), s.fft.data(), true);
        if (done != column) std::memcpy(column, done, static_cast<std::size_t>(nc) * 2 * L * sizeof(T));
      }
  }

  // f(i, worker) for i in [0, n).
  template <class F>
  void each(int64_t n, F&& f) {
    team_.parallel_for(n, f);
  }

  Scratch<T, L>& scratch(int worker) { return scratch_[static_cast<std::size_t>(worker)]; }

  // Writes L rows of a block past the caches: what will not be read again before it has left them need not be
  // fetched before it is overwritten.
  static void stream(const T* block, T* out) {
#if defined(__AVX512F__)
    for (int i = 0; i < 2 * L * L; i += 64 / static_cast<int>(sizeof(T)))
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out + i), _mm512_load_si512(block + i));
#elif defined(__AVX__)
    for (int i = 0; i < 2 * L * L; i += 32 / static_cast<int>(sizeof(T)))
      _mm256_stream_si256(reinterpret_cast<__m256i*>(out + i),
                          _mm256_load_si256(reinterpret_cast<const __m256i*>(block + i)));
#else
    std::memcpy(out, block, 2 * L * L * sizeof(T));
#endif
  }

  // Half spectrum of lanes, for rows that are stored elsewhere than in a spectrum (a kernel's). Row stride in
  // elements of 2 L.
  void store_rows(const T* half_complex, int count, T* base, int64_t block_stride,
                  bool streaming = false) const {
    const int64_t nx = plan_.grid.full[2], nk = plan_.grid.half();
    for (int64_t b = 0; b < plan_.blocks; ++b) {
      T* out = base + b * block_stride;
      const bool inner = b > 0 && (b + 1) * L <= (nx + 1) / 2;
      if (inner && count == L) {
        const T* q = half_complex + (2 * b * L - 1) * L;
        alignas(64) T block[L * 2 * L];
        T* to = streaming ? block : out;
        transpose_block<T, L>([&](int j) { return q + 2 * j * L; }, to, 2 * L);
        transpose_block<T, L>([&](int j) { return q + (2 * j + 1) * L; }, to + L, 2 * L);
        if constexpr (kMayStream)
          if (streaming) stream(block, out);
        continue;
      }
      alignas(64) static constexpr T zeros[L] = {};
      const T *re[L], *im[L];
      for (int j = 0; j < L; ++j) {
        const int64_t k = b * L + j;
        re[j] = k >= nk ? zeros : k == 0 ? half_complex : half_complex + (2 * k - 1) * L;
        im[j] = k >= nk || k == 0 || 2 * k == nx ? zeros : half_complex + 2 * k * L;
      }
      T block[L * 2 * L];
      transpose_block<T, L>([&](int j) { return re[j]; }, block, 2 * L);
      transpose_block<T, L>([&](int j) { return im[j]; }, block + L, 2 * L);
      std::memcpy(out, block, static_cast<std::size_t>(count) * 2 * L * sizeof(T));
    }
  }

 private:
  template <class F>
  void each_group(Rows which, F&& f) {
    const auto& groups = plan_.groups(which);
    team_.parallel_for(static_cast<int64_t>(groups.size()), [&](int64_t k, int worker) {
      f(k, groups[static_cast<std::size_t>(k)], scratch_[static_cast<std::size_t>(worker)]);
    });
  }

  void store(const RowGroup& group, const T* half_complex, T* spectrum) const {
    store_rows(half_complex, group.count, spectrum + group.first * 2 * L, plan_.slab, streaming_);
#if defined(__AVX__)
    if (streaming_) _mm_sfence();  // streaming stores are not ordered by the team's atomics
#endif
  }

  // Lanes without a row of their own are 0: the rows after the group's are another thread's to write, or
  // nobody's.
  void load(const RowGroup& group, const T* spectrum, T* half_complex) const {
    const int64_t nx = plan_.grid.full[2], nk = plan_.grid.half();
    alignas(64) static constexpr T zeros[2 * L] = {};
    const T* base = spectrum + group.first * 2 * L;
    for (int64_t b = 0; b < plan_.blocks; ++b) {
      const T* in = base + b * plan_.slab;
      const bool inner = b > 0 && (b + 1) * L <= (nx + 1) / 2;
      if (inner && group.count == L) {
        T* q = half_complex + (2 * b * L - 1) * L;
        transpose_block<T, L>([&](int j) { return in + j * 2 * L; }, q, 2 * L);
        transpose_block<T, L>([&](int j) { return in + j * 2 * L + L; }, q + L, 2 * L);
        continue;
      }
      T re[L * L], im[L * L];
      auto row = [&](int j) { return j < group.count ? in + j * 2 * L : zeros; };
      transpose_block<T, L>([&](int j) { return row(j); }, re, L);
      transpose_block<T, L>([&](int j) { return row(j) + L; }, im, L);
      for (int j = 0; j < L; ++j) {
        const int64_t k = b * L + j;
        if (k >= nk) break;
        if (k == 0) {
          std::memcpy(half_complex, re, L * sizeof(T));
          continue;
        }
        std::memcpy(half_complex + (2 * k - 1) * L, re + j * L, L * sizeof(T));
        if (2 * k != nx) std::memcpy(half_complex + 2 * k * L, im + j * L, L * sizeof(T));
      }
    }
  }

  template <class F>
  void transform_slab(T* slab, Rows in, Rows out, Scratch<T, L>& s, F&& f) const {
    const Grid& g = plan_.grid;
    const int64_t nc = g.full[0], nm = g.full[1], line = 2 * L;
    const int64_t in_c = in == Rows::frame ? g.frame[0] : nc, in_m = in == Rows::frame ? g.frame[1] : nm;
    const int64_t out_c = out == Rows::frame ? g.frame[0] : nc;
    std::fill_n(slab + in_c * nm * line, (nc - in_c) * nm * line, T(0));
    if (nm == 1) {
      T* result = slab;
      if (nc > 1) result = plan_.columns.exec(slab, s.b.data(), s.fft.data(), true);
      f(0, result);
      if (nc > 1)
        result = plan_.columns.exec(result, result == slab ? s.b.data() : slab, s.fft.data(), false);
      if (result != slab) std::memcpy(slab, result, static_cast<std::size_t>(out_c * line) * sizeof(T));
      return;
    }
    for (int64_t c = 0; c < in_c; ++c) {
      std::fill_n(slab + (c * nm + in_m) * line, (nm - in_m) * line, T(0));
      transform_in_place(plan_.middle, slab + c * nm * line, s, true);
    }
    for (int64_t m = 0; m < nm; ++m) {
      T *a = s.a.data(), *b = s.b.data();
      for (int64_t c = 0; c < nc; ++c) copy_line(slab + (c * nm + m) * line, a + c * line);
      T* result = nc > 1 ? plan_.columns.exec(a, b, s.fft.data(), true) : a;
      f(m, result);
      if (nc > 1) result = plan_.columns.exec(result, result == a ? b : a, s.fft.data(), false);
      for (int64_t c = 0; c < out_c; ++c) copy_line(result + c * line, slab + (c * nm + m) * line);
    }
    for (int64_t c = 0; c < out_c; ++c) transform_in_place(plan_.middle, slab + c * nm * line, s, false);
  }

  static void copy_line(const T* from, T* to) { std::memcpy(to, from, 2 * L * sizeof(T)); }

  static void transform_in_place(const ComplexFft<T, L>& fft, T* data, Scratch<T, L>& s, bool forward) {
    const T* done = fft.exec(data, s.b.data(), s.fft.data(), forward);
    if (done != data) std::memcpy(data, done, static_cast<std::size_t>(fft.length()) * 2 * L * sizeof(T));
  }

  // A block of one lane is smaller than a register.
  static constexpr bool kMayStream = L > 1;
  // Spectra beyond this many bytes have left every cache when the next pass comes for them.
  static constexpr int64_t kCached = int64_t(24) << 20;

  const Plan& plan_;
  Team& team_;
  std::vector<Scratch<T, L>>& scratch_;
  const bool streaming_ = kMayStream && plan_.spectrum_size() * static_cast<int64_t>(sizeof(T)) > kCached;
};

}  // namespace fastdeblur
