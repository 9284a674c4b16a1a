// What fft_convolve_f32.cpp and fft_convolve_f64.cpp instantiate.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>

#include "cpu/engine.h"
#include "cpu/filters.h"
#include "cpu/parallel.h"
#include "signal/fft_convolve.h"
#include "signal/kernel.h"
#include "signal/lanes.h"

namespace fastdeblur::signal {

// S <- S H scale; the kernel itself is not scaled, or small ones would lose their last digits below the
// smallest normal number.
template <class T>
struct ScaledMulOtf {
  T scale;  // of the inverse transform
  void operator()(T& re, T& im, T hre, T him) const {
    const T r = (re * hre - im * him) * scale;
    im = (re * him + im * hre) * scale;
    re = r;
  }
};

// How one axis is cut into windows. Grid index g of a window at w is sample w + g of the image; the result's
// sample o + g is there when the kernel's origin is start + o - w.
struct Windows {
  int64_t count, step, origin;
  bool whole;

  static Windows of(int64_t image, int64_t kernel, int64_t out, int64_t start, int64_t grid) {
    if (grid >= std::max({image, image + kernel - 1 - start, start + out})) return {1, out, start, true};
    const int64_t step = grid - kernel + 1;
    if (step < 1) throw std::invalid_argument("grid: shorter than the kernel");
    return {(out + step - 1) / step, step, kernel - 1, false};
  }
  int64_t first_out(int64_t i) const { return i * step; }
  int64_t first_in(int64_t i, int64_t start) const { return whole ? 0 : i * step + start - origin; }
};

template <class T, int L>
class FftConvolver {
 public:
  FftConvolver(const Convolution& c)
      : c_(c),
        windows_{axis(0), axis(1), axis(2)},
        plan_(grid(c, windows_)),
        written_(windows_[0].step <= plan_.grid.frame[0] && windows_[1].step <= plan_.grid.frame[1]
                     ? Rows::frame
                     : Rows::all) {}

  bool run(const std::vector<ConvolutionPlane<T>>& planes, const std::vector<ImageView>& kernels) {
    const int64_t tiles = windows_[0].count * windows_[1].count * windows_[2].count;
    const int64_t items = tiles * static_cast<int64_t>(planes.size());
    const double pixels = plan_.grid.pixels();
    // Passes over a small grid are too short to be shared: whole windows are shared out instead.
    const bool side_by_side = pixels < kSmall && items > 1;
    const bool small = pixels * static_cast<double>(items) < kAlone || (plan_.grid.rows() == 1 && items == 1);
    const int threads =
        small ? 1
              : static_cast<int>(std::min<int64_t>(team_size(c_.threads), side_by_side ? items : 1 << 20));
    const bool shared_kernel = kernels.size() == 1;
    std::vector<Scratch<T, L>> scratch(static_cast<std::size_t>(threads));
    std::vector<Buffer<T>> spectra(side_by_side ? static_cast<std::size_t>(threads) : 1);
    Team::run(threads, [&](Team& team) {
      for (auto& s : scratch) s.require(plan_);
      std::unique_ptr<Otf<T, L>> otf;
      const auto prepare = [&](CpuEngine<T, L>& engine, std::size_t k, T& limit) {
        const Kernel<T> kernel(kernels[k], c_.kernel);
        limit = kernel.limit(pixels);
        return std::make_unique<Otf<T, L>>(engine, kernel.data(), c_.kernel,
                                           Shape{windows_[0].origin, windows_[1].origin, windows_[2].origin});
      };
      T limit = 0;
      CpuEngine<T, L> together(plan_, team, scratch);
      if (shared_kernel) {
        otf = prepare(together, 0, limit);
        if (items > 1) otf->store(together);
      }
      const auto one = [&](CpuEngine<T, L>& engine, Buffer<T>& spectrum, int64_t item) {
        const std::size_t p = static_cast<std::size_t>(item / tiles);
        spectrum.require(plan_.spectrum_size());
        if (shared_kernel) return convolve(engine, spectrum, *otf, limit, planes[p], item % tiles);
        T own_limit = 0;
        const auto own = prepare(engine, p, own_limit);
        convolve(engine, spectrum, *own, own_limit, planes[p], item % tiles);
      };
      if (!side_by_side) {
        for (int64_t i = 0; i < items; ++i) one(together, spectra[0], i);
        return;
      }
      std::vector<std::vector<Scratch<T, L>>> own(static_cast<std::size_t>(threads));
      team.parallel_for(items, [&](int64_t i, int worker) {
        const std::size_t w = static_cast<std::size_t>(worker);
        if (own[w].empty()) own[w].push_back(std::move(scratch[w]));
        Team::run(1, [&](Team& alone) {
          CpuEngine<T, L> engine(plan_, alone, own[w]);
          one(engine, spectra[w], i);
        });
      });
    });
    return finite_.load();
  }

 private:
  static constexpr double kAlone = 1 << 15;
  static constexpr double kSmall = 1 << 18;

  Windows axis(std::size_t a) const {
    return Windows::of(c_.image[a], c_.kernel[a], c_.out[a], c_.start[a], c_.grid[a]);
  }

