// The images of a Richardson-Lucy run in device memory, and the programs that the method's template asks for.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "cuda/engine.h"
#include "cuda/richardson_lucy_programs.h"

namespace fastdeblur::cuda {

// Memory that a run keeps in the plan, for the next frame. x: the estimate; z: what the next iteration starts
// from, if not x; g: the last iteration's x - z.
template <class T>
struct RunMemory {
  Memory<T> x, z, g, inv_norm;
  Memory<RunNumbers> numbers;
  Memory<DataSums> data_sums;
  Memory<IterationSums<T>> sums;
  Memory<std::int32_t> norm_slot;  // made once: it depends on the plan alone
  NormRows shared_rows{nullptr, -1, -1};
  std::int32_t norm_count = 0;

  explicit RunMemory(Arena& arena)
      : x(arena),
        z(arena),
        g(arena),
        inv_norm(arena),
        numbers(arena),
        data_sums(arena),
        sums(arena),
        norm_slot(arena) {}
};

// Which rows of a domain share their 1 / (H^T W): those whose every source lies inside the frame.
class SharedRows {
 public:
  SharedRows(const Grid& g, Rows domain, const std::array<std::int64_t, 3>& psf) {
    const auto& reach = domain == Rows::all ? g.full : g.frame;
    for (std::int64_t c = 0; c < reach[0]; ++c)
      for (std::int64_t m = 0; m < reach[1]; ++m) {
        const bool inner = is_inner(g.frame[0], psf[0], c) && is_inner(g.frame[1], psf[1], m);
        if (inner && inner_slot >= 0) {
          slots.push_back(inner_slot);
          continue;
        }
        if (inner) {
          inner_slot = count;
          inner_row = static_cast<std::int32_t>(slots.size());
        }
        slots.push_back(count++);
      }
  }

  std::vector<std::int32_t> slots;
  std::int32_t count = 0, inner_slot = -1, inner_row = -1;

 private:
  static bool is_inner(std::int64_t frame, std::int64_t psf, std::int64_t at) {
    const std::int64_t low = at - psf / 2;
    return low >= 0 && low + psf - 1 < frame;
  }
};

// Makes room for a run, which then asks for no memory.
template <class T>
class RunRoom {
 public:
  RunRoom(RunMemory<T>& kept, const Grid& grid, Rows domain, Acceleration acceleration, bool everywhere,
          const std::array<std::int64_t, 3>& psf, bool weights)
      : memory(kept) {
    const auto& reach = domain == Rows::all ? grid.full : grid.frame;
    const std::int64_t size = reach[0] * reach[1] * grid.full[2];
    memory.x.require(size);
    if (acceleration != Acceleration::none) memory.z.require(size);
    if (acceleration == Acceleration::biggs_andrews) memory.g.require(size);
    memory.numbers.require(1);
    memory.data_sums.require(1);
    memory.sums.require(1);
    if (weights) {
      inv_norm = memory.inv_norm.require(size);
    } else if (!everywhere) {
      if (!memory.shared_rows.slot) {
        const SharedRows shared(grid, domain, psf);
        const auto count = static_cast<std::int64_t>(shared.slots.size());
        memory.shared_rows = {memory.norm_slot.upload(shared.slots.data(), count), shared.inner_slot,
                              shared.inner_row};
        memory.norm_count = shared.count;
      }
      rows = memory.shared_rows;
      inv_norm = memory.inv_norm.require(memory.norm_count * grid.full[2]);
    }
    images = {memory.x.data(),
              acceleration == Acceleration::none ? nullptr : memory.z.data(),
              acceleration == Acceleration::biggs_andrews ? memory.g.data() : nullptr,
              static_cast<int>(reach[1]),
              static_cast<int>(grid.full[2]),
              acceleration};
  }

