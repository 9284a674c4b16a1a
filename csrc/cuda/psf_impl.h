// PSFs by the rasterisers of csrc/psf, a thread a few pixels of a row. A pixel's share is computed twice, for
// the kernel's sum and to be written: that is cheaper than to keep it in memory in between.
#pragma once

#include <limits>
#include <vector>

#include "cuda/fft/sums.h"
#include "cuda/memory.h"
#include "cuda/psf.h"
#include "psf/defocus.h"
#include "psf/gaussian.h"
#include "psf/motion.h"

namespace fastdeblur::cuda {

// --- shares: share(kernel, row, x) of a pixel ---

struct MotionShare {
  const psf::MotionLine* lines;
  std::int64_t h, w;
  FD_HD double operator()(std::int64_t kernel, std::int64_t row, std::int64_t x) const {
    return psf::motion_share(lines[kernel], x - w / 2, row - h / 2);
  }
};

struct DefocusShare {
  const double* radii;
  std::int64_t h, w;
  FD_HD double operator()(std::int64_t kernel, std::int64_t row, std::int64_t x) const {
    return psf::disk_share(radii[kernel], x - w / 2, row - h / 2);
  }
};

// Products of profiles (n, d + h + w), each of sum 1.
struct GaussianShare {
  const double* profiles;
  std::int64_t d, h, w;
  FD_HD double operator()(std::int64_t kernel, std::int64_t row, std::int64_t x) const {
    const double* z = profiles + kernel * (d + h + w);
    const double *y = z + d, *along = y + h;
    return z[row / h] * y[row % h] * along[x];
  }
};

// --- kernels: one block a row ---

struct Total {
  double value = 0;
  FD_HD void add(const Total& other) { value += other.value; }
};

struct PsfThreads {
  static constexpr int count = 128;
};

template <class Share>
struct PsfRowSums {
  static constexpr int max_threads = PsfThreads::count, min_blocks = 1;
  struct Registers {
    Total sum;
  };
  Share share;
  int rows;  // of a kernel
  std::int64_t w;
  Total* sums;

  FD_HD int phases() const { return 1 + sum_phases<Total>; }
  FD_HD void operator()(int phase, const Thread& t, Registers& registers) const {
    if (phase > 0) return sum_block(phase - 1, t, registers.sum, sums + t.block);
    const int kernel = t.block / rows, row = t.block - kernel * rows;
    for (std::int64_t x = t.index; x < w; x += t.threads) registers.sum.value += share(kernel, row, x);
  }
};

// One block a PSF.
struct PsfTotals {
  static constexpr int max_threads = PsfThreads::count, min_blocks = 1;
  struct Registers {
    Total sum;
  };
  const Total* sums;
  int rows;
  Total* totals;

  FD_HD int phases() const { return 1 + sum_phases<Total>; }
  FD_HD void operator()(int phase, const Thread& t, Registers& registers) const {
    if (phase > 0) return sum_block(phase - 1, t, registers.sum, totals + t.block);
    const Total* mine = sums + static_cast<std::int64_t>(t.block) * rows;
    for (int i = t.index; i < rows; i += t.threads) registers.sum.add(mine[i]);
  }
};

template <class T, class Share>
struct PsfWrite {
  static constexpr int max_threads = PsfThreads::count, min_blocks = 1;
  struct Registers {};
  Share share;
  int rows;
  std::int64_t w;
  const Total* totals;  // null: the sums are 1
  T* out;

  FD_HD int phases() const { return 1; }
  FD_HD void operator()(int, const Thread& t, Registers&) const {
    const int kernel = t.block / rows, row = t.block - kernel * rows;
    const double total = totals ? totals[kernel].value : 1.0;
    T* to = out + static_cast<std::int64_t>(t.block) * w;
    for (std::int64_t x = t.index; x < w; x += t.threads)
      to[x] = static_cast<T>(share(kernel, row, x) / total);
  }
};

template <class Launcher>
class PsfRasteriser {
 public:
  PsfRasteriser(Runtime& runtime, Launcher& launcher, const PsfTarget& out, Stream stream)
      : launcher_(launcher), arena_(runtime), out_(out) {
    constexpr std::int64_t most = std::numeric_limits<int>::max();
    if (out.n < 1 || out.d < 1 || out.h < 1 || out.w < 1 || out.d > most / out.h ||
        out.n > most / (out.d * out.h))
      throw std::invalid_argument("out: expected at least one pixel, and fewer than 2^31 rows");
    arena_.set_stream(stream);
  }

  void motion(const double* lengths, const double* angles) {
    std::vector<psf::MotionLine> lines;
    for (std::int64_t k = 0; k < out_.n; ++k) lines.push_back(psf::motion_line(lengths[k], angles[k]));
    Memory<psf::MotionLine> there(arena_);
    normalised(MotionShare{there.upload(lines.data(), out_.n), out_.h, out_.w});
  }

  void defocus(const double* radii) {
    Memory<double> there(arena_);
    normalised(DefocusShare{there.upload(radii, out_.n), out_.h, out_.w});
  }

  void gaussian(const double* sigmas) {
    const std::int64_t sizes[3] = {out_.d, out_.h, out_.w}, stride = out_.d + out_.h + out_.w;
    std::vector<double> profiles(static_cast<std::size_t>(out_.n * stride));
    double* profile = profiles.data();
    for (std::int64_t k = 0; k < out_.n; ++k)
      for (int axis = 0; axis < 3; profile += sizes[axis++]) {
        const double sum = psf::rasterise_gaussian_axis(sigmas[3 * k + axis], sizes[axis], profile);
        for (std::int64_t i = 0; i < sizes[axis]; ++i) profile[i] /= sum;
      }
    Memory<double> there(arena_);
    write(GaussianShare{there.upload(profiles.data(), out_.n * stride), out_.d, out_.h, out_.w}, nullptr);
  }

 private:
  template <class Share>
  void normalised(const Share& share) {
    const int per_kernel = rows();
    const std::int64_t all = out_.n * per_kernel;
    Memory<Total> sums(arena_), totals(arena_);
    sums.require(all);
    totals.require(out_.n);
    launch(PsfRowSums<Share>{share, per_kernel, out_.w, sums.data()}, all);
    launch(PsfTotals{sums.data(), per_kernel, totals.data()}, out_.n);
    write(share, totals.data());
  }

  template <class Share>
  void write(const Share& share, const Total* totals) {
    const std::int64_t all = out_.n * rows();
    if (out_.is_double)
      launch(PsfWrite<double, Share>{share, rows(), out_.w, totals, static_cast<double*>(out_.data)}, all);
    else
      launch(PsfWrite<float, Share>{share, rows(), out_.w, totals, static_cast<float*>(out_.data)}, all);
  }

  template <class Kernel>
  void launch(const Kernel& kernel, std::int64_t blocks) {
    constexpr int threads = PsfThreads::count;
    launcher_.launch(arena_.stream(), kernel,
                     Geometry{blocks, threads, threads * static_cast<int>(sizeof(Total))});
  }
  int rows() const { return static_cast<int>(out_.d * out_.h); }

  Launcher& launcher_;
  Arena arena_;
  PsfTarget out_;
};

}  // namespace fastdeblur::cuda
