// The row programs of a Richardson-Lucy run, and the little kernels between them. What one pass sums, the
// next ones read where it lies: nothing of an iteration waits for the host.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "cuda/programs.h"

namespace fastdeblur::cuda {

// A run's numbers, where kernels run.
struct RunNumbers {
  double floor, level;  // see RlRatio; what a uniform estimate starts from
  StepLength step;
  UpdateSums sums;  // of the last iteration, in units of level
};

// --- before the first iteration ---

struct DataSums {
  double data = 0, weight = 0;
  FD_HD void add(const DataSums& other) {
    data += other.data;
    weight += other.weight;
  }
};

// Looks at the data, and sums them.
template <class T>
struct LookAtData {
  using Accumulator = DataSums;
  CheckedSource<T> source;
  FD_HD void operator()(int, int c, int m, int x, DataSums& sum) const {
    if (x >= source.reader.axis[2].frame) return;
    sum.data += static_cast<double>(source(c, m, x));
    const Pixels& w = source.reader.weights;
    sum.weight += w.data ? static_cast<double>(w.at<T>(c, m, x)) : 1.0;
  }
};

// A device may not call what gives these.
template <class T>
constexpr double kEpsilon = std::numeric_limits<T>::epsilon();
template <class T>
constexpr double kLeast = std::numeric_limits<T>::min();

template <class T>
struct SetNumbers {
  const DataSums* sums;
  RunNumbers* numbers;
  double background;
  FD_HD void operator()() const {
    const double mean = sums->data / sums->weight;
    const double floor = mean * kEpsilon<T>, level = mean - background;
    *numbers = RunNumbers{floor > kLeast<T> ? floor : kLeast<T>, level > 1e-3 * mean ? level : 1e-3 * mean,
                          StepLength{}, UpdateSums{}};
  }
};

// The images of a run, [row of the domain][x].
template <class T>
struct RunImages {
  T *x, *z, *g;  // z, g: null where the acceleration does without; see RichardsonLucyState
  int run, width;
  Acceleration acceleration;

  FD_HD std::int64_t at(int c, int m, int x_) const {
    return (static_cast<std::int64_t>(c) * run + m) * width + x_;
  }
};

// The first estimate: an image, or one level on the first `lit` columns.
template <class T>
struct Start {
  using Accumulator = Nothing;
  RunImages<T> images;
  Reader<T> init;
  const RunNumbers* numbers;
  int lit;
  FD_HD void operator()(int, int c, int m, int x, Nothing&) const {
    const std::int64_t at = images.at(c, m, x);
    const T value = init.image.data ? init(c, m, x) : x < lit ? static_cast<T>(numbers->level) : T(0);
    images.x[at] = value;
    if (images.z) images.z[at] = value;
    if (images.g) images.g[at] = T(0);
  }
};

// --- 1 / (H^T W) ---

// Rows that are alike share one: slot of a domain's row, which is the row itself where there is no table.
struct NormRows {
  const std::int32_t* slot;
  int inner_slot, inner_row;  // the shared one, and which row makes it; -1: none
  FD_HD int of(int row) const { return slot ? slot[row] : row; }
};

template <class T>
struct NormSink {
  using Accumulator = Nothing;
  T* inv_norm;
  NormRows rows;
  T scale;
  int run, width;
  Nothing* result() const { return nullptr; }
  FD_HD void operator()(T value, int c, int m, int x, Nothing&) const {
    const int row = c * run + m, slot = rows.of(row);
    if (slot == rows.inner_slot && row != rows.inner_row) return;
    const T norm = value * scale;
    inv_norm[static_cast<std::int64_t>(slot) * width + x] = norm > T(kSigma) ? scale / norm : T(-1);
  }
};

// --- iterations ---

template <class T>
struct Ratio {
  using Accumulator = Nothing;
  Reader<T> reader;
  RlRatio<T> f;  // its floor is in numbers
  const RunNumbers* numbers;

  Nothing* result() const { return nullptr; }
  FD_HD T operator()(T model, int c, int m, int x, Nothing&) const {
    return RlRatio<T>{f.scale, f.background, static_cast<T>(numbers->floor)}(model, reader(c, m, x));
  }
};

template <class T>
struct RunSource;
template <class T>
FD_HD_SHARED T give_once(const RunSource<T>& source, int c, int m, int x);

// The sources of a run: one kernel for all of them, and one function for those that it needs once.
template <class T>
struct RunSource {
  enum Kind { kernel, weights, observed, uniform_ratio, extrapolated } kind = kernel;
  KernelSource<T> psf{};
  Ratio<T> ratio{};
  RunImages<T> images{};