  RunMemory<T>& memory;
  RunImages<T> images{};
  T* inv_norm = nullptr;  // null: one number everywhere
  NormRows rows{nullptr, -1, -1};
};

template <class T, class Engine>
class DeviceRun {
 public:
  // image: weighted, if there are weights. measured: take the sums of the relative change.
  DeviceRun(Engine& engine, Runtime& runtime, const RunRoom<T>& room, Rows domain, const Reader<T>& image,
            bool measured, double background, double sigma)
      : engine_(engine),
        runtime_(runtime),
        room_(room),
        domain_(domain),
        image_(image),
        measured_(measured || room.images.acceleration == Acceleration::biggs_andrews),
        background_(background),
        sigma_(T(sigma)),
        scale_(T(1.0 / engine.grid().pixels())),
        numbers_(room.memory.numbers.data()) {}

  // Looks at the data once, and finds the floor and the level to start from.
  void look(const Findings& findings, T limit) {
    DataSums* sums = room_.memory.data_sums.data();
    engine_.scan(Rows::frame, LookAtData<T>{{image_, findings, limit}}, sums);
    engine_.once(SetNumbers<T>{sums, numbers_, background_});
  }

  void normalize(Complex<T>* spectrum, Rows observed, Complex<T>* otf, const Reader<T>* weights) {
    if (!room_.inv_norm) return;
    RunSource<T> source;
    source.kind = weights ? RunSource<T>::weights : RunSource<T>::observed;
    source.ratio.reader = weights ? *weights : image_;
    engine_.rows_forward(spectrum, observed, source);
    engine_.columns(spectrum, observed, domain_, otf, MulConjOtf<T>{});
    engine_.rows_inverse(
        spectrum, domain_,
        NormSink<T>{room_.inv_norm, room_.rows, scale_, sigma_, room_.images.run, room_.images.width});
  }

  void start(const Reader<T>& init) {
    const Grid& g = engine_.grid();
    const std::int64_t lit = domain_ == Rows::all ? g.full[2] : g.frame[2];
    engine_.scan(domain_, Start<T>{room_.images, init, numbers_, static_cast<int>(lit)});
  }

  // --- as methods/richardson_lucy.h asks for them ---

  RunSource<T> extrapolated() const { return source(RunSource<T>::extrapolated, scale_); }
  RunSource<T> ratio_of_uniform() const { return source(RunSource<T>::uniform_ratio, T(1)); }
  Ratio<T> ratio() const { return {image_, {scale_, T(background_), T(0)}, numbers_}; }

  // Either kind of update is another kernel: the template passes this on, and the engine asks for the one.
  struct UpdatePass {
    Update<T, false> plain;
    Update<T, true> measured;
    bool is_measured;
  };
  UpdatePass update(double a, double b) const {
    const Momentum<T> momentum{T(a), T(b), T(kMomentumFloor)};
    return {{room_.images, room_.inv_norm, room_.rows, scale_, momentum, numbers_, nullptr},
            {room_.images, room_.inv_norm, room_.rows, scale_, momentum, numbers_, room_.memory.sums.data()},
            measured_};
  }

  void advance() {
    if (measured_) engine_.once(Advance<T>{room_.memory.sums.data(), numbers_});
  }

  // Somebody wants to know how much the estimate changes: each iteration is waited for.
  void tell() { told_ = true; }
  double change() const {
    if (!told_ || !measured_) return 0;
    RunNumbers numbers;
    runtime_.copy(&numbers, numbers_, sizeof numbers, engine_.stream());
    runtime_.synchronize(engine_.stream());
    return numbers.sums.relative_change();
  }

  void write(const Writer<T>& writer) { engine_.scan(Rows::frame, WriteEstimate<T>{room_.images, writer}); }

 private:
  RunSource<T> source(typename RunSource<T>::Kind kind, T scale) const {
    RunSource<T> s;
    s.kind = kind;
    s.ratio = ratio();
    s.ratio.f.scale = scale;
    s.images = room_.images;
    return s;
  }

  Engine& engine_;
  Runtime& runtime_;
  const RunRoom<T>& room_;
  Rows domain_;
  Reader<T> image_;
  bool measured_, told_ = false;
  double background_;
  T sigma_, scale_;
  RunNumbers* numbers_;
};

}  // namespace fastdeblur::cuda
