#include "blind/half_quadratic.h"

#include <algorithm>
#include <cmath>

#include "cpu/engine.h"
#include "cpu/filters.h"

namespace fastdeblur::blind {
namespace {

using std::int64_t;
constexpr int L = native_lanes<float>;

// Grids below this many pixels are not worth sharing.
constexpr double kAlone = 1 << 15;

struct Hard {
  float threshold;
  void operator()(float* __restrict h, float* __restrict v, int64_t n) const {
    const float t = threshold;
    FASTDEBLUR_SIMD
    for (int64_t i = 0; i < n; ++i) {
      const bool keep = h[i] * h[i] + v[i] * v[i] >= t;
      h[i] = keep ? h[i] : 0.0f;
      v[i] = keep ? v[i] : 0.0f;
    }
  }
};

struct Lookup {
  const ShrinkTable* table;
  float scale;
  void operator()(float* h, float* v, int64_t n) const {
    row(h, n);
    row(v, n);
  }

 private:
  void row(float* __restrict g, int64_t n) const {
    const float* __restrict values = table->values.data();
    const float to_index = table->density / scale, last = static_cast<float>(table->values.size() - 2);
    bool beyond = false;
    FASTDEBLUR_SIMD
    for (int64_t i = 0; i < n; ++i) {
      const float a = std::fabs(g[i]) * to_index;
      beyond |= a > last;
      const float at = a <= last ? a : last;  // std::min would hand a NaN on, as an index
      const int k = static_cast<int>(at);
      const float part = at - static_cast<float>(k);
      const float shrunk = (values[k] + part * (values[k + 1] - values[k])) * scale;
      // Beyond the table the gradient is kept for the rare second look.
      g[i] = a > last ? g[i] : std::copysign(shrunk, g[i]);
    }
    if (!beyond) return;
    for (int64_t i = 0; i < n; ++i) {
      const float a = std::fabs(g[i]);
      if (a * to_index <= last) continue;
      g[i] = std::copysign(a - scale * table->slope * std::pow(a / scale, table->power), g[i]);
    }
  }
};

class Solver {
 public:
  Solver(const HalfQuadratic& problem, Team& team)
      : p_(problem),
        plan_(grid_of(problem)),
        scratch_(static_cast<std::size_t>(team.size())),
        engine_(plan_, team, scratch_) {
    for (auto& s : scratch_) s.require(plan_);
    const double pi = 3.14159265358979323846;
    const auto power = [&](int64_t k, int64_t n) {
      return static_cast<float>(2 - 2 * std::cos(2 * pi * static_cast<double>(k) / static_cast<double>(n)));
    };
    for (int64_t k = 0; k < p_.height; ++k) column_power_.push_back(power(k, p_.height));
    for (int64_t k = 0; k < plan_.blocks * L; ++k) row_power_.push_back(power(k, p_.width));
    spectrum_.require(plan_.spectrum_size());
    correlated_.require(plan_.spectrum_size());
    otf_power_.require(plan_.blocks * p_.height * L);
    transform_data();
  }

  void run(float* x) {
    for (const Step& step : p_.steps) {
      if (p_.table) {
        take(x, step.gamma, Lookup{p_.table, step.scale});
      } else {
        take(x, step.gamma, Hard{step.scale});
      }
    }
  }

 private:
  static Grid grid_of(const HalfQuadratic& p) {
    Grid g;
    g.full = g.frame = {p.height, 1, p.width};
    return g;
  }

  // conj(K) Y and |K|^2.
  void transform_data() {
    engine_.rows_forward(correlated_.data(), Rows::all,
                         [&](int64_t, const RowGroup& group, float* lanes, Scratch<float, L>&) {
                           gather(group, p_.data + group.first * p_.width, lanes);
                         });
    const Otf<float, L> otf(engine_, p_.kernel, {p_.kernel_height, 1, p_.kernel_width});
    engine_.each_block([&](int64_t block, int worker) {
      Scratch<float, L>& s = engine_.scratch(worker);
      const float* __restrict k = otf(block, s, engine_).values;
      float* slab = correlated_.data() + block * plan_.slab;
      float* done = plan_.columns.exec(slab, s.b.data(), s.fft.data(), true);
      float* __restrict y = slab;
      if (done != slab) std::memcpy(slab, done, static_cast<std::size_t>(p_.height) * 2 * L * sizeof(float));
      float* __restrict power = otf_power_.data() + block * p_.height * L;
      for (int64_t c = 0; c < p_.height; ++c, y += 2 * L, k += 2 * L, power += L) {
        FASTDEBLUR_SIMD
        for (int j = 0; j < L; ++j) {
          MulConjOtf<float>{}(y[j], y[L + j], k[j], k[L + j]);
          power[j] = k[j] * k[j] + k[L + j] * k[L + j];
        }
      }
    });
  }

