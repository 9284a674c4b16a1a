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
  T scale, sigma;
  int run, width;
  Nothing* result() const { return nullptr; }
  FD_HD void operator()(T value, int c, int m, int x, Nothing&) const {
    const int row = c * run + m, slot = rows.of(row);
    if (slot == rows.inner_slot && row != rows.inner_row) return;
    const T norm = value * scale;
    inv_norm[static_cast<std::int64_t>(slot) * width + x] = norm > sigma ? scale / norm : T(-1);
  }
};

// --- iterations ---

template <class T>
struct Ratio {
  using Accumulator = Nothing;
  Reader<T> reader;
  RlRatio<T> f;  // its floor is in numbers
  const RunNumbers* numbers;

  using Strips = void;
  template <int R>
  struct Held {
    Complex<T> data[R];
    T floor;
  };
  template <int R>
  FD_HD Held<R> hold(const Strip& s) const {
    Held<R> held;
    held.floor = static_cast<T>(numbers->floor);
    FD_UNROLL
    for (int q = 0; q < R; ++q) held.data[q] = {T(0), T(0)};
    reader.template fill<R>(held.data, s);
    return held;
  }
  template <int R>
  FD_HD void change(Complex<T> (&v)[R], const Held<R>& held, const Strip& s, Nothing&) const {
    const RlRatio<T> ratio{f.scale, f.background, held.floor};
    FD_UNROLL
    for (int q = 0; q < R; ++q)
      v[q] = {ratio(v[q].re, held.data[q].re), s.packed ? ratio(v[q].im, held.data[q].im) : T(0)};
  }

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

  using Strips = void;
  template <int R>
  FD_HD void fill(Complex<T> (&v)[R], const Strip& s) const {
    if (kind != extrapolated) {
      constexpr unsigned all = (1u << R) - 1;
      one_by_one(v, s, all, [&](int x, T& value) { value = give_once(*this, s.c, s.m, x); });
      return;
    }
    // What an iteration starts from: x, or z = max(x + step (x - x_before), 0), where z held x_before.
    const std::int64_t row = images.at(s.c, s.m, 0);
    load_row<R>(images.x + row, s, v);
    if (images.acceleration == Acceleration::none) return;
    Complex<T> z[R];
    load_row<R>(images.z + row, s, z);
    const Extrapolate<T> f{static_cast<T>(ratio.numbers->step.step)};
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = {f(v[q].re, z[q].re), s.packed ? f(v[q].im, z[q].im) : T(0)};
    store_row<R>(images.z + row, s, v);
  }

