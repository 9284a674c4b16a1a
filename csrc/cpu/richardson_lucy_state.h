// The images of a Richardson-Lucy run in lane layout ([group][x][L], as rows passes hand them out), and its
// row programs.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpu/engine.h"
#include "cpu/filters.h"
#include "methods/richardson_lucy.h"

namespace fastdeblur {

// Memory that a run keeps in the plan, for the next frame. x: the estimate; z: what the next iteration starts
// from, if not x; g: the last iteration's x - z.
template <class T>
struct RichardsonLucyBuffers {
  Buffer<T> x, z, g, inv_norm;
};

template <class T, int L>
class RichardsonLucyState {
 public:
  // image: weighted, if there are weights; weights may be null. measured: take the sums of the relative
  // change.
  RichardsonLucyState(const GridPlan<T, L>& plan, RichardsonLucyBuffers<T>& buffers, Rows domain,
                      Rows observed, const RowReader<T, L>& image, const RowReader<T, L>* weights,
                      Acceleration acceleration, bool measured)
      : plan_(plan),
        buffers_(buffers),
        domain_(domain),
        observed_(observed),
        image_(image),
        weights_(weights),
        acceleration_(acceleration),
        measured_(measured),
        n_(plan.grid.full[2] * L),
        sums_(plan.groups(domain).size()) {
    const int64_t size = static_cast<int64_t>(plan.groups(domain).size()) * n_;
    buffers.x.require(size);
    if (acceleration != Acceleration::none) buffers.z.require(size);
    if (acceleration == Acceleration::biggs_andrews) buffers.g.require(size);
    scale_ = T(1.0 / plan.grid.pixels());
  }

  // Looks at the data once: returns what is wrong with them, and sets mean, floor and the level to start
  // from.
  Bad look(CpuEngine<T, L>& engine, double background, T limit) {
    struct Sums {
      double data = 0, weight = 0;
    };
    std::vector<Sums> sums(plan_.frame.size());
    std::atomic<int> bad{0};
    engine.scan(Rows::frame, [&](int64_t k, const RowGroup& group, T* lanes, Scratch<T, L>& s) {
      image_.read(group, lanes, s.rows);
      if (weights_) s.extra.require(n_);
      T* w = weights_ ? s.extra.data() : nullptr;
      if (w) weights_->read(group, w, s.rows);
      const int64_t n = plan_.grid.frame[2];
      double data = 0, weight = 0;
      for (int64_t x = 0; x < n; ++x) {
        T row = 0, row_weight = 0;
        for (int j = 0; j < L; ++j) {
          row += lanes[x * L + j];
          row_weight += w ? w[x * L + j] : T(0);
        }
        data += static_cast<double>(row);
        weight += static_cast<double>(row_weight);
      }
      sums[static_cast<std::size_t>(k)] = {
          data, w ? weight : static_cast<double>(group.count) * static_cast<double>(n)};
      bad.fetch_or(static_cast<int>(look_at<T, L>(lanes, n, limit)));
    });
    if (bad.load()) return static_cast<Bad>(bad.load());
    Sums total;
    for (const Sums& part : sums) {  // in order: the same sum for any number of threads
      total.data += part.data;
      total.weight += part.weight;
    }
    const double mean = total.data / total.weight;
    background_ = T(background);
    floor_ = T(std::max(mean * std::numeric_limits<T>::epsilon(),
                        static_cast<double>(std::numeric_limits<T>::min())));
    level_ = T(std::max(mean - background, 1e-3 * mean));
    return Bad::none;
  }

