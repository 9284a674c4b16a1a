// Frequency-domain programs for CpuEngine::columns: where the transfer function comes from, and what is done
// with it.
#pragma once

#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "cpu/engine.h"

#if defined(_OPENMP)
#define FASTDEBLUR_SIMD _Pragma("omp simd")
#else
#define FASTDEBLUR_SIMD
#endif

namespace fastdeblur {

// The transfer function of one block of columns, [m][c][re L | im L].
template <class T>
struct OtfSlab {
  int64_t block;
  const T* values;
};

// A transfer function, stored whole (fast, one more image in memory) or made slab by slab from the kernel's
// rows (for a single use: cheaper than to store and read it).
template <class T, int L>
class Otf {
 public:
  // kernel: (c, m, x) contiguous, origin at shape / 2; one larger than the grid folds.
  Otf(CpuEngine<T, L>& engine, const T* kernel, const std::array<int64_t, 3>& shape)
      : Otf(engine, kernel, shape, {shape[0] / 2, shape[1] / 2, shape[2] / 2}) {}

  Otf(CpuEngine<T, L>& engine, const T* kernel, const std::array<int64_t, 3>& shape,
      const std::array<int64_t, 3>& origin)
      : plan_(&engine.plan()) {
    const Grid& g = plan_->grid;
    const int64_t nx = g.full[2];
    std::vector<int64_t> row_of(static_cast<std::size_t>(shape[0] * shape[1]));
    for (int64_t c = 0; c < shape[0]; ++c)
      for (int64_t m = 0; m < shape[1]; ++m)
        row_of[static_cast<std::size_t>(c * shape[1] + m)] =
            wrapped(c - origin[0], g.full[0]) * g.full[1] + wrapped(m - origin[1], g.full[1]);
    kernel_.at = row_of;
    std::sort(kernel_.at.begin(), kernel_.at.end());
    kernel_.at.erase(std::unique(kernel_.at.begin(), kernel_.at.end()), kernel_.at.end());
    const int64_t count = static_cast<int64_t>(kernel_.at.size());
    kernel_.spectrum.require(plan_->blocks * count * 2 * L);
    engine.each((count + L - 1) / L, [&](int64_t k, int worker) {
      Scratch<T, L>& s = engine.scratch(worker);
      const int64_t first = k * L;
      const int lanes = static_cast<int>(std::min<int64_t>(L, count - first));
      T* line = s.a.data();
      std::fill_n(line, nx * L, T(0));
      for (std::size_t i = 0; i < row_of.size(); ++i) {
        const int64_t at =
            std::lower_bound(kernel_.at.begin(), kernel_.at.end(), row_of[i]) - kernel_.at.begin() - first;
        if (at < 0 || at >= lanes) continue;
        const T* row = kernel + static_cast<int64_t>(i) * shape[2];
        for (int64_t x = 0; x < shape[2]; ++x) line[wrapped(x - origin[2], nx) * L + at] += row[x];
      }
      const T* done = plan_->rows.exec(line, s.b.data(), s.fft.data(), true);
      engine.store_rows(done, lanes, kernel_.spectrum.data() + first * 2 * L, count * 2 * L);
    });
  }

  // Store the whole transfer function.
  void store(CpuEngine<T, L>& engine) {
    if (stored_.size()) return;
    Buffer<T> all(plan_->blocks * plan_->slab);
    engine.each_block([&](int64_t block, int worker) {
      engine.otf_slab(kernel_, block, all.data() + block * plan_->slab, engine.scratch(worker));
    });
    stored_ = std::move(all);
    kernel_.spectrum = Buffer<T>();
  }

  OtfSlab<T> operator()(int64_t block, Scratch<T, L>& s, const CpuEngine<T, L>& engine) const {
    if (stored_.size()) return {block, stored_.data() + block * plan_->slab};
    s.slab.require(plan_->slab);
    engine.otf_slab(kernel_, block, s.slab.data(), s);
    return {block, s.slab.data()};
  }

 private:
  static int64_t wrapped(int64_t i, int64_t n) { return ((i % n) + n) % n; }

  const GridPlan<T, L>* plan_;
  KernelRows<T> kernel_;
  Buffer<T> stored_;
};

// f(re, im, hre, him) at every frequency.
template <class T, int L, class F>
auto filter_columns(const Grid& g, F f) {
  return [nc = g.full[0], f](const OtfSlab<T>& otf, int64_t m, T* column) {
    const T* __restrict h = otf.values + m * nc * 2 * L;
    T* __restrict s = column;
    for (int64_t c = 0; c < nc; ++c, s += 2 * L, h += 2 * L) {
      FASTDEBLUR_SIMD
      for (int j = 0; j < L; ++j) f(s[j], s[L + j], h[j], h[L + j]);
    }
  };
}

// |R|^2 on the half spectrum. Laplacian: (sum over axes of 2 - 2 cos(2 pi k / n))^2, from one table an axis.
template <class T>
struct Regularizer {
  enum Kind { identity, laplacian, power } kind = identity;
  std::array<std::vector<T>, 3> axis;  // of the Laplacian; the one of x is padded to whole blocks
  const T* values = nullptr;           // (c, m, half), contiguous
};

template <class T, int L>
Regularizer<T> laplacian(const GridPlan<T, L>& plan) {
  Regularizer<T> reg;
  reg.kind = Regularizer<T>::laplacian;
  const double pi = 3.14159265358979323846;
  for (std::size_t a = 0; a < 3; ++a) {
    const int64_t n = plan.grid.full[a], count = a == 2 ? plan.blocks * L : n;
    reg.axis[a].reserve(static_cast<std::size_t>(count));
    for (int64_t k = 0; k < count; ++k)
      reg.axis[a].push_back(T(2 - 2 * std::cos(2 * pi * static_cast<double>(k) / static_cast<double>(n))));
  }
  return reg;
}

// f(re, im, hre, him, |R|^2) at every frequency.
template <class T, int L, class F>
auto filter_columns_regularized(const Grid& g, const Regularizer<T>& reg, F f) {
  return [g, &reg, f](const OtfSlab<T>& otf, int64_t m, T* column) {
    const int64_t nc = g.full[0], nk = g.half(), k0 = otf.block * L;
    const T* __restrict h = otf.values + m * nc * 2 * L;
    T* __restrict s = column;
    alignas(64) T power[L];
    std::fill_n(power, L, T(1));
    for (int64_t c = 0; c < nc; ++c, s += 2 * L, h += 2 * L) {
      if (reg.kind == Regularizer<T>::laplacian) {
        const T cm = reg.axis[0][static_cast<std::size_t>(c)] + reg.axis[1][static_cast<std::size_t>(m)];
        const T* x = reg.axis[2].data() + k0;
        FASTDEBLUR_SIMD
        for (int j = 0; j < L; ++j) power[j] = (cm + x[j]) * (cm + x[j]);
      } else if (reg.kind == Regularizer<T>::power) {
        const T* row = reg.values + (c * g.full[1] + m) * nk + k0;
        const int64_t count = std::min<int64_t>(L, nk - k0);
        for (int64_t j = 0; j < count; ++j) power[j] = row[j];
      }
      FASTDEBLUR_SIMD
      for (int j = 0; j < L; ++j) f(s[j], s[L + j], h[j], h[L + j], power[j]);
    }
  };
}

}  // namespace fastdeblur
