// CudaEngine: what the templates in csrc/methods see. It runs their passes one after the other on a stream,
// over either kind of passes.
#pragma once

#include "core/functors.h"
#include "cuda/plain_passes.h"
#include "cuda/programs.h"

namespace fastdeblur::cuda {

// f() once.
template <class F>
struct OnceKernel {
  static constexpr int max_threads = 32, min_blocks = 1;
  struct Registers {};
  F f;
  FD_HD int phases() const { return 1; }
  FD_HD void operator()(int, const Thread& t, Registers&) const {
    if (t.index == 0) f();
  }
};

template <class T, class Passes, class Launcher>
class CudaEngine {
 public:
  // planes: that every call works on, if the passes can; of these rows and scan know one only.
  CudaEngine(Passes& passes, Launcher& launcher, Stream stream, const Grid& grid, void* parts, int planes)
      : passes_(passes), launcher_(launcher), stream_(stream), grid_(grid), parts_(parts), planes_(planes) {}

  Stream stream() const { return stream_; }
  Launcher& launcher() const { return launcher_; }
  const Grid& grid() const { return grid_; }

  template <class Source>
  void rows_forward(Complex<T>* spectrum, Rows which, const Source& source) {
    passes_.rows_forward(stream_, spectrum, which, source, planes_);
  }
  void columns(Complex<T>* spectrum, Rows in, Rows out, Complex<T>* otf, MulOtf<T>) {
    passes_.columns(stream_, spectrum, in, out, OtfFilter<T>{otf, OtfFilter<T>::blur}, planes_);
  }
  void columns(Complex<T>* spectrum, Rows in, Rows out, Complex<T>* otf, MulConjOtf<T>) {
    passes_.columns(stream_, spectrum, in, out, OtfFilter<T>{otf, OtfFilter<T>::adjoint}, planes_);
  }
  void columns(Complex<T>* spectrum, Rows in, Rows out, Complex<T>* otf, const RegularizedFilter<T>& f) {
    passes_.columns(stream_, spectrum, in, out, WienerColumns<T>{otf, f}, planes_);
  }
  // Keeps the spectrum's transform as a transfer function; the spectrum is lost.
  void store_otf(Complex<T>* spectrum, Complex<T>* otf) {
    passes_.columns(stream_, spectrum, Rows::all, Rows::all, OtfFilter<T>{otf, OtfFilter<T>::store});
  }
  template <class Program>
  void rows(Complex<T>* spectrum, Rows which, const Program& f) {
    either(f, [&](const auto& g) { passes_.rows(stream_, spectrum, which, g, g.result()); });
  }
  template <class Sink>
  void rows_inverse(Complex<T>* spectrum, Rows which, const Sink& s) {
    either(s, [&](const auto& g) { passes_.rows_inverse(stream_, spectrum, which, g, g.result(), planes_); });
  }

  // f(row, c, m, x, sum) without a transform.
  template <class F>
  void scan(Rows which, const F& f, typename F::Accumulator* result = nullptr) {
    const auto& reach = which == Rows::all ? grid_.full : grid_.frame;
    each_pixel(launcher_, stream_, RowTiles(reach[0] * reach[1], reach[1], grid_.full[2]), f, parts_, result);
  }
  template <class F>
  void once(const F& f) {
    launcher_.launch(stream_, OnceKernel<F>{f}, Geometry{1, 32, 0});
  }

 private:
  // A program that takes sums is another kernel than the same one without.
  template <class Program, class F>
  static void either(const Program& program, F f) {
    if constexpr (requires { program.is_measured; }) {
      if (program.is_measured)
        f(program.measured);
      else
        f(program.plain);
    } else {
      f(program);
    }
  }

  Passes& passes_;
  Launcher& launcher_;
  Stream stream_;
  const Grid& grid_;
  void* parts_;
  int planes_;
};

}  // namespace fastdeblur::cuda
