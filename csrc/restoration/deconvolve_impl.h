// What deconvolve_f32.cpp and deconvolve_f64.cpp instantiate.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

#include "cpu/engine.h"
#include "cpu/filters.h"
#include "methods/richardson_lucy_plain.h"
#include "methods/wiener.h"
#include "restoration/deconvolve.h"

namespace fastdeblur::restoration {

template <class T>
struct Span {
  T least = std::numeric_limits<T>::max(), most = 0;
};

// S <- S conj(H) / (|H|^2 + balance |R|^2); finds the least that it divides by and the most that |H|^2 is. A
// NaN among them stays unseen here; it shows in the result.
template <class T, int L>
auto wiener_columns(const Grid& g, const Regularizer<T>& reg, T balance, T scale,
                    std::vector<Span<T>>& spans) {
  return [g, &reg, balance, scale, &spans](const OtfSlab<T>& otf, int64_t m, T* column) {
    const int64_t nc = g.full[0], nk = g.half(), k0 = otf.block * L;
    const int64_t count = std::min<int64_t>(L, nk - k0);
    const T* __restrict h = otf.values + m * nc * 2 * L;
    T* __restrict s = column;
    alignas(64) T power[L], low[L], high[L];
    std::fill_n(power, L, T(1));
    std::fill_n(low, L, std::numeric_limits<T>::max());
    std::fill_n(high, L, T(0));
    for (int64_t c = 0; c < nc; ++c, s += 2 * L, h += 2 * L) {
      if (reg.kind == Regularizer<T>::laplacian) {
        const T cm = reg.axis[0][static_cast<std::size_t>(c)] + reg.axis[1][static_cast<std::size_t>(m)];
        const T* x = reg.axis[2].data() + k0;
        FASTDEBLUR_SIMD
        for (int j = 0; j < L; ++j) power[j] = (cm + x[j]) * (cm + x[j]);
      } else {
        const T* row = reg.values + (c * g.full[1] + m) * nk + k0;
        for (int64_t j = 0; j < count; ++j) power[j] = row[j];
      }
      FASTDEBLUR_SIMD
      for (int j = 0; j < L; ++j) {
        const T blur = h[j] * h[j] + h[L + j] * h[L + j], denominator = blur + balance * power[j];
        low[j] = denominator < low[j] ? denominator : low[j];
        high[j] = blur > high[j] ? blur : high[j];
        const T gain = scale / denominator;
        const T re = (s[j] * h[j] + s[L + j] * h[L + j]) * gain;
        s[L + j] = (s[L + j] * h[j] - s[j] * h[L + j]) * gain;
        s[j] = re;
      }
    }
    Span<T>& span = spans[static_cast<std::size_t>(otf.block)];
    for (int64_t j = 0; j < count; ++j) {
      span.least = std::min(span.least, low[j]);
      span.most = std::max(span.most, high[j]);
    }
  };
}

template <class T>
ImageView contiguous(const T* image, const Shape& shape) {
  const auto e = static_cast<std::ptrdiff_t>(sizeof(T));
  return {image, element_of<T>(), {shape[1] * shape[2] * e, shape[2] * e, e}};
}

template <class T>
MutableImageView<T> contiguous_output(T* image, const Shape& shape) {
  const auto e = static_cast<std::ptrdiff_t>(sizeof(T));
  return {image, {shape[1] * shape[2] * e, shape[2] * e, e}};
}

// Cuts n pixels of each lane to [-1, 1] if wanted; returns whether all are finite then.
template <class T, int L>
bool finish_rows(T* lanes, int64_t n, bool clip) {
  if (clip) {
    FASTDEBLUR_SIMD
    for (int64_t i = 0; i < n * L; ++i) {
      const T v = lanes[i];
      const T cut = v > T(1) ? T(1) : v;
      lanes[i] = cut < T(-1) ? T(-1) : cut;
    }
  }
  return !has(look_at<T, L>(lanes, n, std::numeric_limits<T>::max()), Bad::not_finite);
}

// Small problems are not worth sharing among threads, and a lone row has nothing to share.
inline int threads_for(const Grid& grid, int n_threads) {
  return grid.pixels() < (1 << 15) || grid.rows() == 1 ? 1 : team_size(n_threads);
}

template <class T, int L>
bool wiener_lanes(const WienerCall<T>& call, T* out, int n_threads) {
  Grid grid;
  grid.frame = grid.full = call.shape;
  const GridPlan<T, L> plan(grid);
  const int threads = threads_for(grid, n_threads);
  const T scale = T(1.0 / grid.pixels());
  const T limit = T(static_cast<double>(std::numeric_limits<T>::max()) / grid.pixels());
  Regularizer<T> reg;
  if (call.power) {
    reg.kind = Regularizer<T>::power;
    reg.values = call.power;
  } else {
    reg = laplacian(plan);
  }
  const std::array<AxisMap, 3> unused;
  const RowReader<T, L> reader(plan, contiguous(call.image, call.shape), unused);
  const RowWriter<T, L> writer(plan, contiguous_output(out, call.shape));
  std::vector<Span<T>> spans(static_cast<std::size_t>(plan.blocks));
  std::vector<Scratch<T, L>> scratch(static_cast<std::size_t>(threads));
  for (auto& s : scratch) s.require(plan);
  Buffer<T> spectrum(plan.spectrum_size());
  std::atomic<bool> good{true};
  Team::run(threads, [&](Team& team) {
    CpuEngine<T, L> engine(plan, team, scratch);
    const Otf<T, L> otf(engine, call.psf.values, call.psf.shape);
    fastdeblur::wiener(
        engine, spectrum.data(), Rows::all,
        [&](int64_t, const RowGroup& group, T* lanes, Scratch<T, L>& s) {
          reader.read(group, lanes, s.rows);
          if (has(look_at<T, L>(lanes, grid.full[2], limit), Bad::not_finite))
            good.store(false, std::memory_order_relaxed);
        },
        [&](int64_t block, Scratch<T, L>& s) { return otf(block, s, engine); },
        wiener_columns<T, L>(grid, reg, static_cast<T>(call.balance), scale, spans),
        [&](int64_t, const RowGroup& group, T* lanes, Scratch<T, L>&) {
          if (!finish_rows<T, L>(lanes, grid.full[2], call.clip))
            good.store(false, std::memory_order_relaxed);
          writer.write(group, lanes);
        });
  });
  Span<T> all;
  for (const Span<T>& span : spans) {
    all.least = std::min(all.least, span.least);
    all.most = std::max(all.most, span.most);
  }
  // Where no more is left than a few roundings of H, so would be the answer.
  return good && all.least > all.most * 256 * removed_power<T>;
}

// S <- S conj(H) exp(-2 pi i (k_c / n_c + k_m / n_m + k_x / n_x)), over the axes that are shifted.
template <class T, int L>
class ShiftedAdjoint {
 public:
  ShiftedAdjoint(const GridPlan<T, L>& plan, const std::array<bool, 3>& shifted) : nc_(plan.grid.full[0]) {
    const double pi = 3.14159265358979323846;
    for (std::size_t a = 0; a < 3; ++a) {
      const int64_t n = plan.grid.full[a], count = a == 2 ? plan.blocks * L : n;
      for (int64_t k = 0; k < count; ++k) {
        const double angle = shifted[a] ? -2 * pi * static_cast<double>(k) / static_cast<double>(n) : 0.0;
        re_[a].push_back(T(std::cos(angle)));
        im_[a].push_back(T(std::sin(angle)));
      }
    }
  }

