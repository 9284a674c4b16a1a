// The deconvolver over the engine, for L lanes.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "cpu/deconvolver.h"
#include "cpu/engine.h"
#include "cpu/filters.h"
#include "cpu/richardson_lucy_state.h"
#include "methods/richardson_lucy.h"
#include "methods/wiener.h"

namespace fastdeblur {

template <class T, int L>
class CpuDeconvolver final : public Deconvolver<T> {
 public:
  explicit CpuDeconvolver(Problem<T> problem)
      : problem_(std::move(problem)), plan_(problem_.grid), threads_(team_size(problem_.threads)) {
    limit_ = T(static_cast<double>(std::numeric_limits<T>::max()) / problem_.grid.pixels());
    otfs_.resize(static_cast<std::size_t>(problem_.psf_count));
  }

  void wiener(const std::vector<PlaneView<T>>& planes, const WienerOptions<T>& options,
              const std::function<void()>& poll) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool store = problem_.keep || static_cast<int64_t>(planes.size()) > problem_.psf_count;
    if (options.reg == WienerOptions<T>::laplacian && laplacian_.axis[2].empty())
      laplacian_ = laplacian(plan_);
    if (planes.size() > 1) look_at_all(planes, false);
    over_planes(
        planes, store, false, poll,
        [&](Work& work, CpuEngine<T, L>& engine, int64_t index, const PlaneView<T>& plane) {
          const Rows occupied = problem_.dark_outside ? Rows::frame : Rows::all;
          const RowReader<T, L> reader(plan_, plane.image, problem_.data_maps);
          const RowWriter<T, L> writer(plan_, plane.out);
          const Otf<T, L>& otf = *otfs_[static_cast<std::size_t>(plane.psf)];
          std::atomic<bool> finite{true};
          auto source = [&](int64_t, const RowGroup& group, T* lanes, Scratch<T, L>& s) {
            reader.read(group, lanes, s.rows);
            if (has(look_at<T, L>(lanes, plan_.grid.frame[2], limit_), Bad::not_finite))
              finite.store(false, std::memory_order_relaxed);
          };
          // Checked before the first write to the result: NaN comes out of the forward transforms'
          // pass, then nothing more happens.
          auto sink = [&](int64_t, const RowGroup& group, const T* lanes, Scratch<T, L>&) {
            if (finite.load(std::memory_order_relaxed)) writer.write(group, lanes);
          };
          auto slab = [&](int64_t block, Scratch<T, L>& s) { return otf(block, s, engine); };
          const WienerFilter<T> filter{options.balance, removed_power<T>, T(1.0 / plan_.grid.pixels())};
          Regularizer<T> other;
          const Regularizer<T>* reg = &laplacian_;
          if (options.reg != WienerOptions<T>::laplacian) {
            other.kind =
                options.reg == WienerOptions<T>::identity ? Regularizer<T>::identity : Regularizer<T>::power;
            other.values = options.power_values;
            reg = &other;
          }
          fastdeblur::wiener(engine, work.spectrum.data(), occupied, source, slab,
                             filter_columns_regularized<T, L>(plan_.grid, *reg, filter), sink);
          if (!finite) throw BadImage{index, Bad::not_finite};
        });
  }