  FD_HD T operator()(int c, int m, int x) const {
    if (kind != extrapolated) return give_once(*this, c, m, x);
    // What an iteration starts from: x, or z = max(x + step (x - x_before), 0), where z held x_before.
    const std::int64_t at = images.at(c, m, x);
    if (images.acceleration == Acceleration::none) return images.x[at];
    const Extrapolate<T> f{static_cast<T>(ratio.numbers->step.step)};
    return images.z[at] = f(images.x[at], images.z[at]);
  }
};

template <class T>
FD_HD_SHARED T give_once(const RunSource<T>& source, int c, int m, int x) {
  const Ratio<T>& ratio = source.ratio;
  switch (source.kind) {
    case RunSource<T>::kernel:
      return source.psf(c, m, x);
    case RunSource<T>::weights:
      return ratio.reader(c, m, x);
    case RunSource<T>::observed:
      return ratio.reader.in_frame(c, m, x) ? T(1) : T(0);
    default: {  // uniform_ratio: where H x is x is one level
      Nothing nothing;
      return ratio(static_cast<T>(ratio.numbers->level), c, m, x, nothing);
    }
  }
}

// Sums of a few thousand numbers of one size: T is enough for the ratios that they end in.
template <class T>
struct IterationSums {
  T change = 0, size = 0, step = 0, step_dot = 0;
  FD_HD void add(const IterationSums& other) {
    change += other.change;
    size += other.size;
    step += other.step;
    step_dot += other.step_dot;
  }
};

// The new estimate; returns what the next iteration starts from.
template <class T, bool Measured>
struct Update {
  using Accumulator = std::conditional_t<Measured, IterationSums<T>, Nothing>;
  RunImages<T> images;
  const T* inv_norm;  // null: scale everywhere
  NormRows norm_rows;
  T scale;
  Momentum<T> momentum;
  const RunNumbers* numbers;
  Accumulator* sums;

  Accumulator* result() const { return sums; }
  FD_HD T operator()(T correction, int c, int m, int x, Accumulator& sum) const {
    const std::int64_t at = images.at(c, m, x);
    const Acceleration kind = images.acceleration;
    const T old = images.x[at], start = kind == Acceleration::none ? old : images.z[at];
    const T inv =
        inv_norm ? inv_norm[static_cast<std::int64_t>(norm_rows.of(c * images.run + m)) * images.width + x]
                 : scale;
    const T now = RlUpdate<T>{}(start, correction, inv);
    images.x[at] = now;
    T next = now;
    if (kind == Acceleration::ogm) images.z[at] = next = momentum(now, old, start);
    if constexpr (Measured) {
      // Only ratios of the sums are used: in units of the first level they neither overflow nor vanish.
      const T level = static_cast<T>(numbers->level), unit = level > T(0) ? T(1) / level : T(1);
      if (kind == Acceleration::biggs_andrews) {
        const T moved = (now - start) * unit;
        sum.step += moved * moved;
        sum.step_dot += moved * images.g[at];
        images.g[at] = moved;
        images.z[at] = old;
      }
      const T changed = (now - old) * unit, sized = now * unit;
      sum.change += changed * changed;
      sum.size += sized * sized;
    }
    return next;
  }
};

template <class T>
struct Advance {
  const IterationSums<T>* sums;
  RunNumbers* numbers;
  FD_HD void operator()() const {
    numbers->sums = UpdateSums{static_cast<double>(sums->change), static_cast<double>(sums->size),
                               static_cast<double>(sums->step), static_cast<double>(sums->step_dot)};
    numbers->step.next(numbers->sums);
  }
};

// The estimate's frame.
template <class T>
struct WriteEstimate {
  using Accumulator = Nothing;
  RunImages<T> images;
  Writer<T> writer;
  FD_HD void operator()(int, int c, int m, int x, Nothing&) const {
    writer(images.x[images.at(c, m, x)], c, m, x);
  }
};

}  // namespace fastdeblur::cuda
