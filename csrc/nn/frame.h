// How a frame is run: which values are kept and where, and what is made in which pass over it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "nn/network.h"

namespace fastdeblur::nn {

enum class Margin { none, zeros, reflect };

// One pass over the frame: what can be made before the next sums over all of it are needed.
struct Network::Stage {
  int number = 0;
  std::vector<std::size_t> steps;           // that run
  std::vector<int64_t> sinks;               // values that are kept, summed or the result
  std::vector<Range> bands, strips;         // of the image
  std::vector<std::vector<Range>> columns;  // for each strip, of each value
  std::vector<std::vector<int64_t>> rings;  // for each band, of each value
  int64_t worker_floats = 0;
};

// The plan for a frame.
struct Network::Frame {
  int64_t h = 0, w = 0;  // padded
  int64_t inner_h = 0, inner_w = 0;
  std::vector<Shape> shapes;
  bool keeps = true;          // values that several stages need; else they are made again in each
  std::vector<int> stage_of;  // of each value
  std::vector<char> kept;
  // When it comes to be and when it is read last (-1: never), in halves of stages: a stage makes what needs
  // all of a value first, and then its rows.
  std::vector<int> begin, end_of_use;
  static int time_of(int stage, bool whole) { return 2 * stage + (whole ? 0 : 1); }
  int last(std::size_t v) const { return end_of_use[v] >> 1; }  // stage that reads it
  std::vector<int64_t> left, right;
  std::vector<Margin> margins;
  std::vector<int64_t> lanes, blocks, spill;
  int64_t end = 0;  // floats past a value's end that may be read
  std::vector<Stage> stages;
  std::vector<int64_t> offset;  // of each kept value, in the run's arena
  int64_t arena = 0;            // floats
  int64_t bytes = 0;            // with what the workers take

  Rows layout(std::size_t v, Range columns, int64_t ring) const {
    Rows rows;
    rows.ring = ring;
    rows.lanes = lanes[v];
    rows.blocks = blocks[v];
    rows.x0 = columns.lo - left[v];
    rows.block = (columns.size() + left[v] + std::max(right[v], spill[v])) * lanes[v];
    rows.stride = rows.block * blocks[v];
    return rows;
  }
  int64_t floats(std::size_t v, Range columns, int64_t ring) const {
    const Rows rows = layout(v, columns, ring);
    return (rows.stride * ring + end + 15) / 16 * 16;
  }
  int64_t floats(std::size_t v) const { return floats(v, {0, shapes[v].w}, shapes[v].h); }
  // Gives each kept value its place: the largest ones first, each in the lowest gap that those which are
  // needed beside it leave.
  void place() {
    std::vector<std::size_t> order;
    for (std::size_t v = 0; v < kept.size(); ++v)
      if (kept[v]) order.push_back(v);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return floats(a) > floats(b); });
    offset.assign(kept.size(), 0);
    arena = 0;
    for (std::size_t n = 0; n < order.size(); ++n) {
      const std::size_t v = order[n];
      std::vector<Range> taken;
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t u = order[i];
        if (begin[u] <= std::max(end_of_use[v], begin[v]) && begin[v] <= std::max(end_of_use[u], begin[u]))
          taken.push_back({offset[u], offset[u] + floats(u)});
      }
      std::sort(taken.begin(), taken.end(), [](const Range& a, const Range& b) { return a.lo < b.lo; });
      for (const Range& t : taken) {
        if (t.lo - offset[v] >= floats(v)) break;
        offset[v] = std::max(offset[v], t.hi);
      }
      arena = std::max(arena, offset[v] + floats(v));
    }
  }
};

}  // namespace fastdeblur::nn