  // Rows beyond the frame are 0 before the transform; a window inside a larger image has none.
  static Grid grid(const Convolution& c, const std::array<Windows, 3>& windows) {
    Grid g;
    for (std::size_t a = 0; a < 3; ++a) {
      g.full[a] = c.grid[a];
      g.frame[a] = windows[a].whole ? c.image[a] : c.grid[a];
    }
    return g;
  }

  // What one window of one axis covers.
  struct Span {
    int64_t in, out,
        count;  // first sample of the image (maybe negative) and of the result; the result's number
  };
  Span span(std::size_t a, int64_t i) const {
    const int64_t out = windows_[a].first_out(i);
    return {windows_[a].first_in(i, c_.start[a]), out, std::min(windows_[a].step, c_.out[a] - out)};
  }

  void convolve(CpuEngine<T, L>& engine, Buffer<T>& spectrum, const Otf<T, L>& otf, T limit,
                const ConvolutionPlane<T>& plane, int64_t tile) {
    const std::array<Span, 3> at{span(0, tile / windows_[2].count / windows_[1].count),
                                 span(1, tile / windows_[2].count % windows_[1].count),
                                 span(2, tile % windows_[2].count)};
    if (!finite_.load(std::memory_order_relaxed)) return;
    engine.rows_forward(spectrum.data(), Rows::frame,
                        [&](int64_t, const RowGroup& group, T* lanes, Scratch<T, L>& s) {
                          s.rows.require(L * plan_.grid.full[2]);
                          if (!read(group, plane.image, at, limit, lanes, s.rows.data()))
                            finite_.store(false, std::memory_order_relaxed);
                        });
    engine.columns(
        spectrum.data(), Rows::frame, written_,
        [&](int64_t block, Scratch<T, L>& s) { return otf(block, s, engine); },
        filter_columns<T, L>(plan_.grid, ScaledMulOtf<T>{T(1 / plan_.grid.pixels())}));
    engine.rows_inverse(spectrum.data(), written_,
                        [&](int64_t, const RowGroup& group, const T* lanes, Scratch<T, L>&) {
                          write(group, plane.out, at, lanes);
                        });
  }

  // The group's rows of the image, 0 around them. False if a value is not within the limit.
  bool read(const RowGroup& group, const ImageView& image, const std::array<Span, 3>& at, T limit, T* lanes,
            T* scratch) const {
    const int64_t nx = plan_.grid.full[2], nm = plan_.grid.full[1];
    const int64_t first = std::max<int64_t>(0, -at[2].in), last = std::min(nx, c_.image[2] - at[2].in);
    const int64_t n = std::max<int64_t>(0, last - first);
    const bool direct =
        image.element == element_of<T>() && image.stride[2] == static_cast<std::ptrdiff_t>(sizeof(T));
    const T* row[L];
    for (int j = 0; j < L; ++j) {
      const int64_t r = group.first + j, y = r / nm + at[0].in, m = r % nm + at[1].in;
      const bool inside = n > 0 && j < group.count && y >= 0 && y < c_.image[0] && m >= 0 && m < c_.image[1];
      T* own = scratch + j * nx;
      row[j] = own;
      if (!inside) {
        std::fill_n(own, n, T(0));
        continue;
      }
      const char* from = static_cast<const char*>(image.data) + y * image.stride[0] + m * image.stride[1] +
                         (at[2].in + first) * image.stride[2];
      if (direct) {
        row[j] = reinterpret_cast<const T*>(from);
      } else {
        convert_row(image.element, from, image.stride[2], n, own);
      }
    }
    if (n == 0) {
      std::fill_n(lanes, nx * L, T(0));
      return true;
    }
    std::fill_n(lanes, first * L, T(0));
    gather<T, L>(row, n, lanes + first * L);
    std::fill_n(lanes + last * L, (nx - last) * L, T(0));
    return !has(look_at<T, L>(lanes + first * L, n, limit), Bad::not_finite);
  }

  void write(const RowGroup& group, const MutableImageView<T>& out, const std::array<Span, 3>& at,
             const T* lanes) const {
    const int64_t nm = plan_.grid.full[1];
    T* row[L];
    int64_t n[L];
    for (int j = 0; j < L; ++j) {
      const int64_t r = group.first + j, y = r / nm, m = r % nm;
      const bool wanted = j < group.count && y < at[0].count && m < at[1].count;
      n[j] = at[2].count;
      row[j] =
          wanted ? reinterpret_cast<T*>(reinterpret_cast<char*>(out.data) + (at[0].out + y) * out.stride[0] +
                                        (at[1].out + m) * out.stride[1] + at[2].out * out.stride[2])
                 : nullptr;
    }
    scatter<T, L>(lanes, n, row);
  }

