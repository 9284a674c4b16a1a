// A plan's passes and the device memory that they work in.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include "cuda/choice.h"
#include "cuda/engine.h"
#include "cuda/fft/passes.h"

namespace fastdeblur::cuda {

// Room for the largest accumulator of a block.
template <class T>
constexpr std::int64_t kPartBytes = 4 * sizeof(double);

template <class T, class Launcher>
class PassPlan {
 public:
  PassPlan(const Grid& grid, Arena& arena, Launcher& launcher, PassKind wanted)
      : grid_(grid), launcher_(launcher), roots_(arena), orders_(arena), parts_(arena), workspace_(arena) {
    const Limits limits = arena.runtime().limits();
    if (is_fused(grid, limits, wanted)) {
      fused_.emplace(grid, limits);
    } else {
      if (!PlainPlan<T>::can(grid)) throw std::invalid_argument("the grid is too large for a device");
      plain_.emplace(grid, arena.runtime());
    }
  }

  PassKind kind() const { return fused_ ? PassKind::fused : PassKind::plain; }
  std::int64_t spectrum_size() const { return fused_ ? fused_->spectrum_size() : plain_->spectrum_size(); }

  // Asks for the memory of tables, partial sums and transforms; what it has stays where it is.
  void prepare() {
    parts_.require(part_count(grid_, fused_ ? &*fused_ : nullptr) * kPartBytes<T>);
    if (plain_) {
      workspace_.require(static_cast<std::int64_t>(plain_->workspace()));
    } else if (!placed_) {
      const Tables<T>& tables = fused_->tables();
      const auto* roots = roots_.upload(tables.roots.data(), static_cast<std::int64_t>(tables.roots.size()));
      const auto* orders =
          orders_.upload(tables.orders.data(), static_cast<std::int64_t>(tables.orders.size()));
      fused_->place(roots, orders);
      placed_ = true;
    }
  }

  // f(engine) on a stream. planes: at once, 1 where passes are plain.
  template <class F>
  void with_engine(Stream stream, F f, int planes = 1) {
    if (fused_) {
      FusedPasses<T, Launcher> passes(*fused_, launcher_, parts_.data());
      CudaEngine<T, FusedPasses<T, Launcher>, Launcher> engine(passes, launcher_, stream, grid_,
                                                               parts_.data(), planes);
      f(engine);
    } else {
      PlainPasses<T, Launcher> passes(*plain_, launcher_, parts_.data(), workspace_.data());
      CudaEngine<T, PlainPasses<T, Launcher>, Launcher> engine(passes, launcher_, stream, grid_,
                                                               parts_.data(), 1);
      f(engine);
    }
  }

  static bool is_fused(const Grid& grid, const Limits& limits, PassKind wanted) {
    return wanted == PassKind::fused && FusedPlan<T>::can(grid, limits);
  }

  // Bytes beside the spectrum; the library's workspace is taken to be as large as what it transforms.
  static double bytes(const Grid& grid, const Limits& limits, PassKind wanted, double& spectrum) {
    if (is_fused(grid, limits, wanted)) {
      const FusedPlan<T> plan(grid, limits);
      spectrum = static_cast<double>(plan.spectrum_size()) * sizeof(Complex<T>);
      return static_cast<double>(part_count(grid, &plan) * kPartBytes<T>) +
             static_cast<double>(plan.tables().roots.size() * sizeof(Complex<T>) +
                                 plan.tables().orders.size() * sizeof(std::int32_t));
    }
    spectrum = static_cast<double>(grid.rows()) * static_cast<double>(grid.half()) * sizeof(Complex<T>);
    return spectrum + static_cast<double>(part_count(grid, nullptr) * kPartBytes<T>);
  }

 private:
  // Scans run in tiles of rows over either plan.
  static std::int64_t part_count(const Grid& grid, const FusedPlan<T>* fused) {
    const std::int64_t tiles = PlainPlan<T>::row_blocks(grid);
    return fused ? std::max(tiles, fused->row_blocks(Rows::all)) : tiles;
  }

  Grid grid_;
  Launcher& launcher_;
  std::optional<FusedPlan<T>> fused_;
  std::optional<PlainPlan<T>> plain_;
  Memory<Complex<T>> roots_;
  Memory<std::int32_t> orders_;
  Memory<char> parts_, workspace_;
  bool placed_ = false;
};

}  // namespace fastdeblur::cuda