  void operator()(const OtfSlab<T>& otf, int64_t m, T* column) const {
    const std::size_t km = static_cast<std::size_t>(m), kx = static_cast<std::size_t>(otf.block * L);
    alignas(64) T fr[L], fi[L];  // the factor of m and x
    for (int j = 0; j < L; ++j) {
      const std::size_t k = kx + static_cast<std::size_t>(j);
      fr[j] = re_[2][k] * re_[1][km] - im_[2][k] * im_[1][km];
      fi[j] = re_[2][k] * im_[1][km] + im_[2][k] * re_[1][km];
    }
    const T* __restrict h = otf.values + m * nc_ * 2 * L;
    T* __restrict s = column;
    for (int64_t c = 0; c < nc_; ++c, s += 2 * L, h += 2 * L) {
      const T cr = re_[0][static_cast<std::size_t>(c)], ci = im_[0][static_cast<std::size_t>(c)];
      FASTDEBLUR_SIMD
      for (int j = 0; j < L; ++j) {
        const T pr = fr[j] * cr - fi[j] * ci, pi = fr[j] * ci + fi[j] * cr;
        const T re = s[j] * h[j] + s[L + j] * h[L + j], im = s[L + j] * h[j] - s[j] * h[L + j];
        s[j] = re * pr - im * pi;
        s[L + j] = re * pi + im * pr;
      }
    }
  }

