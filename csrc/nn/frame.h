// How a frame is run: which values are kept and where, and what is made in which pass over it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "nn/network.h"

namespace fastdeblur::nn {

enum class Margin { none, zeros, reflect };

// Whether a layer reads rows of an input, or only sums over all of it.
inline bool reads_rows(const Layer& layer, int i) { return layer.reads(i, 0, {0, 4096}, 1 << 20).size() > 0; }

// A value's sums that layers of the next stage need.
struct Network::Summed {
  std::size_t value;
  std::vector<std::size_t> steps;  // that need them
  Summing how;
};

// One pass over the frame: what can be made before the next sums over all of it are needed.
struct Network::Stage {
  int number = 0;
  std::vector<std::size_t> steps;           // that run
  std::vector<int64_t> sinks;               // values that are kept, summed or the result
  std::vector<Range> bands, strips;         // of the image
  std::vector<std::vector<Range>> columns;  // for each strip, of each value
  std::vector<std::vector<int64_t>> rings;  // for each band, of each value
  int64_t worker_floats = 0;
  int64_t call_floats = 0;   // what a worker's layers work in
  int64_t shared_bytes = 0;  // sums, what is made of them, and the tables above
  int64_t bytes(int threads) const {
    const auto jobs = static_cast<int64_t>(bands.size() * strips.size());
    return (worker_floats + call_floats) * 4 * std::min<int64_t>(threads, jobs) + shared_bytes;
  }
};

// The plan for a frame.
struct Network::Frame {
  int64_t h = 0, w = 0;  // padded
  int64_t inner_h = 0, inner_w = 0;
  std::vector<Shape> shapes;
  std::vector<int> stage_of;          // of each value
  std::vector<char> kept, shortened;  // shortened: made again in some stage rather than kept
  std::vector<char> gives_way;        // whether another one takes over its memory
  std::vector<std::size_t> home;      // of each value: the value whose memory it takes over, or itself
  // When it comes to be and when it is read last (-1: never), in halves of stages: a stage makes what needs
  // all of a value first, and then its rows.
  std::vector<int> begin, end_of_use;
  static int time_of(int stage, bool whole) { return 2 * stage + (whole ? 0 : 1); }
  int last(std::size_t v) const { return end_of_use[v] >> 1; }  // stage that reads it
  std::vector<int64_t> left, right;
  std::vector<Margin> margins;
  std::vector<int64_t> lanes, blocks, spill;
  int64_t end = 0;          // floats past a value's end that may be read
  int64_t state_bytes = 0;  // what layers keep of sums, to the end
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
  // Whether a kept value is there at a time.
  bool lives(std::size_t v, int time) const {
    return kept[v] && begin[v] <= time && time <= std::max(end_of_use[v], begin[v]);
  }
  // When most memory is in use.
  int fullest() const {
    std::vector<int64_t> more;  // from one time to the next
    const auto at = [&](int64_t time) -> int64_t& {
      if (time >= static_cast<int64_t>(more.size())) more.resize(static_cast<std::size_t>(time + 1), 0);
      return more[static_cast<std::size_t>(time)];
    };
    for (std::size_t v = 0; v < kept.size(); ++v)
      if (kept[v] && home[v] == v) {
        const Range life = life_of(v);
        at(life.lo) += floats(v);
        at(life.hi + 1) -= floats(v);
      }
    int64_t now = 0, most = -1;
    int when = 0;
    for (std::size_t time = 0; time < more.size(); ++time) {
      now += more[time];
      if (now > most) {
        most = now;
        when = static_cast<int>(time);
      }
    }
    return when;
  }
  // From when to when a value's memory is needed, by itself or by those that take it over.
  Range life_of(std::size_t v) const {
    Range all{begin[v], std::max(end_of_use[v], begin[v])};
    if (gives_way[v])
      for (std::size_t u = 0; u < home.size(); ++u)
        if (home[u] == v) all.hi = std::max<int64_t>(all.hi, std::max(end_of_use[u], begin[u]));
    return all;
  }
  // Gives each kept value its place: the largest ones first, each in the lowest gap that those which are
  // needed beside it leave.
  void place() {
    std::vector<std::size_t> order;
    for (std::size_t v = 0; v < kept.size(); ++v)
      if (kept[v] && home[v] == v) order.push_back(v);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return floats(a) > floats(b); });
    std::vector<Range> times;
    for (const std::size_t v : order) times.push_back(life_of(v));
    offset.assign(kept.size(), 0);
    arena = 0;
    for (std::size_t n = 0; n < order.size(); ++n) {
      const std::size_t v = order[n];
      std::vector<Range> taken;
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t u = order[i];
        if (times[i].lo <= times[n].hi && times[n].lo <= times[i].hi)
          taken.push_back({offset[u], offset[u] + floats(u)});
      }
      std::sort(taken.begin(), taken.end(), [](const Range& a, const Range& b) { return a.lo < b.lo; });
      for (const Range& t : taken) {
        if (t.lo - offset[v] >= floats(v)) break;
        offset[v] = std::max(offset[v], t.hi);
      }
      arena = std::max(arena, offset[v] + floats(v));
    }
    for (std::size_t v = 0; v < kept.size(); ++v) offset[v] = offset[home[v]];
  }
};

}  // namespace fastdeblur::nn