  // 1 / (H^T W). Without weights the rows whose every source lies inside the frame are alike, and share one.
  template <class Spectrum, class Adjoint, class OtfSource>
  void normalize(CpuEngine<T, L>& engine, Spectrum spectrum, const std::array<int64_t, 3>& psf, OtfSource otf,
                 Adjoint adjoint, double sigma) {
    const auto& groups = plan_.groups(domain_);
    norm_at_.assign(groups.size(), 0);
    const bool everywhere = observed_ == Rows::all;
    if (everywhere && !weights_) {
      buffers_.inv_norm.require(n_);
      std::fill_n(buffers_.inv_norm.data(), n_, scale_);
      return;
    }
    std::vector<char> first(groups.size(), 0);
    int64_t slots = 0, inner_slot = -1;
    for (std::size_t k = 0; k < groups.size(); ++k) {
      const bool inner = !weights_ && is_inner(groups[k], psf);
      if (inner && inner_slot >= 0) {
        norm_at_[k] = inner_slot;
        continue;
      }
      first[k] = 1;
      norm_at_[k] = slots;
      if (inner) inner_slot = slots;
      ++slots;
    }
    buffers_.inv_norm.require(slots * n_);
    const Grid& g = plan_.grid;
    engine.rows_forward(spectrum, observed_, [&](int64_t, const RowGroup& group, T* lanes, Scratch<T, L>& s) {
      if (weights_) return weights_->read(group, lanes, s.rows);
      std::fill_n(lanes, n_, T(0));
      for (int j = 0; j < group.count; ++j)
        if (g.in_frame(group.first + j))
          for (int64_t x = 0; x < g.frame[2]; ++x) lanes[x * L + j] = T(1);
    });
    engine.columns(spectrum, observed_, domain_, otf, adjoint);
    engine.rows_inverse(spectrum, domain_, [&](int64_t k, const RowGroup&, const T* lanes, Scratch<T, L>&) {
      if (!first[static_cast<std::size_t>(k)]) return;
      T* out = buffers_.inv_norm.data() + norm_at_[static_cast<std::size_t>(k)] * n_;
      for (int64_t i = 0; i < n_; ++i) {
        const T norm = lanes[i] * scale_;
        out[i] = norm > T(sigma) ? scale_ / norm : T(-1);
      }
    });
  }

  // The first estimate: rows of an image, or one level (on the frame only where the scene is dark outside).
  void start(CpuEngine<T, L>& engine, const RowReader<T, L>* init) {
    const Grid& g = plan_.grid;
    engine.scan(domain_, [&](int64_t k, const RowGroup& group, T*, Scratch<T, L>& s) {
      T* x = at(buffers_.x, k);
      if (init) {
        init->read(group, x, s.rows);
      } else {
        // Lanes without a row stay 0, or they would count in the sums.
        const int64_t lit = domain_ == Rows::all ? g.full[2] : g.frame[2];
        std::fill_n(x, n_, T(0));
        for (int64_t i = 0; i < lit; ++i) std::fill_n(x + i * L, group.count, level_);
      }
      if (acceleration_ != Acceleration::none) std::copy_n(x, n_, at(buffers_.z, k));
      if (acceleration_ == Acceleration::biggs_andrews) std::fill_n(at(buffers_.g, k), n_, T(0));
    });
  }

  // --- row programs: (k, group, lanes, scratch) ---

  // What an iteration starts from: x, or z = max(x + step (x - x_before), 0), where z held x_before.
  auto extrapolated() {
    return [this, f = Extrapolate<T>{T(step_.step)}](int64_t k, const RowGroup&, T* __restrict lanes,
                                                     Scratch<T, L>&) {
      const T* __restrict x = at(buffers_.x, k);
      if (acceleration_ == Acceleration::none) {
        std::copy_n(x, n_, lanes);
        return;
      }
      T* __restrict z = at(buffers_.z, k);
      for (int64_t i = 0; i < n_; ++i) z[i] = lanes[i] = f(x[i], z[i]);
    };
  }

  auto ratio() { return ratio_program(RlRatio<T>{scale_, background_, floor_}, false); }

  // The ratio where H x is x is one level.
  auto ratio_of_uniform() { return ratio_program(RlRatio<T>{T(1), background_, floor_}, true); }

  // The new estimate, and in lanes what the next iteration starts from; a, b: momentum's weights.
  auto update(double a, double b) {
    return [this, momentum = Momentum<T>{T(a), T(b), T(kMomentumFloor)}](int64_t k, const RowGroup&, T* lanes,
                                                                         Scratch<T, L>&) {
      UpdateSums& sums = sums_[static_cast<std::size_t>(k)];
      switch (acceleration_) {
        case Acceleration::none:
          if (measured_)
            sums = update_rows<Acceleration::none, true>(k, lanes, momentum);
          else
            update_rows<Acceleration::none, false>(k, lanes, momentum);
          break;
        case Acceleration::ogm:
          if (measured_)
            sums = update_rows<Acceleration::ogm, true>(k, lanes, momentum);
          else
            update_rows<Acceleration::ogm, false>(k, lanes, momentum);
          break;
        case Acceleration::biggs_andrews:
          sums = update_rows<Acceleration::biggs_andrews, true>(k, lanes, momentum);
          break;
      }
    };
  }

  // After the update pass: what the next iteration needs of its sums.
  void advance() {
    total_ = UpdateSums{};
    if (measured_ || acceleration_ == Acceleration::biggs_andrews)
      for (const UpdateSums& s : sums_) total_.add(s);  // in order: the same sum for any number of threads
    step_.next(total_);
  }

