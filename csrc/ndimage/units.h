// Units of work with scratch memory per thread.
#pragma once

#include <cstdint>
#include <vector>

#include "cpu/parallel.h"

namespace fastdeblur::ndimage {

// Calls f(unit, scratch) for every unit in [0, n). `work` is about the number of arithmetic operations on the
// whole: what is done in some tens of microseconds is not worth waking another thread, nor making a team.
template <class Scratch, class F>
void for_units(int64_t n, double work, int n_threads, F&& f) {
  if (n == 1 || n_threads == 1 || work < double(1 << 20)) {
    Scratch scratch;
    for (int64_t unit = 0; unit < n; ++unit) f(unit, scratch);
    return;
  }
  Team::run(n_threads, [&](Team& team) {
    std::vector<Scratch> scratch(static_cast<std::size_t>(team.size()));
    team.parallel_for(n,
                      [&](int64_t unit, int worker) { f(unit, scratch[static_cast<std::size_t>(worker)]); });
  });
}

}  // namespace fastdeblur::ndimage