 private:
  int64_t nc_;
  std::array<std::vector<T>, 3> re_, im_;
};

template <class T, int L>
class PlainRichardsonLucy {
 public:
  PlainRichardsonLucy(const RichardsonLucyCall<T>& call, T* out, int n_threads)
      : call_(call),
        out_(out),
        grid_{call.shape, call.grid},
        plan_(grid_),
        threads_(threads_for(grid_, n_threads)),
        scale_(T(1.0 / grid_.pixels())),
        lit_(grid_.frame[2] * L),
        line_(grid_.full[2] * L) {
    // Read is the frame only; the rest of a row is 0.
    AxisMap& map = maps_[2];
    const std::size_t n = static_cast<std::size_t>(grid_.full[2] - grid_.frame[2]);
    map.first.assign(n, 0);
    map.second.assign(n, 0);
    map.w1.assign(n, 0);
    map.w2.assign(n, 0);
  }

  bool run() {
    std::vector<Scratch<T, L>> scratch(static_cast<std::size_t>(threads_));
    for (auto& s : scratch) s.require(plan_);
    Buffer<T> spectrum(plan_.spectrum_size());
    x_ = Buffer<T>(static_cast<int64_t>(plan_.frame.size()) * lit_);
    const RowReader<T, L> reader(plan_, contiguous(call_.image, call_.shape), maps_);
    const RowWriter<T, L> writer(plan_, contiguous_output(out_, call_.shape));
    const T limit = T(static_cast<double>(std::numeric_limits<T>::max()) / grid_.pixels());
    std::atomic<bool> good{true};
    bool first = true;

    auto start = [&](int64_t k, const RowGroup& group, T* lanes, Scratch<T, L>&) {
      T* x = at(k);
      for (int64_t i = 0; i < grid_.frame[2]; ++i)
        for (int j = 0; j < L; ++j) x[i * L + j] = j < group.count ? T(0.5) : T(0);
      std::copy_n(x, lit_, lanes);
      std::fill(lanes + lit_, lanes + line_, T(0));
    };
    const PlainRatio<T> f{scale_, T(1e-12), static_cast<T>(call_.filter_epsilon), call_.limited};
    auto ratio = [&](int64_t, const RowGroup& group, T* __restrict lanes, Scratch<T, L>& s) {
      s.extra.require(line_);
      T* __restrict y = s.extra.data();
      reader.read(group, y, s.rows);
      if (first && has(look_at<T, L>(y, grid_.frame[2], limit), Bad::not_finite))
        good.store(false, std::memory_order_relaxed);
      alignas(64) T low[L];  // of the blur where there are data
      std::fill_n(low, L, T(1));
      for (int64_t i = 0; i < lit_; i += L) {
        FASTDEBLUR_SIMD
        for (int j = 0; j < L; ++j) {
          const T data = y[i + j], blurred = f.blurred(lanes[i + j]);
          const T lit = data != T(0) ? blurred : T(1);
          low[j] = lit < low[j] ? lit : low[j];
          lanes[i + j] = f(blurred, data);
        }
      }
      if (!call_.limited && *std::min_element(low, low + L) <= T(0))
        good.store(false, std::memory_order_relaxed);
      dark(group, lanes);
    };
    auto update = [&](int64_t k, const RowGroup& group, T* __restrict lanes, Scratch<T, L>&) {
      T* __restrict x = at(k);
      FASTDEBLUR_SIMD
      for (int64_t i = 0; i < lit_; ++i) lanes[i] = x[i] = x[i] * (lanes[i] * scale_);
      dark(group, lanes);
    };

    bool done = false;
    Team::run(threads_, [&](Team& team) {
      CpuEngine<T, L> engine(plan_, team, scratch);
      Otf<T, L> otf(engine, call_.psf.values, call_.psf.shape);
      otf.store(engine);
      auto slab = [&](int64_t block, Scratch<T, L>& s) { return otf(block, s, engine); };
      const auto blur = filter_columns<T, L>(grid_, MulOtf<T>{});
      auto go_on = [&] {
        first = false;
        return good.load();
      };
      const auto& shifted = call_.shifted;
      auto iterate = [&](const auto& back) {
        done = richardson_lucy_plain(engine, spectrum.data(), call_.iterations, start, ratio, update, slab,
                                     blur, back, go_on);
      };
      if (shifted[0] || shifted[1] || shifted[2]) {
        iterate(ShiftedAdjoint<T, L>(plan_, shifted));
      } else {
        iterate(filter_columns<T, L>(grid_, MulConjOtf<T>{}));
      }
      if (!done) return;
      engine.scan(Rows::frame, [&](int64_t k, const RowGroup& group, T*, Scratch<T, L>&) {
        if (!finish_rows<T, L>(at(k), grid_.frame[2], call_.clip))
          good.store(false, std::memory_order_relaxed);
        writer.write(group, at(k));
      });
    });
    return done && good;
  }

