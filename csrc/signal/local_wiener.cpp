#include "signal/local_wiener.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/element_bytes.h"
#include "cpu/parallel.h"

namespace fastdeblur::signal {
namespace {

constexpr int64_t kChunk = 1 << 12;

// f(chunk, first, count) for pieces whose number does not depend on the threads'.
template <class F>
void over_chunks(const LocalWiener& p, F&& f) {
  const int64_t chunks = (p.n + kChunk - 1) / kChunk;
  parallel_for(chunks, p.n < (1 << 15) ? 1 : p.threads,
               [&](int64_t c) { f(c, c * kChunk, std::min(kChunk, p.n - c * kChunk)); });
}

}  // namespace

Variances local_variances(const LocalWiener& p) {
  struct Part {
    double sum, least, most;
  };
  std::vector<Part> parts(static_cast<std::size_t>((p.n + kChunk - 1) / kChunk));
  over_chunks(p, [&](int64_t chunk, int64_t first, int64_t count) {
    double sum = 0, least = std::numeric_limits<double>::infinity(), most = 0;
    for (int64_t i = first; i < first + count; ++i) {
      const double mean = p.sums[i] / p.window;
      const double variance = p.squares[i] / p.window - mean * mean;
      p.sums[i] = mean;
      p.squares[i] = variance;
      sum += variance;
      least = std::min(least, std::abs(variance));
      most = std::max(most, std::abs(variance));
    }
    parts[static_cast<std::size_t>(chunk)] = {sum, least, most};
  });
  double sum = 0;
  bool regular = true;
  for (const Part& part : parts) {
    sum += part.sum;
    regular = regular && part.least > 0 && part.most <= std::numeric_limits<double>::max();
  }
  return {sum / static_cast<double>(p.n), regular && std::isfinite(sum)};
}

void local_wiener(const LocalWiener& p, double noise) {
  over_chunks(p, [&](int64_t, int64_t first, int64_t count) {
    double converted[kChunk];
    const double* x = converted;
    const char* from = static_cast<const char*>(p.image) + first * bytes_of(p.element);
    if (p.element == Element::f64) {
      x = reinterpret_cast<const double*>(from);
    } else {
      convert_row(p.element, from, static_cast<std::ptrdiff_t>(bytes_of(p.element)), count, converted);
    }
    for (int64_t i = 0; i < count; ++i) {
      const double mean = p.sums[first + i], variance = p.squares[first + i];
      const double drawn = (x[i] - mean) * (1 - noise / variance) + mean;
      p.sums[first + i] = variance < noise ? mean : drawn;
    }
  });
}

}  // namespace fastdeblur::signal
