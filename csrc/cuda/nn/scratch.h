// Where values lie in a run's memory: each has a place from the step that makes it to the last one that reads
// it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fastdeblur::cuda::nn {

struct Lifetime {
  std::int64_t bytes = 0;
  std::int64_t first = 0, last = 0;  // steps, both included
};

// Places of all, and the bytes that they take together. The largest are placed first, each as low as what
// lives at the same time allows.
inline std::vector<std::int64_t> placed(const std::vector<Lifetime>& values, std::int64_t& total) {
  constexpr std::int64_t unit = 256;
  std::vector<std::size_t> order(values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return values[a].bytes > values[b].bytes; });
  std::vector<std::int64_t> at(values.size(), 0);
  std::vector<std::size_t> done;
  total = 0;
  for (const std::size_t v : order) {
    const std::int64_t size = (values[v].bytes + unit - 1) / unit * unit;
    std::vector<std::size_t> beside;
    for (const std::size_t other : done)
      if (values[other].first <= values[v].last && values[v].first <= values[other].last)
        beside.push_back(other);
    std::sort(beside.begin(), beside.end(), [&](std::size_t a, std::size_t b) { return at[a] < at[b]; });
    std::int64_t place = 0;
    for (const std::size_t other : beside) {
      if (at[other] - place >= size) break;
      place = std::max(place, at[other] + (values[other].bytes + unit - 1) / unit * unit);
    }
    at[v] = place;
    total = std::max(total, place + size);
    done.push_back(v);
  }
  return at;
}

}  // namespace fastdeblur::cuda::nn
