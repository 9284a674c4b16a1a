// Batches of kernels of paths, in parallel. Each kernel is made by one thread, in one order.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpu/parallel.h"
#include "psf/camera_shake.h"
#include "psf/path.h"

namespace fastdeblur::psf {

// n kernels (n, h, w) of m paths of `points` points each, (m, points, 2) and (m, points): kernel k is what
// path which[k] does in the span windows[k], moved by shifts[k].
inline void rasterise_paths(const double* paths, const double* times, std::int64_t points,
                            const std::int64_t* which, const double* windows, const double* shifts,
                            bool square, std::int64_t n, std::int64_t h, std::int64_t w, double* out,
                            int n_threads) {
  parallel_for(n, n_threads, [=](std::int64_t k) {
    const Canvas canvas{out + k * h * w, h, w};
    std::fill(canvas.pixels, canvas.pixels + h * w, 0.0);
    const auto* xy = reinterpret_cast<const Point*>(paths) + which[k] * points;
    const Path path{xy, times + which[k] * points, points};
    const double begin = windows[2 * k], end = windows[2 * k + 1];
    const Point shift{shifts[2 * k], shifts[2 * k + 1]};
    if (square)
      rasterise_path(path, begin, end, shift, Square(canvas));
    else
      rasterise_path(path, begin, end, shift, Spot(canvas));
  });
}

// Random kernels (n, h, w): kernel k belongs to stream k of the generator. exposures in (0, 1]: the part of
// the path that is seen.
inline void rasterise_shakes(const ShakeModel& model, const Pcg64& generator, const double* anxieties,
                             const double* exposures, std::int64_t n, std::int64_t h, std::int64_t w,
                             double* out, int n_threads) {
  constexpr std::int64_t lanes = ShakePaths::kLanes, group = 8 * lanes;
  const Pcg64::Leap jump = Pcg64::leap(Pcg64::kJump, generator.increment);
  parallel_for((n + group - 1) / group, n_threads, [&](std::int64_t i) {
    ShakePaths paths(model);
    Pcg64 stream = generator.jumped(static_cast<std::uint64_t>(i * group));
    for (std::int64_t first = i * group; first < std::min(n, (i + 1) * group); first += lanes) {
      const auto count = static_cast<int>(std::min(lanes, n - first));
      double wanted[lanes], longest = 0;
      for (int l = 0; l < count; ++l) {
        wanted[l] = exposures[first + l] * static_cast<double>(model.steps);
        longest = std::max(longest, std::ceil(wanted[l]));
      }
      paths.run(stream, jump, anxieties + first, count, static_cast<std::int64_t>(longest));
      for (int l = 0; l < count; ++l) {
        const Canvas canvas{out + (first + l) * h * w, h, w};
        std::fill(canvas.pixels, canvas.pixels + h * w, 0.0);
        if (model.square)
          rasterise_shake(paths.xs(l), paths.ys(l), wanted[l], Square(canvas));
        else
          rasterise_shake(paths.xs(l), paths.ys(l), wanted[l], Spot(canvas));
      }
    }
  });
}

}  // namespace fastdeblur::psf
