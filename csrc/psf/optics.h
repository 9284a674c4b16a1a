// Round and polygonal PSFs, turned Gaussians and pupils' images, in parallel. Kernels are not normalised:
// what a frame cuts off is what their sum misses. Every row is computed by itself, whichever thread does it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "cpu/parallel.h"
#include "psf/polygon.h"
#include "psf/pupil_image.h"
#include "psf/radial.h"
#include "psf/turned_gaussian.h"

namespace fastdeblur::psf {

// One kernel (h, w), all of whose rows and columns are the quadrant's, mirrored.
template <class Tail>
void rasterise_radial(const Tail& tail, const Nodes& nodes, std::int64_t h, std::int64_t w, double* out,
                      int n_threads) {
  const std::int64_t reach = h > w ? h / 2 : w / 2, n = reach + 1;
  std::vector<double> fluxes(static_cast<std::size_t>(n * n)), quadrant(fluxes.size());
  parallel_for(n, n_threads, [&](std::int64_t i) {
    for (std::int64_t j = 0; j < n; ++j)
      fluxes[static_cast<std::size_t>(i * n + j)] = side_flux(tail, i, j, nodes);
  });
  parallel_for(n, n_threads,
               [&](std::int64_t y) { radial_row(fluxes.data(), reach, y, quadrant.data() + y * n); });
  for (std::int64_t y = 0; y < h; ++y) {
    const double* row = quadrant.data() + std::abs(y - h / 2) * n;
    for (std::int64_t x = 0; x < w; ++x) out[y * w + x] = row[std::abs(x - w / 2)];
  }
}

// n kernels (n, h, w): areas of polygons of radii and rotations (n), over each polygon's own area.
inline void rasterise_polygons(const double* radii, const double* rotations, std::int64_t blades,
                               std::int64_t n, std::int64_t h, std::int64_t w, double* out, int n_threads) {
  std::vector<Polygon> polygons;
  for (std::int64_t k = 0; k < n; ++k) polygons.push_back(regular_polygon(radii[k], blades, rotations[k]));
  parallel_for(n * h, n_threads, [&](std::int64_t i) {
    const Polygon& polygon = polygons[static_cast<std::size_t>(i / h)];
    rasterise_polygon_row(polygon, i % h, h, w, out + i * w);
    const double whole = area(polygon);
    for (std::int64_t x = 0; x < w; ++x) out[i * w + x] /= whole;
  });
}

inline void rasterise_turned(const TurnedGaussian& gaussian, std::int64_t h, std::int64_t w, double* out,
                             int n_threads) {
  const std::vector<double> columns = column_shares(gaussian, w);
  parallel_for(h, n_threads,
               [&](std::int64_t y) { rasterise_turned_row(gaussian, columns, y, h, w, out + y * w); });
}

// `phase`: radians by which a wave from the pupil's rim turns from one pixel to the next.
inline void rasterise_pupil(const Pupil& pupil, double phase, const Nodes& nodes, std::int64_t h,
                            std::int64_t w, double* out, int n_threads) {
  const std::int64_t along_y = h * nodes.count, along_x = w * nodes.count;
  PupilWaves waves(pupil.columns, along_y, along_x);
  parallel_for(pupil.columns, n_threads, [&](std::int64_t c) {
    column_waves(pupil, c, phase, nodes, h, waves.y_real.data() + c * along_y,
                 waves.y_imag.data() + c * along_y);
    carrier(pupil.x[c], phase, nodes, w, waves.x_real.data() + c * along_x,
            waves.x_imag.data() + c * along_x);
  });
  parallel_for(h, n_threads,
               [&](std::int64_t y) { pupil_image_row(waves, pupil.columns, nodes, y, h, w, out + y * w); });
}

}  // namespace fastdeblur::psf