  void richardson_lucy(const std::vector<PlaneView<T>>& planes, const RichardsonLucyOptions& options,
                       bool measured, const Progress<T>& progress,
                       const std::function<void()>& poll) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    const bool in_turn = static_cast<bool>(progress);
    if (planes.size() > 1) look_at_all(planes, true);
    over_planes(
        planes, true, in_turn, poll,
        [&](Work& work, CpuEngine<T, L>& engine, int64_t index, const PlaneView<T>& plane) {
          const Rows domain = problem_.dark_outside ? Rows::frame : Rows::all;
          const Rows observed = problem_.extended ? Rows::all : Rows::frame;
          const RowReader<T, L> image(plan_, plane.image, problem_.data_maps, plane.weights);
          const RowReader<T, L> weights(plan_, plane.weights, problem_.data_maps);
          const RowReader<T, L> init(plan_, plane.init, problem_.init_maps);
          RichardsonLucyState<T, L> state(plan_, work.images, domain, observed, image,
                                          plane.weights ? &weights : nullptr, options.acceleration, measured);
          const Bad bad = state.look(engine, options.background, limit_);
          if (bad != Bad::none) throw BadImage{index, bad};
          const Otf<T, L>& otf = *otfs_[static_cast<std::size_t>(plane.psf)];
          auto slab = [&](int64_t block, Scratch<T, L>& s) { return otf(block, s, engine); };
          const auto blur = filter_columns<T, L>(plan_.grid, MulOtf<T>{});
          const auto adjoint = filter_columns<T, L>(plan_.grid, MulConjOtf<T>{});
          state.normalize(engine, work.spectrum.data(), problem_.psf_shape, slab, adjoint, options.sigma);
          state.start(engine, plane.init ? &init : nullptr);
          RichardsonLucyOptions mine = options;
          if (progress)
            mine.goes_on = [&](int64_t done, double change) {
              return progress(index, done, change,
                              [&](MutableImageView<T> view) { state.write(engine, view); });
            };
          const bool uniform = !plane.init && domain == Rows::all;
          fastdeblur::richardson_lucy(engine, work.spectrum.data(), state, domain, observed, slab, blur,
                                      adjoint, uniform, mine);
          state.write(engine, plane.out);
        });
  }

  static double bytes(const Problem<T>& problem, bool richardson_lucy, Acceleration acceleration,
                      bool weights, bool many_planes) {
    const GridPlan<T, L> plan(problem.grid);
    const double spectrum = static_cast<double>(plan.spectrum_size());
    const int threads = problem.grid.rows() == 1 ? 1 : team_size(problem.threads);
    const double line = static_cast<double>(problem.grid.full[2]) * L;
    const auto& shape = problem.psf_shape;
    const int64_t kernel_rows =
        std::min(shape[0], problem.grid.full[0]) * std::min(shape[1], problem.grid.full[1]);
    const bool store = richardson_lucy || problem.keep || many_planes;
    double elements = spectrum;
    const double psfs = static_cast<double>(problem.psf_count);
    const double kernel = static_cast<double>(plan.blocks * kernel_rows * 2 * L);
    if (store) {
      elements += psfs * spectrum;
    } else {
      elements += psfs * kernel + threads * static_cast<double>(plan.slab);
    }
    if (!richardson_lucy) elements += static_cast<double>(plan.blocks * L);  // the Laplacian's longest table
    const double before = elements;
    if (richardson_lucy) {
      const Rows domain = problem.dark_outside ? Rows::frame : Rows::all;
      const double image = static_cast<double>(plan.groups(domain).size()) * line;
      elements += image * (acceleration == Acceleration::none  ? 1
                           : acceleration == Acceleration::ogm ? 2
                                                               : 3);
      if (weights) {
        elements += image;
      } else if (!problem.extended) {
        // Groups that the frame's border reaches, each with a row of its own, and one more for all the
        // others.
        double outer = 1, inner = 1;
        for (std::size_t a = 0; a < 2; ++a) {
          const double rows =
              static_cast<double>(domain == Rows::all ? problem.grid.full[a] : problem.grid.frame[a]);
          outer *= rows;
          inner *= std::max(0.0, static_cast<double>(problem.grid.frame[a] - shape[a] + 1));
        }
        elements += std::min(image, ((outer - inner) / L + 4) * line);
      }
    }
    if (store) elements = std::max(elements, before + kernel);  // the kernel's rows are gone when images come
    return elements * sizeof(T) +
           threads * static_cast<double>(Scratch<T, L>::bytes(plan, richardson_lucy, weights));
  }

 private:
  // What a plane is worked on in; several where small planes are worked on side by side.
  struct Work {
    Buffer<T> spectrum;
    RichardsonLucyBuffers<T> images;
    std::vector<Scratch<T, L>> scratch;

    void require(const GridPlan<T, L>& plan, int threads) {
      spectrum.require(plan.spectrum_size());
      if (scratch.size() < static_cast<std::size_t>(threads))
        scratch.resize(static_cast<std::size_t>(threads));
      for (auto& s : scratch) s.require(plan);
    }
  };

  // A call that restores several images writes none of them if one is bad. (A single one is looked at while
  // it is first used, before anything is written.)
  void look_at_all(const std::vector<PlaneView<T>>& planes, bool positive) {
    const auto& groups = plan_.frame;
    const int64_t n = static_cast<int64_t>(groups.size()), count = static_cast<int64_t>(planes.size());
    if (works_.empty()) works_.resize(1);
    auto& scratch = works_[0].scratch;
    if (scratch.size() < static_cast<std::size_t>(threads_))
      scratch.resize(static_cast<std::size_t>(threads_));
    std::vector<std::atomic<int>> bad(planes.size());
    Team::run(threads_, [&](Team& team) {
      team.parallel_for(n * count, [&](int64_t i, int worker) {
        Scratch<T, L>& s = scratch[static_cast<std::size_t>(worker)];
        s.require(plan_);
        const PlaneView<T>& plane = planes[static_cast<std::size_t>(i / n)];
        const RowReader<T, L> reader(plan_, plane.image, problem_.data_maps, plane.weights);
        reader.read(groups[static_cast<std::size_t>(i % n)], s.a.data(), s.rows);
        bad[static_cast<std::size_t>(i / n)] |=
            static_cast<int>(look_at<T, L>(s.a.data(), plan_.grid.frame[2], limit_));
      });
    });
    const int relevant = static_cast<int>(Bad::not_finite) | (positive ? static_cast<int>(Bad::negative) : 0);
    for (std::size_t i = 0; i < planes.size(); ++i)
      if (bad[i] & relevant) throw BadImage{static_cast<int64_t>(i), static_cast<Bad>(bad[i] & relevant)};
  }

  // Below this many grid pixels a plane's passes are too short to share among threads: planes are shared out
  // instead.
  static constexpr double kSmall = 1 << 15;

  template <class F>
  void over_planes(const std::vector<PlaneView<T>>& planes, bool store, bool in_turn,
                   const std::function<void()>& poll, F f) {
    const bool small = problem_.grid.pixels() < kSmall;
    const bool side_by_side = small && planes.size() > 1 && threads_ > 1 && !in_turn;
    // A lone row has one chunk a pass.
    const int threads = (small || problem_.grid.rows() == 1) && !side_by_side ? 1 : threads_;
    const std::size_t works = side_by_side ? static_cast<std::size_t>(threads) : 1;
    if (works_.size() < works) works_.resize(works);
    Team::run(threads, [&](Team& team) {
      for (std::size_t w = 0; w < works; ++w) works_[w].require(plan_, side_by_side ? 1 : threads);
      if (works_[0].scratch.size() < static_cast<std::size_t>(threads)) works_[0].require(plan_, threads);
      CpuEngine<T, L> engine(plan_, team, works_[0].scratch);
      prepare_otfs(engine, planes, store);
      const int64_t count = static_cast<int64_t>(planes.size());
      if (!side_by_side) {
        for (int64_t i = 0; i < count; ++i) {
          f(works_[0], engine, i, planes[static_cast<std::size_t>(i)]);
          poll();
        }
        return;
      }
      team.parallel_for(count, [&](int64_t i, int worker) {
        poll();
        Team::run(1, [&](Team& alone) {
          Work& work = works_[static_cast<std::size_t>(worker)];
          CpuEngine<T, L> own(plan_, alone, work.scratch);
          f(work, own, i, planes[static_cast<std::size_t>(i)]);
        });
      });
    });
  }

  void prepare_otfs(CpuEngine<T, L>& engine, const std::vector<PlaneView<T>>& planes, bool store) {
    const auto& shape = problem_.psf_shape;
    const int64_t size = shape[0] * shape[1] * shape[2];
    for (const PlaneView<T>& plane : planes) {
      auto& otf = otfs_[static_cast<std::size_t>(plane.psf)];
      if (!otf) otf = std::make_unique<Otf<T, L>>(engine, problem_.psfs.data() + plane.psf * size, shape);
      if (store) otf->store(engine);
    }
  }

  Problem<T> problem_;
  GridPlan<T, L> plan_;
  int threads_;
  T limit_ = 0;  // larger values could overflow in a transform's sums
  Regularizer<T> laplacian_;
  std::vector<std::unique_ptr<Otf<T, L>>> otfs_;
  std::vector<Work> works_;
  std::mutex mutex_;
};

template <class T>
std::unique_ptr<Deconvolver<T>> make_deconvolver(Problem<T> problem, bool one_axis) {
  if (one_axis) return std::make_unique<CpuDeconvolver<T, 1>>(std::move(problem));
  return std::make_unique<CpuDeconvolver<T, native_lanes<T>>>(std::move(problem));
}

template <class T>
double deconvolver_bytes(const Problem<T>& problem, bool one_axis, bool richardson_lucy,
                         Acceleration acceleration, bool weights, bool many_planes) {
  const auto bytes = one_axis ? CpuDeconvolver<T, 1>::bytes : CpuDeconvolver<T, native_lanes<T>>::bytes;
  return bytes(problem, richardson_lucy, acceleration, weights, many_planes);
}

}  // namespace fastdeblur
