// The deconvolver over either kind of passes.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numbers>

#include "cuda/deconvolver.h"
#include "cuda/pipeline.h"
#include "cuda/plan.h"
#include "cuda/replay.h"
#include "cuda/richardson_lucy_state.h"
#include "methods/wiener.h"

namespace fastdeblur::cuda {

template <class T, class Launcher>
class DeviceDeconvolver final : public Deconvolver<T> {
 public:
  DeviceDeconvolver(std::unique_ptr<Runtime> runtime, Launcher launcher, Problem<T> problem, PassKind wanted)
      : runtime_(std::move(runtime)),
        entered_(runtime_->enter()),
        launcher_(std::move(launcher)),
        problem_(std::move(problem)),
        arena_(*runtime_),
        own_(*runtime_),
        done_(*runtime_),
        side_(*runtime_),
        looked_at_(*runtime_),
        found_(*runtime_),
        passes_(problem_.grid, arena_, launcher_, wanted),
        data_(arena_),
        init_(arena_),
        psfs_(arena_),
        spectrum_(arena_),
        flags_(arena_),
        tables_(arena_),
        power_(arena_),
        estimate_(arena_),
        images_(arena_),
        pipeline_(arena_),
        replay_(*runtime_) {
    limit_ = T(static_cast<double>(std::numeric_limits<T>::max()) / problem_.grid.pixels());
    for (std::int64_t i = 0; i < problem_.psf_count; ++i) otfs_.emplace_back(arena_);
    entered_.reset();
  }

  ~DeviceDeconvolver() override {
    // Memory goes back behind whatever still works in it; the last call's stream may be gone.
    arena_.set_stream(nullptr);
    try {
      entered_ = runtime_->enter();
      if (started_) runtime_->wait(own_.get(), done_.get());
      arena_.set_stream(own_.get());
    } catch (...) {
    }
  }

  void wiener(const std::vector<LocatedPlane<T>>& planes, const WienerOptions<T>& options, Stream stream,
              const std::function<void()>& poll) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    Call call(*this, planes, stream);
    Findings all{};
    try {
      all = wiener_of(planes, options, one_at_a_time_ ? 1 : most_together(planes), poll);
    } catch (const OutOfDeviceMemory&) {
      // Nothing is written before all memory is there. Several spectra are what can be spared.
      if (together_ == 1) throw;
      runtime_->stay();
      pipeline_.stop();
      spectrum_.reset();
      one_at_a_time_ = true;
      all = wiener_of(planes, options, 1, poll);
    }
    call.finish(planes, all, false);
  }