 private:
  T* at(int64_t k) { return x_.data() + k * lit_; }

  // 0 beyond the frame's end, and in lanes without a row, whose sums would otherwise drift off into NaN.
  void dark(const RowGroup& group, T* lanes) const {
    std::fill(lanes + lit_, lanes + line_, T(0));
    if (group.count < L)
      for (int64_t i = 0; i < grid_.frame[2]; ++i)
        for (int j = group.count; j < L; ++j) lanes[i * L + j] = T(0);
  }

  const RichardsonLucyCall<T>& call_;
  T* out_;
  Grid grid_;
  GridPlan<T, L> plan_;
  int threads_;
  T scale_;
  int64_t lit_, line_;  // elements of a group's rows inside the frame, and of all the grid
  std::array<AxisMap, 3> maps_;
  Buffer<T> x_;
};

// A signal has no rows to fill lanes with.
inline bool is_signal(const Shape& shape) { return shape[0] == 1 && shape[1] == 1; }

template <class T>
bool wiener(const WienerCall<T>& call, T* out, int n_threads) {
  return is_signal(call.shape) ? wiener_lanes<T, 1>(call, out, n_threads)
                               : wiener_lanes<T, native_lanes<T>>(call, out, n_threads);
}

template <class T>
bool richardson_lucy(const RichardsonLucyCall<T>& call, T* out, int n_threads) {
  return is_signal(call.grid) ? PlainRichardsonLucy<T, 1>(call, out, n_threads).run()
                              : PlainRichardsonLucy<T, native_lanes<T>>(call, out, n_threads).run();
}

}  // namespace fastdeblur::restoration
