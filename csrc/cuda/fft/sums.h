// Sums that a program takes on its way: per thread in registers, per block in shared memory, over the blocks
// by one small kernel. Every sum is taken in an order that only the launch's geometry decides: runs repeat to
// the bit.
#pragma once

#include <cstdint>
#include <type_traits>

#include "cuda/launch.h"

namespace fastdeblur::cuda {

// For programs that sum nothing.
struct Nothing {
  FD_HD void add(const Nothing&) {}
};

template <class Accumulator>
constexpr int sum_phases = std::is_empty_v<Accumulator> ? 0 : 3;

constexpr int kSumLanes = 16;

// Phase 0, 1, 2: the block's sum goes to *out. Shared memory holds one accumulator a thread.
template <class Accumulator>
FD_HD void sum_block(int phase, const Thread& t, const Accumulator& mine, Accumulator* out) {
  Accumulator* shared = t.shared<Accumulator>();
  if (phase == 0) shared[t.index] = mine;
  if (phase == 1 && t.index < kSumLanes) {
    Accumulator sum = shared[t.index];
    for (int i = t.index + kSumLanes; i < t.threads; i += kSumLanes) sum.add(shared[i]);
    shared[t.index] = sum;  // nobody else reads this one in this phase
  }
  if (phase == 2 && t.index == 0) {
    Accumulator sum = shared[0];
    for (int i = 1; i < kSumLanes; ++i) sum.add(shared[i]);
    *out = sum;
  }
}

// The sum of all blocks' sums; one block.
template <class Accumulator>
struct SumKernel {
  static constexpr int max_threads = 256, min_blocks = 1;
  struct Registers {};

  const Accumulator* parts;
  std::int64_t count;
  Accumulator* out;

  FD_HD int phases() const { return sum_phases<Accumulator>; }
  FD_HD void operator()(int phase, const Thread& t, Registers&) const {
    Accumulator sum{};
    if (phase == 0)
      for (std::int64_t i = t.index; i < count; i += t.threads) sum.add(parts[i]);
    sum_block(phase, t, sum, out);
  }
};

}  // namespace fastdeblur::cuda