  template <class Shrink>
  void take(float* x, float gamma, const Shrink& shrink) {
    engine_.rows_forward(spectrum_.data(), Rows::all,
                         [&](int64_t, const RowGroup& group, float* lanes, Scratch<float, L>& s) {
                           s.rows.require((L + 4) * p_.width);
                           divergence(x, group, shrink, s.rows.data(), s.rows.data() + L * p_.width);
                           gather(group, s.rows.data(), lanes);
                         });
    const float scale = static_cast<float>(1 / plan_.grid.pixels());
    engine_.columns(
        spectrum_.data(), Rows::all, Rows::all, [](int64_t block, Scratch<float, L>&) { return block; },
        [&](int64_t block, int64_t, float* column) {
          const float* __restrict y = correlated_.data() + block * plan_.slab;
          const float* __restrict power = otf_power_.data() + block * p_.height * L;
          const float* __restrict across = row_power_.data() + block * L;
          float* __restrict s = column;
          for (int64_t c = 0; c < p_.height; ++c, s += 2 * L, y += 2 * L, power += L) {
            const float down = column_power_[static_cast<std::size_t>(c)];
            FASTDEBLUR_SIMD
            for (int j = 0; j < L; ++j) {
              const float denominator = power[j] + gamma * (down + across[j]);
              const float gain = denominator > 0 ? scale / denominator : 0.0f;
              s[j] = (y[j] + gamma * s[j]) * gain;
              s[L + j] = (y[L + j] + gamma * s[L + j]) * gain;
            }
          }
        });
    engine_.rows_inverse(spectrum_.data(), Rows::all,
                         [&](int64_t, const RowGroup& group, const float* lanes, Scratch<float, L>&) {
                           RowWriter<float, L>(plan_, {x,
                                                       {static_cast<std::ptrdiff_t>(sizeof(float)) * p_.width,
                                                        0, static_cast<std::ptrdiff_t>(sizeof(float))}})
                               .write(group, lanes);
                         });
  }

  // The adjoint of the forward differences, of x's shrunk gradient, for a group's rows. The gradients' rows
  // are used up as they are made: room for four.
  template <class Shrink>
  void divergence(const float* x, const RowGroup& group, const Shrink& shrink, float* out,
                  float* room) const {
    const int64_t n = p_.width, rows = p_.height;
    float *h = room, *v = room + n, *h_before = room + 2 * n, *v_before = room + 3 * n;
    const auto gradient = [&](int64_t r, float* __restrict across, float* __restrict down) {
      const float* __restrict row = x + r * n;
      const float* __restrict next = x + (r + 1 == rows ? 0 : r + 1) * n;
      FASTDEBLUR_SIMD
      for (int64_t i = 0; i < n - 1; ++i) across[i] = row[i + 1] - row[i];
      across[n - 1] = row[0] - row[n - 1];
      FASTDEBLUR_SIMD
      for (int64_t i = 0; i < n; ++i) down[i] = next[i] - row[i];
      shrink(across, down, n);
    };
    gradient(group.first == 0 ? rows - 1 : group.first - 1, h_before, v_before);
    for (int j = 0; j < group.count; ++j) {
      gradient(group.first + j, h, v);
      float* __restrict to = out + j * n;
      to[0] = (h[n - 1] - h[0]) + (v_before[0] - v[0]);
      FASTDEBLUR_SIMD
      for (int64_t i = 1; i < n; ++i) to[i] = (h[i - 1] - h[i]) + (v_before[i] - v[i]);
      std::swap(v, v_before);
    }
  }

  // The group's rows, one after another in memory, into lanes; a lane without a row is 0.
  void gather(const RowGroup& group, const float* rows, float* lanes) const {
    const int64_t n = p_.width;
    if (group.count < L) {
      std::fill_n(lanes, n * L, 0.0f);
      for (int j = 0; j < group.count; ++j)
        for (int64_t i = 0; i < n; ++i) lanes[i * L + j] = rows[j * n + i];
      return;
    }
    int64_t i = 0;
    for (; i + L <= n; i += L)
      transpose_block<float, L>([&](int j) { return rows + j * n + i; }, lanes + i * L, L);
    for (; i < n; ++i)
      for (int j = 0; j < L; ++j) lanes[i * L + j] = rows[j * n + i];
  }

  const HalfQuadratic& p_;
  const GridPlan<float, L> plan_;
  std::vector<Scratch<float, L>> scratch_;
  CpuEngine<float, L> engine_;
  std::vector<float> column_power_, row_power_;
  Buffer<float> spectrum_, correlated_, otf_power_;
};

}  // namespace

void solve(const HalfQuadratic& problem, float* x, int n_threads) {
  const double pixels = static_cast<double>(problem.height) * static_cast<double>(problem.width);
  Team::run(pixels < kAlone ? 1 : n_threads, [&](Team& team) { Solver(problem, team).run(x); });
}

}  // namespace fastdeblur::blind
