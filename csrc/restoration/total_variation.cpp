// Chambolle 2004, doi:10.1023/B:JMIV.0000011325.36760.1e. With p the dual field, an iteration is
//
//   out = image - div p,   p <- (p - tau grad out) / (1 + tau / weight |grad out|),   tau = 1 / (2 ndim),
//
// and E = |out - image|^2 + weight sum |grad out|, per pixel, decides when to stop. Several iterations are
// done in one walk over the image: slab r of iteration j + 1 needs slabs r - 1, r and r + 1 of iteration j
// only, so that a few slabs of each are kept in cache. Bands of slabs read the old p and write a new one, and
// are independent; where they meet, each computes what it needs of the other's.
#include "restoration/total_variation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/buffer.h"
#include "cpu/parallel.h"

#if defined(_OPENMP)
#define FASTDEBLUR_SIMD _Pragma("omp simd")
#define FASTDEBLUR_SIMD_SUM _Pragma("omp simd reduction(+ : sum)")
#else
#define FASTDEBLUR_SIMD
#define FASTDEBLUR_SIMD_SUM
#endif

namespace fastdeblur::restoration {
namespace {

// out = image + d, d = -div p; returns the sum of d^2. p0, p1: the components across slabs and across rows,
// at this row and at the one before (zeros where there is none); p2: along the row.
template <class T, bool Volume>
T primal_row(const T* __restrict image, const T* __restrict p0, const T* __restrict p0_before,
             const T* __restrict p1, const T* __restrict p1_before, const T* __restrict p2, std::int64_t n,
             T* __restrict out) {
  auto across = [&](std::int64_t x) {
    T d = p0_before[x] - p0[x];
    if constexpr (Volume) d += p1_before[x] - p1[x];
    return d;
  };
  const T first = across(0) - p2[0];
  out[0] = image[0] + first;
  T sum = first * first;
  FASTDEBLUR_SIMD_SUM
  for (std::int64_t x = 1; x < n; ++x) {
    const T d = across(x) + (p2[x - 1] - p2[x]);
    out[x] = image[x] + d;
    sum += d * d;
  }
  return sum;
}

// The new p of a row from the old; returns the sum of |grad out|. next0, next1: out one slab and one row on;
// out itself at the border, where the difference is 0.
template <class T, bool Volume>
T dual_row(const T* __restrict out, const T* __restrict next0, const T* __restrict next1, T tau, T ratio,
           const T* __restrict p0, const T* __restrict p1, const T* __restrict p2, std::int64_t n,
           T* __restrict q0, T* __restrict q1, T* __restrict q2) {
  auto step = [&](std::int64_t x, T g2) {
    const T g0 = next0[x] - out[x];
    T square = g0 * g0 + g2 * g2;
    [[maybe_unused]] T g1 = 0;
    if constexpr (Volume) {
      g1 = next1[x] - out[x];
      square += g1 * g1;
    }
    const T norm = std::sqrt(square), shrink = T(1) / (T(1) + ratio * norm);
    q0[x] = (p0[x] - tau * g0) * shrink;
    if constexpr (Volume) q1[x] = (p1[x] - tau * g1) * shrink;
    q2[x] = (p2[x] - tau * g2) * shrink;
    return norm;
  };
  T sum = 0;
  FASTDEBLUR_SIMD_SUM
  for (std::int64_t x = 0; x < n - 1; ++x) sum += step(x, out[x + 1] - out[x]);
  return sum + step(n - 1, T(0));
}

// One slab of every component of p.
template <class T>
struct Dual {
  T* component[3] = {};
};

// One thread's slabs of the iterations between the old p and the new.
template <class T>
struct Rings {
  Buffer<T> memory;
  T* zeros = nullptr;
  std::vector<T*> out;        // two slabs of each iteration
  std::vector<Dual<T>> dual;  // two slabs of p after each iteration
};

template <class T, bool Volume>
class Chambolle {
 public:
  Chambolle(const T* image, const TvShape& shape, const TvOptions& options, int n_threads)
      : image_(image),
        shape_(shape),
        options_(options),
        slab_(shape.rows * shape.n),
        tau_(1.0 / (2.0 * kDim)),
        threads_(n_threads) {
    const std::int64_t bytes = (2 * kDim + 2) * slab_ * static_cast<std::int64_t>(sizeof(T));
    depth_ = std::clamp<std::int64_t>(kCached / bytes, 1, kDeepest);
    depth_ = std::min(depth_, options.iterations);
    // Depends on the shape only: sums are taken band by band, and must not depend on the threads.
    band_ = std::clamp<std::int64_t>(shape.slabs / 16, 8, 16 * depth_);
    bands_ = (shape.slabs + band_ - 1) / band_;
    energies_.resize(static_cast<std::size_t>(bands_ * depth_));
    rings_.resize(static_cast<std::size_t>(threads_));
    const std::int64_t size = shape.slabs * slab_ * kDim;
    now_ = Buffer<T>(size);
    next_ = Buffer<T>(size);
  }