  void richardson_lucy(const std::vector<LocatedPlane<T>>& planes, const RichardsonLucyOptions& options,
                       bool measured, const DeviceProgress<T>& progress, Stream stream,
                       const std::function<void()>& poll) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    Call call(*this, planes, stream);
    prepare(planes, 1);
    const Rows domain = problem_.dark_outside ? Rows::frame : Rows::all;
    const Rows observed = problem_.extended ? Rows::all : Rows::frame;
    const bool repeats = !progress && options.iterations <= kMostRecorded;
    for (const auto& plane : planes)  // the largest is made room for first: later planes ask for nothing
      RunRoom<T>(images_, problem_.grid, domain, options.acceleration, observed == Rows::all,
                 problem_.psf_shape, static_cast<bool>(plane.view.weights));
    if (progress && std::any_of(planes.begin(), planes.end(), [](const auto& p) { return !p.out_on_device; }))
      estimate_.require(estimate_size());
    const Findings all = findings(planes.size(), true);
    const bool one_job = look_at_all(planes, all, true);
    pipeline_.run(planes, problem_.grid.frame, all.any, [&](std::size_t first, const auto& mine) {
      if (one_job && mine.size() > 1) look_at_job(mine, all, true);
      for (std::size_t i = 0; i < mine.size(); ++i) {
        const PlaneView<T>& plane = mine[i].view;
        const auto index = static_cast<std::int64_t>(first + i);
        const RunRoom<T> room(images_, problem_.grid, domain, options.acceleration, observed == Rows::all,
                              problem_.psf_shape, static_cast<bool>(plane.weights));
        const Findings own = of_plane(all, first + i);
        Replay::Key key = key_of(plane, 'r');
        key.add(own.own).add(own.any).add(options.iterations).add(options.acceleration);
        key.add(options.background).add(options.sigma).add(measured);
        queue(key, repeats, [&](auto& engine) {
          run_plane(engine, room, plane, domain, observed, options, measured, own, all, [&](auto& run) {
            RichardsonLucyOptions mine_options = options;
            mine_options.goes_on = nullptr;
            if (progress) {
              throw_if_bad(planes.size(), all);
              run.tell();
              mine_options.goes_on = [&](std::int64_t done, double change) {
                const bool goes_on =
                    progress(index, done, change, [&](MutableImageView<T> view, bool on_device) {
                      const auto entered = runtime_->enter();
                      copy_estimate(run, view, on_device, all);
                    });
                runtime_->stay();
                return goes_on;
              };
            } else if (!(repeats && is_small())) {
              mine_options.goes_on = [&](std::int64_t, double) {
                poll();
                return true;
              };
            }
            return mine_options;
          });
        });
        poll();
      }
    });
    call.finish(planes, all, true);
  }

  PassKind kind() const { return passes_.kind(); }

  static double bytes(const Problem<T>& problem, const Limits& limits, PassKind wanted, bool richardson_lucy,
                      Acceleration acceleration, bool weights, bool many_planes) {
    const Grid& g = problem.grid;
    double spectrum = 0;
    double total = PassPlan<T, Launcher>::bytes(g, limits, wanted, spectrum);
    const bool several = many_planes && problem.psf_count == 1 && !richardson_lucy &&
                         PassPlan<T, Launcher>::is_fused(g, limits, wanted);
    total += spectrum *
             (static_cast<double>(several ? kMostTogether : 1) + static_cast<double>(problem.psf_count));
    const auto pixels = [](const std::array<std::int64_t, 3>& n) {
      return static_cast<double>(n[0]) * static_cast<double>(n[1]) * static_cast<double>(n[2]) * sizeof(T);
    };
    total += pixels(problem.psf_shape) * static_cast<double>(problem.psf_count);
    if (richardson_lucy) {
      const bool whole = !problem.dark_outside;
      const double image =
          pixels({whole ? g.full[0] : g.frame[0], whole ? g.full[1] : g.frame[1], g.full[2]});
      const int images = acceleration == Acceleration::none ? 1 : acceleration == Acceleration::ogm ? 2 : 3;
      total += image * images;
      if (weights) {
        total += image;
      } else if (!problem.extended) {
        double outer = 1, inner = 1;
        for (std::size_t a = 0; a < 2; ++a) {
          outer *= static_cast<double>(whole ? g.full[a] : g.frame[a]);
          inner *= static_cast<double>(std::max<std::int64_t>(0, g.frame[a] - problem.psf_shape[a] + 1));
        }
        total += (outer - std::max(inner - 1, 0.0)) * static_cast<double>(g.full[2]) * sizeof(T);
      }
    }
    // What arrays in host memory travel through: in and out, for as many planes as are under way.
    return total + pixels(g.frame) * (weights ? 3 : 2) * (many_planes ? 3 : 1);
  }

 private:
  // One call: on which stream, and that what it began has ended when it fails.
  class Call {
   public:
    Call(DeviceDeconvolver& d, const std::vector<LocatedPlane<T>>& planes, Stream stream)
        : d_(d), entered_(d.runtime_->enter()) {
      bool given = false;
      for (const auto& p : planes)
        given = given || p.image_on_device || p.out_on_device || p.weights_on_device || p.init_on_device;
      if (given) d.runtime_->check_stream(stream);
      stream_ = given ? stream : d.own_.get();
      if (d.started_) d.runtime_->wait(stream_, d.done_.get());
      d.arena_.set_stream(stream_);
      d.looked_ = false;
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      if (finished_) return;
      try {
        d_.runtime_->stay();
      } catch (...) {
      }
      d_.pipeline_.stop();
      try {
        d_.runtime_->synchronize(stream_);
      } catch (...) {
      }
    }

    void finish(const std::vector<LocatedPlane<T>>& planes, const Findings& all, bool positive) {
      d_.runtime_->record(d_.done_.get(), stream_);
      d_.started_ = true;
      bool doubt = false;
      for (const auto& p : planes)
        doubt = doubt || can_be_bad(p.view.image.element, positive) || p.view.weights;
      if (doubt) d_.throw_if_bad(planes.size(), all);
      finished_ = true;
    }

   private:
    DeviceDeconvolver& d_;
    std::shared_ptr<void> entered_;
    Stream stream_ = nullptr;
    bool finished_ = false;
  };

  static bool can_be_bad(Element element, bool positive) {
    switch (element) {
      case Element::u8:
      case Element::u16:
      case Element::u32:
      case Element::u64:
        return false;
      case Element::f32:
      case Element::f64:
        return true;
      default:
        return positive;
    }
  }

  // Planes that passes work on at once, at most: the channels of an image.
  static constexpr std::size_t kMostTogether = 4;

  // Planes from one on that differ by a constant distance in memory only.
  struct Alike {
    std::size_t count = 1;
    std::int64_t image_step = 0, out_step = 0;  // bytes
  };
  static Alike alike(const std::vector<LocatedPlane<T>>& planes, std::size_t first, std::size_t most) {
    const auto bytes = [](const void* to, const void* from) {
      return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(to) -
                                       reinterpret_cast<std::intptr_t>(from));
    };
    Alike group;
    const PlaneView<T>& a = planes[first].view;
    for (std::size_t k = first + 1; k < planes.size() && group.count < most; ++k, ++group.count) {
      const PlaneView<T>& b = planes[k].view;
      const std::int64_t image = bytes(b.image.data, planes[k - 1].view.image.data),
                         out = bytes(b.out.data, planes[k - 1].view.out.data);
      if (k == first + 1) {
        group.image_step = image;
        group.out_step = out;
      }
      if (a.weights || b.weights || a.psf != b.psf || a.image.element != b.image.element ||
          a.image.stride != b.image.stride || a.out.stride != b.out.stride || image != group.image_step ||
          out != group.out_step)
        break;
    }
    if (group.count == 1) group.image_step = group.out_step = 0;
    return group;
  }

  // together: planes that are worked on at once, at most.
  Findings wiener_of(const std::vector<LocatedPlane<T>>& planes, const WienerOptions<T>& options,
                     std::size_t together, const std::function<void()>& poll) {
    prepare(planes, together);
    const RegPower<T> reg = reg_power(options);
    const Findings all = findings(planes.size(), false);
    const bool one_job = look_at_all(planes, all, false);
    pipeline_.run(planes, problem_.grid.frame, all.any, [&](std::size_t first, const auto& mine) {
      const bool at_once =
          alike(mine, 0, together_).count == planes.size();  // looked at before any is written
      if (one_job && !at_once) look_at_job(mine, all, false);
      for (std::size_t i = 0; i < mine.size();) {
        const PlaneView<T>& plane = mine[i].view;
        const Alike group = alike(mine, i, together_);
        const Findings own = of_plane(all, first + i);
        Replay::Key key = key_of(plane, 'w').add(own.own).add(own.any).add(reg.kind).add(options.balance);
        key.add(group.count).add(group.image_step).add(group.out_step);
        queue(
            key, true,
            [&](auto& engine) {
              const Rows occupied = problem_.dark_outside ? Rows::frame : Rows::all;
              const WienerFilter<T> filter{options.balance, removed_power<T>,
                                           T(1.0 / problem_.grid.pixels())};
              const CheckedSource<T> source{data_.reader(plane.image, {}, group.image_step), own, limit_};
              Writer<T> out = writer(plane.out, all);
              out.plane_step = group.out_step;
              fastdeblur::wiener(engine, spectrum_.data(), occupied, source, otf(plane),
                                 RegularizedFilter<T>{filter, reg}, WriteSink<T>{out}, [&] {
                                   if (at_once && !is_small()) all_looked_at();
                                 });
            },
            static_cast<int>(group.count));
        poll();
        i += group.count;
      }
    });
    return all;
  }

  // Of all runs of planes that could be worked on at once, the longest, as far as there is use for it.
  std::size_t most_together(const std::vector<LocatedPlane<T>>& planes) const {
    std::size_t most = 1;
    for (std::size_t first = 0, end; first < planes.size(); first = end) {
      end = Pipeline<T>::job_end(planes, first, problem_.grid.frame);
      for (std::size_t i = first, count; i < end; i += count) {
        count = alike(planes, i, std::min(kMostTogether, end - i)).count;
        most = std::max(most, count);
      }
    }
    return passes_.kind() == PassKind::fused ? most : 1;
  }

  // Memory and transfer functions, for so many planes at once.
  void prepare(const std::vector<LocatedPlane<T>>& planes, std::size_t together) {
    passes_.prepare();
    together_ = together;
    spectrum_.require(static_cast<std::int64_t>(together) * passes_.spectrum_size());
    if (!prepared_) {
      data_.upload(problem_.data_maps, problem_.grid);
      init_.upload(problem_.init_maps, problem_.grid);
      psfs_.upload(problem_.psfs.data(), static_cast<std::int64_t>(problem_.psfs.size()));
      prepared_ = true;
    }
    const auto& shape = problem_.psf_shape;
    for (const auto& plane : planes) {
      auto& [memory, ready] = otfs_[static_cast<std::size_t>(plane.view.psf)];
      if (ready) continue;
      memory.require(passes_.spectrum_size());
      RunSource<T> source;
      source.psf.kernel = psfs_.data() + plane.view.psf * shape[0] * shape[1] * shape[2];
      for (std::size_t a = 0; a < 3; ++a) {
        source.psf.shape[a] = static_cast<int>(shape[a]);
        source.psf.full[a] = static_cast<int>(problem_.grid.full[a]);
      }
      passes_.with_engine(arena_.stream(), [&](auto& engine) {
        engine.rows_forward(spectrum_.data(), Rows::all, source);
        engine.store_otf(spectrum_.data(), memory.data());
      });
      ready = true;
    }
  }

  Complex<T>* otf(const PlaneView<T>& plane) {
    return otfs_[static_cast<std::size_t>(plane.psf)].memory.data();
  }

  RegPower<T> reg_power(const WienerOptions<T>& options) {
    const Grid& g = problem_.grid;
    RegPower<T> reg;
    reg.middle = static_cast<int>(g.full[1]);
    reg.half = static_cast<int>(g.half());
    if (options.reg == WienerOptions<T>::laplacian) {
      reg.kind = RegPower<T>::laplacian;
      if (!tables_ready_) {
        std::vector<T> tables;
        for (std::size_t a = 0; a < 3; ++a)
          for (std::int64_t k = 0; k < (a == 2 ? g.half() : g.full[a]); ++k)
            tables.push_back(T(2 - 2 * std::cos(2 * std::numbers::pi * static_cast<double>(k) /
                                                static_cast<double>(g.full[a]))));
        tables_.upload(tables.data(), static_cast<std::int64_t>(tables.size()));
        tables_ready_ = true;
      }
      reg.table[0] = tables_.data();
      reg.table[1] = reg.table[0] + g.full[0];
      reg.table[2] = reg.table[1] + g.full[1];
    } else if (options.reg == WienerOptions<T>::power) {
      reg.kind = RegPower<T>::power;
      reg.values = power_.upload(options.power_values, g.rows() * g.half());
    }
    return reg;
  }

  // Flags, all of them 0: one for each plane, then one for the call.
  Findings findings(std::size_t planes, bool positive) {
    const auto count = static_cast<std::int64_t>(planes) + 1;
    int* flags = flags_.require(count);
    // All that there may be no memory for is asked for before anything is written.
    found_.require(count * static_cast<std::int64_t>(sizeof(int)));
    side_.get();
    looked_at_.get();
    runtime_->clear(flags, static_cast<std::size_t>(count) * sizeof(int), arena_.stream());
    const int relevant = static_cast<int>(Bad::not_finite) | (positive ? static_cast<int>(Bad::negative) : 0);
    return {flags, flags + planes, relevant};
  }
  static Findings of_plane(Findings all, std::size_t plane) {
    all.own += plane;
    return all;
  }

  // From here on nothing new will be found.
  void all_looked_at() {
    runtime_->record(looked_at_.get(), arena_.stream());
    looked_ = true;
  }

  // Waits until all images have been looked at: for the passes that do it, if it is known which, else for all
  // that is queued.
  void throw_if_bad(std::size_t planes, const Findings& all) {
    Stream stream = arena_.stream();
    if (looked_) {
      stream = side_.get();
      runtime_->wait(stream, looked_at_.get());
    }
    const std::size_t bytes = (planes + 1) * sizeof(int);
    char* found = found_.data();
    runtime_->copy(found, all.own, bytes, stream);
    runtime_->synchronize(stream);
    const int* flags = reinterpret_cast<const int*>(found);
    if (!flags[planes]) return;
    for (std::size_t i = 0; i < planes; ++i)
      if (flags[i]) throw BadImage{static_cast<std::int64_t>(i), static_cast<Bad>(flags[i])};
  }

  // A call that restores several images writes none of them if one is bad: they are looked at before, or here
  // said to be one job, which looks at its own on the device. (What is worked on at once is looked at while
  // it is first used, before anything is written.)
  bool look_at_all(const std::vector<LocatedPlane<T>>& planes, const Findings& all, bool positive) {
    if (Pipeline<T>::is_one_job(planes, problem_.grid.frame)) return true;
    for (std::size_t i = 0; i < planes.size(); ++i) {
      const LocatedPlane<T>& p = planes[i];
      if (!can_be_bad(p.view.image.element, positive) && !p.view.weights) continue;
      if (p.image_on_device && (p.weights_on_device || !p.view.weights)) {
        scan(p.view, {}, of_plane(all, i));
      } else if (!p.image_on_device && !p.weights_on_device) {
        if (const std::size_t channels = good_channels(planes, i, all)) {
          i += channels - 1;
          continue;
        }
        const Bad bad = look_at_host(p.view.image, p.view.weights, problem_.grid.frame, limit_);
        const int found = static_cast<int>(bad) & all.relevant;
        if (found) throw BadImage{static_cast<std::int64_t>(i), static_cast<Bad>(found)};
      } else {
        throw std::invalid_argument("weights: expected them in the same memory as the image");
      }
    }
    all_looked_at();
    return false;
  }
  // How many planes from the first on are the channels of an image in host memory that lie side by side, if
  // all are good: looked at in one go, instead of one by one in strides.
  std::size_t good_channels(const std::vector<LocatedPlane<T>>& planes, std::size_t first,
                            const Findings& all) const {
    ImageView flat = planes[first].view.image;
    const std::int64_t size = bytes_of(flat.element);
    if (flat.stride[2] % size != 0 || flat.stride[2] <= size) return 0;
    const auto channels = static_cast<std::size_t>(flat.stride[2] / size);
    const Alike group = alike(planes, first, channels);
    if (group.count != channels || group.image_step != size) return 0;
    for (std::size_t k = first; k < first + channels; ++k)
      if (planes[k].image_on_device) return 0;
    Shape wide = problem_.grid.frame;
    wide[2] *= static_cast<std::int64_t>(channels);
    flat.stride[2] = size;
    return static_cast<int>(look_at_host(flat, ImageView{}, wide, limit_)) & all.relevant ? 0 : channels;
  }
  // All of its arrays are on the device.
  void look_at_job(const std::vector<LocatedPlane<T>>& planes, const Findings& all, bool positive) {
    for (std::size_t i = 0; i < planes.size();) {
      const Alike group = alike(planes, i, planes.size());
      const PlaneView<T>& p = planes[i].view;
      if (can_be_bad(p.image.element, positive) || p.weights) scan(p, group, of_plane(all, i));
      i += group.count;
    }
    all_looked_at();
  }
  void scan(const PlaneView<T>& p, const Alike& group, const Findings& own) {
    const CheckedSource<T> source{data_.reader(p.image, p.weights, group.image_step), own, limit_};
    passes_.with_engine(arena_.stream(), [&](auto& engine) {
      engine.scan(Rows::frame, LookAtAll<T>{source, static_cast<int>(group.count)});
    });
  }

  Writer<T> writer(const MutableImageView<T>& out, const Findings& all) const {
    const auto& frame = problem_.grid.frame;
    return {reinterpret_cast<char*>(out.data),
            {out.stride[0], out.stride[1], out.stride[2]},
            {static_cast<int>(frame[0]), static_cast<int>(frame[1]), static_cast<int>(frame[2])},
            all.any};
  }

  // Below this many grid pixels a pass is shorter than its launch.
  static constexpr double kSmall = 1 << 20;
  // A longer run is no graph of a reasonable size, and is to hear Ctrl-C.
  static constexpr std::int64_t kMostRecorded = 200;
  bool is_small() const { return problem_.grid.pixels() < kSmall; }

  // f(engine), from a graph where it is small and repeats.
  template <class F>
  void queue(const Replay::Key& key, bool can_repeat, F f, int planes = 1) {
    if (can_repeat && is_small())
      replay_.run(key, arena_, [&](Stream stream) { passes_.with_engine(stream, f, planes); });
    else
      passes_.with_engine(arena_.stream(), f, planes);
  }

  static Replay::Key key_of(const PlaneView<T>& plane, char method) {
    Replay::Key key;
    key.add(method).add(plane.psf).add(plane.out.data);
    for (const std::ptrdiff_t s : plane.out.stride) key.add(s);
    for (const ImageView* view : {&plane.image, &plane.weights, &plane.init}) {
      key.add(view->data).add(view->element);
      for (const std::ptrdiff_t s : view->stride) key.add(s);
    }
    return key;
  }

  // options(run) is asked once the data have been looked at.
  template <class Engine, class Options>
  void run_plane(Engine& engine, const RunRoom<T>& room, const PlaneView<T>& plane, Rows domain,
                 Rows observed, const RichardsonLucyOptions& given, bool measured, const Findings& own,
                 const Findings& all, Options options) {
    const Reader<T> weights = data_.reader(plane.weights);
    DeviceRun<T, Engine> run(engine, *runtime_, room, domain, data_.reader(plane.image, plane.weights),
                             measured, given.background, given.sigma);
    run.look(own, limit_);
    const RichardsonLucyOptions mine = options(run);
    run.normalize(spectrum_.data(), observed, otf(plane), plane.weights ? &weights : nullptr);
    run.start(init_.reader(plane.init));
    const bool uniform = !plane.init && domain == Rows::all;
    fastdeblur::richardson_lucy(engine, spectrum_.data(), run, domain, observed, otf(plane), MulOtf<T>{},
                                MulConjOtf<T>{}, uniform, mine);
    run.write(writer(plane.out, all));
  }

  std::int64_t estimate_size() const {
    const auto& n = problem_.grid.frame;
    return n[0] * n[1] * n[2];
  }
  template <class Run>
  void copy_estimate(Run& run, const MutableImageView<T>& view, bool on_device, const Findings& all) {
    if (on_device) {  // whoever asked may look at it on any stream
      run.write(writer(view, all));
      runtime_->synchronize(arena_.stream());
      return;
    }
    const auto& n = problem_.grid.frame;
    constexpr auto e = static_cast<std::ptrdiff_t>(sizeof(T));
    const std::int64_t size = estimate_size();
    const MutableImageView<T> packed{
        estimate_.require(size),
        {static_cast<std::ptrdiff_t>(n[1] * n[2]) * e, static_cast<std::ptrdiff_t>(n[2]) * e, e}};
    run.write(writer(packed, all));
    std::vector<T> host(static_cast<std::size_t>(size));
    runtime_->copy(host.data(), packed.data, host.size() * sizeof(T), arena_.stream());
    runtime_->synchronize(arena_.stream());
    std::size_t i = 0;
    for (std::int64_t c = 0; c < n[0]; ++c)
      for (std::int64_t m = 0; m < n[1]; ++m)
        for (std::int64_t x = 0; x < n[2]; ++x)
          *reinterpret_cast<T*>(reinterpret_cast<char*>(view.data) + c * view.stride[0] + m * view.stride[1] +
                                x * view.stride[2]) = host[i++];
  }

  struct StoredOtf {
    Memory<Complex<T>> memory;
    bool ready = false;
    explicit StoredOtf(Arena& arena) : memory(arena) {}
  };

  // In the order of destruction, from the last: whatever holds memory goes before the arena.
  std::unique_ptr<Runtime> runtime_;
  std::shared_ptr<void> entered_;
  Launcher launcher_;
  Problem<T> problem_;
  T limit_ = 0;  // larger values could overflow in a transform's sums
  Arena arena_;
  OwnStream own_;
  OwnEvent done_;  // the last call's work
  OwnStream side_;
  OwnEvent looked_at_;  // all images of the call
  Pinned found_;
  std::size_t together_ = 1;
  bool one_at_a_time_ = false;  // there was no room for more
  bool looked_ = false, started_ = false, prepared_ = false, tables_ready_ = false;
  PassPlan<T, Launcher> passes_;
  Extensions<T> data_, init_;
  Memory<T> psfs_;
  Memory<Complex<T>> spectrum_;
  std::vector<StoredOtf> otfs_;
  Memory<int> flags_;
  Memory<T> tables_, power_, estimate_;
  RunMemory<T> images_;
  Pipeline<T> pipeline_;
  Replay replay_;
  std::mutex mutex_;
};

}  // namespace fastdeblur::cuda