  const Convolution c_;
  const std::array<Windows, 3> windows_;
  const GridPlan<T, L> plan_;
  const Rows written_;
  std::atomic<bool> finite_{true};
};

template <class T>
bool fft_convolve(const Convolution& c, const std::vector<ConvolutionPlane<T>>& planes,
                  const std::vector<ImageView>& kernels) {
  if (c.image[0] * c.image[1] == 1 && c.kernel[0] * c.kernel[1] == 1)
    return FftConvolver<T, 1>(c).run(planes, kernels);
  return FftConvolver<T, native_lanes<T>>(c).run(planes, kernels);
}

// L segments in the lanes; a segment is zero-extended where it leaves its row.
template <class T, int L>
bool overlap_save_lanes(const OverlapSave& c, const ConvolutionPlane<T>& plane, const ImageView& view) {
  const int64_t length = c.segment, step = length - c.k + 1;
  if (step < 1) throw std::invalid_argument("segment: shorter than the kernel");
  const RealFft<T, L> fft(length);
  const int64_t per_row = (c.count + step - 1) / step, segments = per_row * c.rows;
  const int64_t groups = (segments + L - 1) / L;
  const Kernel<T> kernel(view, {1, 1, c.k});
  const T limit = kernel.limit(static_cast<double>(length));

  const T scale = T(1.0 / static_cast<double>(length));
  struct Work {
    Buffer<T> a, b, fft, rows;
    void require(const RealFft<T, L>& f) {
      a.require(f.length() * L);
      b.require(f.length() * L);
      fft.require(f.scratch() + 32 * L);
      rows.require(f.length() * L);
    }
  };
  std::vector<T> spectrum(static_cast<std::size_t>(length));
  {
    Work w;
    w.require(fft);
    std::fill_n(w.a.data(), length * L, T(0));
    for (int64_t i = 0; i < c.k; ++i) w.a[i * L] = kernel.data()[i];
    const T* done = fft.exec(w.a.data(), w.b.data(), w.fft.data(), true);
    for (int64_t i = 0; i < length; ++i) spectrum[static_cast<std::size_t>(i)] = done[i * L];
  }

  const bool direct = plane.image.element == element_of<T>() &&
                      plane.image.stride[2] == static_cast<std::ptrdiff_t>(sizeof(T));
  std::atomic<bool> finite{true};
  const int threads =
      static_cast<int>(std::min<int64_t>(c.rows * c.n < (1 << 15) ? 1 : groups, team_size(c.threads)));
  std::vector<Work> works(static_cast<std::size_t>(threads));
  Team::run(threads, [&](Team& team) {
    team.parallel_for(groups, [&](int64_t g, int worker) {
      Work& w = works[static_cast<std::size_t>(worker)];
      w.require(fft);
      const T* in[L];
      T* out[L];
      int64_t count[L];
      for (int j = 0; j < L; ++j) {
        T* own = w.rows.data() + j * length;
        in[j] = own;
        out[j] = nullptr;
        count[j] = 0;
        const int64_t segment = g * L + j;
        if (segment >= segments) {
          std::fill_n(own, length, T(0));
          continue;
        }
        const int64_t row = segment / per_row, o = segment % per_row * step, from = o + c.start - (c.k - 1);
        const int64_t first = std::clamp<int64_t>(-from, 0, length);
        const int64_t last = std::clamp<int64_t>(c.n - from, first, length);
        const char* line = static_cast<const char*>(plane.image.data) + row * plane.image.stride[0] +
                           (from + first) * plane.image.stride[2];
        if (direct && first == 0 && last == length) {
          in[j] = reinterpret_cast<const T*>(line);
        } else {
          std::fill_n(own, first, T(0));
          convert_row(plane.image.element, line, plane.image.stride[2], last - first, own + first);
          std::fill_n(own + last, length - last, T(0));
        }
        count[j] = std::min(step, c.count - o);
        out[j] =
            reinterpret_cast<T*>(reinterpret_cast<char*>(plane.out.data) + row * plane.out.stride[0]) + o;
      }
      gather<T, L>(in, length, w.a.data());
      if (has(look_at<T, L>(w.a.data(), length, limit), Bad::not_finite))
        finite.store(false, std::memory_order_relaxed);
      T* x = fft.exec(w.a.data(), w.b.data(), w.fft.data(), true);
      const T* h = spectrum.data();
      for (int j = 0; j < L; ++j) x[j] *= h[0] * scale;
      int64_t i = 1;
      for (; i + 1 < length; i += 2) {
        const T re = h[i], im = h[i + 1];
        T* __restrict p = x + i * L, * __restrict q = p + L;
        FASTDEBLUR_SIMD
        for (int j = 0; j < L; ++j) {
          const T a = p[j] * scale, b = q[j] * scale;
          p[j] = a * re - b * im;
          q[j] = a * im + b * re;
        }
      }
      if (i < length)
        for (int j = 0; j < L; ++j) x[i * L + j] *= h[i] * scale;
      const T* y = fft.exec(x, x == w.a.data() ? w.b.data() : w.a.data(), w.fft.data(), false);
      scatter<T, L>(y + (c.k - 1) * L, count, out);
    });
  });
  return finite.load();
}

template <class T>
bool overlap_save(const OverlapSave& c, const ConvolutionPlane<T>& plane, const ImageView& kernel) {
  return overlap_save_lanes<T, native_lanes<T>>(c, plane, kernel);
}

}  // namespace fastdeblur::signal
