// The geometry of a problem: the frame (the image) at the origin of the FFT grid, and how the rest of the
// grid is filled.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fastdeblur {

using std::int64_t;

// How an axis of the grid goes on after the frame's n pixels: grid[n + i] = w1[i] frame[first[i]] + w2[i]
// frame[second[i]]. Computed in Python, shared by all backends.
struct AxisMap {
  std::vector<int64_t> first, second;
  std::vector<double> w1, w2;

  struct Sources {
    std::array<int64_t, 2> at;
    std::array<double, 2> weight;
  };
  // What grid pixel k of this axis is made of.
  Sources sources(int64_t k, int64_t n) const {
    if (k < n) return {{k, k}, {1.0, 0.0}};
    const std::size_t i = static_cast<std::size_t>(k - n);
    return {{first[i], second[i]}, {w1[i], w2[i]}};
  }
};

// Axes are called (c, m, x): columns, middle, rows. A 2-D image (h, w) is (h, 1, w), a volume (d, h, w) is
// (d, h, w), a signal (w,) is (1, 1, w). Row r of the grid is r = c * full[1] + m.
struct Grid {
  std::array<int64_t, 3> frame{1, 1, 1};
  std::array<int64_t, 3> full{1, 1, 1};

  int64_t rows() const { return full[0] * full[1]; }
  int64_t half() const { return full[2] / 2 + 1; }
  double pixels() const { return double(full[0]) * double(full[1]) * double(full[2]); }
  bool in_frame(int64_t r) const { return r / full[1] < frame[0] && r % full[1] < frame[1]; }
};

// Which rows a pass works on: all of the grid's, or only those that meet the frame (the others hold or become
// 0).
enum class Rows { all, frame };

// Consecutive rows that share the SIMD lanes.
struct RowGroup {
  int64_t first;
  int count;
};

inline std::vector<RowGroup> row_groups(const Grid& g, Rows rows, int lanes) {
  std::vector<RowGroup> groups;
  // Runs of consecutive rows: one if nothing separates them, else one per c.
  const bool whole = rows == Rows::all;
  const bool joined = whole || g.frame[1] == g.full[1];
  const int64_t run = whole ? g.rows() : joined ? g.frame[0] * g.full[1] : g.frame[1];
  const int64_t runs = joined ? 1 : g.frame[0];
  for (int64_t k = 0; k < runs; ++k)
    for (int64_t r = 0; r < run; r += lanes)
      groups.push_back({k * g.full[1] + r, static_cast<int>(run - r < lanes ? run - r : lanes)});
  return groups;
}

}  // namespace fastdeblur