  FD_HD T operator()(int c, int m, int x) const {
    Complex<T> v[1] = {{T(0), T(0)}};
    fill<1>(v, Strip::of_pixel(c, m, x));
    return v[0].re;
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

  using Strips = void;
  template <int R>
  struct Held {
    Complex<T> x[R];  // without acceleration
  };
  template <int R>
  FD_HD Held<R> hold(const Strip& s) const {
    Held<R> held;
    FD_UNROLL
    for (int q = 0; q < R; ++q) held.x[q] = {T(0), T(0)};
    if (images.acceleration == Acceleration::none) load_row<R>(images.x + images.at(s.c, s.m, 0), s, held.x);
    return held;
  }
  template <int R>
  FD_HD void change(Complex<T> (&v)[R], const Held<R>& held, const Strip& s, Accumulator& sum) const {
    if (images.acceleration == Acceleration::none) {
      plain<R>(v, held.x, s, sum);
      return;
    }
    // Some elements at a time: registers do not hold all that acceleration needs of all.
    constexpr int K = R < 4 ? R : 4;
    FD_UNROLL
    for (int first = 0; first < R; first += K) {
      Complex<T> some[K];
      FD_UNROLL
      for (int q = 0; q < K; ++q) some[q] = v[first + q];
      accelerated<K>(some, s.from(first), sum);
      FD_UNROLL
      for (int q = 0; q < K; ++q) v[first + q] = some[q];
    }
  }

  // As a sink, where no iteration follows.
  template <int R>
  FD_HD void drain(const Complex<T> (&corrections)[R], const Strip& s, Accumulator& sum) const {
    const Held<R> held = hold<R>(s);
    Complex<T> v[R];
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = corrections[q];
    change<R>(v, held, s, sum);
  }

  Accumulator* result() const { return sums; }
  FD_HD T operator()(T correction, int c, int m, int x, Accumulator& sum) const {
    const Strip s = Strip::of_pixel(c, m, x);
    Complex<T> v[1] = {{correction, T(0)}};
    change<1>(v, hold<1>(s), s, sum);
    return v[0].re;
  }

 private:
  template <int R>
  FD_HD void load_inverse(Complex<T> (&inverse)[R], const Strip& s) const {
    if (inv_norm) {
      const std::int64_t row = norm_rows.of(s.c * images.run + s.m);
      load_row<R>(inv_norm + row * images.width, s, inverse);
    } else {
      FD_UNROLL
      for (int q = 0; q < R; ++q) inverse[q] = {scale, scale};
    }
  }
  // Only ratios of the sums are used: in units of the first level they neither overflow nor vanish.
  FD_HD T unit() const {
    const T level = static_cast<T>(numbers->level);
    return level > T(0) ? T(1) / level : T(1);
  }
  FD_HD static void measure(T now, T old, T unit, Accumulator& sum) {
    const T changed = (now - old) * unit, sized = now * unit;
    sum.change += changed * changed;
    sum.size += sized * sized;
  }

  // v: corrections, then the estimate.
  template <int R>
  FD_HD void plain(Complex<T> (&v)[R], const Complex<T> (&old)[R], const Strip& s, Accumulator& sum) const {
    Complex<T> inverse[R];
    load_inverse(inverse, s);
    FD_UNROLL
    for (int q = 0; q < R; ++q)
      v[q] = {RlUpdate<T>{}(old[q].re, v[q].re, inverse[q].re),
              s.packed ? RlUpdate<T>{}(old[q].im, v[q].im, inverse[q].im) : T(0)};
    store_row<R>(images.x + images.at(s.c, s.m, 0), s, v);
    if constexpr (Measured) {
      const T in = unit();
      FD_UNROLL
      for (int q = 0; q < R; ++q) {
        measure(v[q].re, old[q].re, in, sum);
        if (s.packed) measure(v[q].im, old[q].im, in, sum);
      }
    }
  }

  // v: corrections, then what the next iteration starts from.
  template <int K>
  FD_HD void accelerated(Complex<T> (&v)[K], const Strip& s, Accumulator& sum) const {
    const std::int64_t row = images.at(s.c, s.m, 0);
    const bool ogm = images.acceleration == Acceleration::ogm, moves = Measured && !ogm;
    Complex<T> old[K], start[K], inverse[K], moved[K];
    load_row<K>(images.x + row, s, old);
    load_row<K>(images.z + row, s, start);
    load_inverse(inverse, s);
    FD_UNROLL
    for (int q = 0; q < K; ++q) moved[q] = {T(0), T(0)};
    if (moves) load_row<K>(images.g + row, s, moved);
    T in = T(1);
    if constexpr (Measured) in = unit();
    // Of one number: `move` comes as the one before, and becomes this one.
    const auto one = [&](T correction, T before, T from, T norm, T& move, T& next) {
      const T now = RlUpdate<T>{}(from, correction, norm);
      next = ogm ? momentum(now, before, from) : now;
      if constexpr (Measured) {
        if (moves) {
          const T step = (now - from) * in;
          sum.step += step * step;
          sum.step_dot += step * move;
          move = step;
        }
        measure(now, before, in, sum);
      }
      return now;
    };
    Complex<T> now[K];
    FD_UNROLL
    for (int q = 0; q < K; ++q) {
      Complex<T> next{T(0), T(0)};
      now[q] = next;
      now[q].re = one(v[q].re, old[q].re, start[q].re, inverse[q].re, moved[q].re, next.re);
      if (s.packed) now[q].im = one(v[q].im, old[q].im, start[q].im, inverse[q].im, moved[q].im, next.im);
      v[q] = next;
    }
    store_row<K>(images.x + row, s, now);
    if (ogm) store_row<K>(images.z + row, s, v);
    if (moves) {
      store_row<K>(images.g + row, s, moved);
      store_row<K>(images.z + row, s, old);
    }
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