  bool run(Team& team, T* out) {
    const std::int64_t part = shape_.slabs * kDim;
    team.parallel_for(bands_, [&](std::int64_t band, int) {
      const std::int64_t first = band * part / bands_, last = (band + 1) * part / bands_;
      std::fill_n(now_.data() + first * slab_, (last - first) * slab_, T(0));
    });
    const double pixels = static_cast<double>(shape_.slabs * slab_);
    double first = 0, before = 0;
    for (std::int64_t done = 0;; done += depth_) {
      const std::int64_t left = options_.iterations - done;
      const bool last = left <= depth_;
      const std::int64_t steps = last ? left - 1 : depth_;
      walk(team, steps, last ? out : nullptr);
      if (done == 0) {
        first = energy(0) / pixels;
        if (!std::isfinite(first)) return false;
      }
      for (std::int64_t j = 0; j < steps; ++j) {
        const double now = energy(j) / pixels;
        if (done + j > 0 && std::abs(before - now) < options_.eps * first) {
          walk(team, j, out);
          return true;
        }
        before = now;
      }
      if (last) return true;
      std::swap(now_, next_);
    }
  }

 private:
  // `steps` iterations from the old p: to the new p, or to what the next iteration makes of the image in out.
  void walk(Team& team, std::int64_t steps, T* out) {
    team.parallel_for(bands_,
                      [&](std::int64_t band, int worker) { walk_band(band, steps, out, rings(worker)); });
  }

  Rings<T>& rings(int worker) {
    Rings<T>& r = rings_[static_cast<std::size_t>(worker)];
    if (r.zeros) return r;
    // Rows keep their distance from each other's cache sets.
    const std::int64_t stride = slab_ + 64 / static_cast<std::int64_t>(sizeof(T));
    r.memory = Buffer<T>((depth_ * (2 + 2 * kDim) + 1) * stride);
    T* at = r.memory.data();
    auto take = [&] { return std::exchange(at, at + stride); };
    r.zeros = take();
    std::fill_n(r.zeros, slab_, T(0));
    for (std::int64_t i = 0; i < 2 * depth_; ++i) {
      r.out.push_back(take());
      Dual<T> dual;
      for (int a = 0; a < kDim; ++a) dual.component[a] = take();
      r.dual.push_back(dual);
    }
    return r;
  }

  void walk_band(std::int64_t band, std::int64_t steps, T* out, Rings<T>& r) {
    const std::int64_t begin = band * band_, end = std::min(begin + band_, shape_.slabs);
    // p after step j is needed on the band and one slab more on each side for each step to come; before the
    // image, one slab more on the lower side.
    const std::int64_t extra = out ? 1 : 0;
    auto low = [&](std::int64_t j) { return std::max<std::int64_t>(0, begin - (steps - 1 - j) - extra); };
    auto high = [&](std::int64_t j) { return std::min(shape_.slabs, end + (steps - 1 - j)); };
    auto dual = [&](std::int64_t j, std::int64_t slab) {
      if (j == 0) return in(now_, slab);
      if (j == steps && !out) return in(next_, slab);
      return r.dual[static_cast<std::size_t>(2 * (j - 1) + (slab & 1))];
    };
    auto primal = [&](std::int64_t j, std::int64_t slab) {
      return r.out[static_cast<std::size_t>(2 * j + (slab & 1))];
    };
    double* energies = &energies_[static_cast<std::size_t>(band * depth_)];
    std::fill_n(energies, steps, 0.0);
    std::int64_t last = out ? end - 1 + steps : end;
    for (std::int64_t j = 0; j < steps; ++j) last = std::max(last, high(j) + j);
    const std::int64_t start = steps > 0 ? low(0) : begin;
    for (std::int64_t time = start; time <= last; ++time) {
      for (std::int64_t j = 0; j < steps; ++j) {
        const std::int64_t slab = time - j;
        if (slab < low(j) || slab > high(j)) continue;
        if (slab < shape_.slabs) {
          const double square = primal_slab(slab, dual(j, slab), slab > 0 ? dual(j, slab - 1) : Dual<T>{},
                                            primal(j, slab), r.zeros);
          if (slab >= begin && slab < end) energies[j] += square;
        }
        if (slab > low(j)) {
          const T* now = primal(j, slab - 1);
          const double variation = dual_slab(now, slab < shape_.slabs ? primal(j, slab) : now,
                                             dual(j, slab - 1), dual(j + 1, slab - 1));
          if (slab - 1 >= begin && slab - 1 < end) energies[j] += options_.weight * variation;
        }
      }
      const std::int64_t slab = time - steps;
      if (out && slab >= begin && slab < end)
        primal_slab(slab, dual(steps, slab), slab > 0 ? dual(steps, slab - 1) : Dual<T>{}, out + slab * slab_,
                    r.zeros);
    }
  }