  // |x_k - x_{k-1}| / |x_k| of the last iteration.
  double change() const { return total_.relative_change(); }

  void write(CpuEngine<T, L>& engine, MutableImageView<T> out) {
    const RowWriter<T, L> writer(plan_, out);
    engine.scan(domain_, [&](int64_t k, const RowGroup& group, T*, Scratch<T, L>&) {
      writer.write(group, at(buffers_.x, k));
    });
  }

 private:
  T* at(Buffer<T>& buffer, int64_t k) const { return buffer.data() + k * n_; }

  auto ratio_program(RlRatio<T> f, bool uniform) {
    return [this, f, uniform](int64_t, const RowGroup& group, T* __restrict lanes, Scratch<T, L>& s) {
      s.extra.require(n_);
      T* __restrict y = s.extra.data();
      image_.read(group, y, s.rows);
      if (uniform) std::fill_n(lanes, n_, level_);
      for (int64_t i = 0; i < n_; ++i) lanes[i] = f(lanes[i], y[i]);
    };
  }

  template <Acceleration A, bool Measured>
  UpdateSums update_rows(int64_t k, T* __restrict lanes, const Momentum<T>& momentum) {
    const RlUpdate<T> f;
    const T* __restrict inv_norm = buffers_.inv_norm.data() + norm_at_[static_cast<std::size_t>(k)] * n_;
    T* __restrict x = at(buffers_.x, k);
    T* __restrict z = A == Acceleration::none ? nullptr : at(buffers_.z, k);
    T* __restrict g = A == Acceleration::biggs_andrews ? at(buffers_.g, k) : nullptr;
    // Only ratios of the sums are used: in units of the first level they neither overflow nor vanish.
    const T unit = level_ > T(0) ? T(1) / level_ : T(1);
    UpdateSums sums;
    for (int64_t run = 0; run < n_; run += kRun) {
      T change[L] = {}, size[L] = {}, step[L] = {}, dot[L] = {};
      const int64_t end = std::min(run + kRun, n_);
      for (int64_t i = run; i < end; i += L) {
        FASTDEBLUR_SIMD
        for (int j = 0; j < L; ++j) {
          const int64_t at = i + j;
          const T old = x[at], start = A == Acceleration::none ? old : z[at];
          const T now = f(start, lanes[at], inv_norm[at]);
          x[at] = now;
          if constexpr (A == Acceleration::none) lanes[at] = now;
          if constexpr (A == Acceleration::ogm) lanes[at] = z[at] = momentum(now, old, start);
          if constexpr (A == Acceleration::biggs_andrews) {
            const T moved = (now - start) * unit;
            step[j] += moved * moved;
            dot[j] += moved * g[at];
            g[at] = moved;
            z[at] = old;
          }
          if constexpr (Measured) {
            const T changed = (now - old) * unit, sized = now * unit;
            change[j] += changed * changed;
            size[j] += sized * sized;
          }
        }
      }
      if constexpr (Measured) {
        for (int j = 0; j < L; ++j) {
          sums.change += static_cast<double>(change[j]);
          sums.size += static_cast<double>(size[j]);
          sums.step += static_cast<double>(step[j]);
          sums.step_dot += static_cast<double>(dot[j]);
        }
      }
    }
    return sums;
  }

  // Whether every pixel that H^T gathers for these rows lies inside the frame.
  bool is_inner(const RowGroup& group, const std::array<int64_t, 3>& psf) const {
    const Grid& g = plan_.grid;
    if (group.count < L) return false;
    for (int j = 0; j < group.count; ++j) {
      const int64_t r = group.first + j, index[2] = {r / g.full[1], r % g.full[1]};
      for (std::size_t a = 0; a < 2; ++a) {
        const int64_t low = index[a] - psf[a] / 2, high = low + psf[a] - 1;
        if (low < 0 || high >= g.frame[a]) return false;
      }
    }
    return true;
  }

  static constexpr int64_t kRun = 64 * L;  // elements summed in T before they join a double

  const GridPlan<T, L>& plan_;
  RichardsonLucyBuffers<T>& buffers_;
  Rows domain_, observed_;
  const RowReader<T, L>& image_;
  const RowReader<T, L>* weights_;
  Acceleration acceleration_;
  bool measured_;
  int64_t n_;
  std::vector<UpdateSums> sums_;
  UpdateSums total_;
  StepLength step_;
  std::vector<int64_t> norm_at_;
  T background_ = 0, floor_ = 0, level_ = 0, scale_ = 0;
};

}  // namespace fastdeblur
