#include "restoration/gibbs.h"

#include <algorithm>
#include <cmath>

#if defined(_OPENMP)
#define FASTDEBLUR_SIMD_SUMS _Pragma("omp simd reduction(+ : residual, roughness, change, size)")
#else
#define FASTDEBLUR_SIMD_SUMS
#endif

namespace fastdeblur::restoration {
namespace {

template <class T>
struct Row {
  const T* __restrict otf, * __restrict data, * __restrict reg, * __restrict a, * __restrict b;  // complex as
                                                                                                 // re, im
  T* __restrict mean;
};

// One row; sums.*_first is what its first column adds.
template <class T, bool Counts, bool Measured>
void sample_row(const Row<T>& row, std::int64_t n, const GibbsStep& step, GibbsSums& sums) {
  const T noise = static_cast<T>(step.noise), prior = static_cast<T>(step.prior);
  const T now = Measured ? T(1) / static_cast<T>(step.measured) : T(0);
  const T before = Measured ? T(1) / static_cast<T>(step.measured - 1) : T(0);
  const T* __restrict otf = row.otf, * __restrict data = row.data, * __restrict reg = row.reg;
  const T* __restrict a = row.a, * __restrict b = row.b;
  T* __restrict mean = row.mean;
  auto sample = [&](std::int64_t x, T& residual, T& roughness, [[maybe_unused]] T& change,
                    [[maybe_unused]] T& size) {
    const T hr = otf[2 * x], hi = otf[2 * x + 1], yr = data[2 * x], yi = data[2 * x + 1], r = reg[x];
    const T precision = noise * (hr * hr + hi * hi) + prior * (r * r);
    const T inverse = T(1) / precision, spread = std::sqrt(T(0.5) * inverse), gain = noise * inverse;
    const T xr = gain * (hr * yr + hi * yi) + spread * a[x], xi = gain * (hr * yi - hi * yr) + spread * b[x];
    const T er = yr - (xr * hr - xi * hi), ei = yi - (xr * hi + xi * hr);
    residual += er * er + ei * ei;
    roughness += (xr * xr + xi * xi) * (r * r);
    if constexpr (Counts) {
      const T mr = mean[2 * x], mi = mean[2 * x + 1], kr = mr + xr, ki = mi + xi;
      mean[2 * x] = kr;
      mean[2 * x + 1] = ki;
      if constexpr (Measured) {
        const T dr = kr * now - mr * before, di = ki * now - mi * before;
        change += std::sqrt(dr * dr + di * di);
        size += std::sqrt(kr * kr + ki * ki);
      }
    }
  };
  T residual = 0, roughness = 0, change = 0, size = 0;
  sample(0, residual, roughness, change, size);
  sums.residual_first += static_cast<double>(residual);
  sums.roughness_first += static_cast<double>(roughness);
  FASTDEBLUR_SIMD_SUMS
  for (std::int64_t x = 1; x < n; ++x) sample(x, residual, roughness, change, size);
  sums.residual += static_cast<double>(residual);
  sums.roughness += static_cast<double>(roughness);
  sums.change += static_cast<double>(change);
  sums.size += static_cast<double>(size);
}

template <class T>
void sample_row(const Row<T>& row, std::int64_t n, const GibbsStep& step, GibbsSums& sums) {
  if (step.measured > 1) return sample_row<T, true, true>(row, n, step, sums);
  if (step.counts) return sample_row<T, true, false>(row, n, step, sums);
  sample_row<T, false, false>(row, n, step, sums);
}

}  // namespace

template <class T>
Gibbs<T>::Gibbs(const GibbsProblem<T>& problem, int n_threads) : problem_(problem) {
  const std::int64_t size = problem.rows * problem.n;
  threads_ = size < (1 << 16) ? 1 : team_size(n_threads);
  band_ = std::max<std::int64_t>(1, 4096 / problem.n);
  sums_.resize(static_cast<std::size_t>((problem.rows + band_ - 1) / band_));
  scratch_.resize(static_cast<std::size_t>(threads_));
}

template <class T>
GibbsSums Gibbs<T>::step(const GibbsStep& step, Pcg64& generator, Team& team) {
  stream_.draw(generator, 2 * problem_.rows * problem_.n, team);
  return walk(team, step,
              [&](std::int64_t first, std::int64_t count, T* out) { stream_.copy(first, count, out); });
}

template <class T>
GibbsSums Gibbs<T>::step(const GibbsStep& step, const double* normals) {
  GibbsSums total;
  Team::run(threads_, [&](Team& team) {
    total = walk(team, step, [&](std::int64_t first, std::int64_t count, T* out) {
      std::transform(normals + first, normals + first + count, out,
                     [](double v) { return static_cast<T>(v); });
    });
  });
  return total;
}

template <class T>
template <class Normals>
GibbsSums Gibbs<T>::walk(Team& team, const GibbsStep& step, Normals normals) {
  const GibbsProblem<T>& p = problem_;
  const std::int64_t size = p.rows * p.n, bands = static_cast<std::int64_t>(sums_.size());
  const T* otf = reinterpret_cast<const T*>(p.otf);
  const T* data = reinterpret_cast<const T*>(p.data);
  T* mean = reinterpret_cast<T*>(p.mean);
  team.parallel_for(bands, [&](std::int64_t band, int worker) {
    Buffer<T>& scratch = scratch_[static_cast<std::size_t>(worker)];
    scratch.require(2 * band_ * p.n);
    const std::int64_t first = band * band_, last = std::min(first + band_, p.rows);
    const std::int64_t at = first * p.n, count = (last - first) * p.n;
    T *a = scratch.data(), *b = a + band_ * p.n;
    normals(at, count, a);
    normals(size + at, count, b);
    GibbsSums sums;
    for (std::int64_t row = first; row < last; ++row) {
      const std::int64_t here = row * p.n, off = here - at;
      sample_row<T>({otf + 2 * here, data + 2 * here, p.reg + here, a + off, b + off, mean + 2 * here}, p.n,
                    step, sums);
    }
    sums_[static_cast<std::size_t>(band)] = sums;
  });
  GibbsSums total;
  for (const GibbsSums& s : sums_) {  // in order: the same sum for any number of threads
    total.residual += s.residual;
    total.residual_first += s.residual_first;
    total.roughness += s.roughness;
    total.roughness_first += s.roughness_first;
    total.change += s.change;
    total.size += s.size;
  }
  return total;
}

template class Gibbs<float>;
template class Gibbs<double>;

}  // namespace fastdeblur::restoration