  double primal_slab(std::int64_t slab, const Dual<T>& p, const Dual<T>& before, T* out, const T* zeros) {
    const std::int64_t n = shape_.n;
    const T* image = image_ + slab * slab_;
    double sum = 0;
    for (std::int64_t y = 0; y < shape_.rows; ++y) {
      const std::int64_t at = y * n;
      const T* p1 = Volume ? p.component[1] + at : nullptr;
      sum += static_cast<double>(primal_row<T, Volume>(
          image + at, p.component[0] + at, before.component[0] ? before.component[0] + at : zeros, p1,
          y > 0 ? p1 - n : zeros, p.component[kDim - 1] + at, n, out + at));
    }
    return sum;
  }

  double dual_slab(const T* out, const T* next, const Dual<T>& p, const Dual<T>& q) {
    const std::int64_t n = shape_.n;
    const T tau = static_cast<T>(tau_), ratio = static_cast<T>(tau_ / options_.weight);
    double sum = 0;
    for (std::int64_t y = 0; y < shape_.rows; ++y) {
      const std::int64_t at = y * n;
      const T* row = out + at;
      sum += static_cast<double>(dual_row<T, Volume>(
          row, next + at, y + 1 < shape_.rows ? row + n : row, tau, ratio, p.component[0] + at,
          Volume ? p.component[1] + at : nullptr, p.component[kDim - 1] + at, n, q.component[0] + at,
          Volume ? q.component[1] + at : nullptr, q.component[kDim - 1] + at));
    }
    return sum;
  }

  // Components lie slab by slab, side by side: a slab's are read together.
  Dual<T> in(Buffer<T>& p, std::int64_t slab) const {
    Dual<T> dual;
    for (int a = 0; a < kDim; ++a) dual.component[a] = p.data() + (slab * kDim + a) * slab_;
    return dual;
  }

  double energy(std::int64_t j) const {
    double sum = 0;
    for (std::int64_t band = 0; band < bands_; ++band)
      sum += energies_[static_cast<std::size_t>(band * depth_ + j)];
    return sum;
  }

  static constexpr int kDim = Volume ? 3 : 2;
  static constexpr std::int64_t kCached = std::int64_t(320) << 10;  // of a second-level cache
  static constexpr std::int64_t kDeepest = 6;

  const T* image_;
  TvShape shape_;
  TvOptions options_;
  std::int64_t slab_, depth_ = 1, band_ = 1, bands_ = 1;
  double tau_;
  int threads_;
  std::vector<double> energies_;  // [band][step]
  std::vector<Rings<T>> rings_;
  Buffer<T> now_, next_;
};

}  // namespace

template <class T>
bool denoise_tv(const T* image, const TvShape& shape, const TvOptions& options, T* out, int n_threads) {
  const double pixels = static_cast<double>(shape.slabs) * static_cast<double>(shape.rows * shape.n);
  const int threads = pixels < (1 << 15) ? 1 : team_size(n_threads);
  bool finite = false;
  Team::run(threads, [&](Team& team) {
    if (shape.volume) {
      finite = Chambolle<T, true>(image, shape, options, threads).run(team, out);
    } else {
      finite = Chambolle<T, false>(image, shape, options, threads).run(team, out);
    }
  });
  return finite;
}

template bool denoise_tv<float>(const float*, const TvShape&, const TvOptions&, float*, int);
template bool denoise_tv<double>(const double*, const TvShape&, const TvOptions&, double*, int);

}  // namespace fastdeblur::restoration
