// A device made of the host: every kernel is stepped, transforms are the core's own, and what is queued on a
// stream happens as late as it may, so that a missing wait between streams shows. Every call can be made to
// fail.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "cpu/fft.h"
#include "cuda/fft/complex.h"
#include "cuda/launch.h"
#include "cuda/runtime.h"

namespace fastdeblur::tests {

using cuda::Complex;
using cuda::Event;
using cuda::FftShape;
using cuda::Stream;

// In place, as a library does it: rows of x / 2 + 1 complex numbers for real data.
template <class T>
void transform(const FftShape& shape, void* memory, bool forward) {
  T* data = static_cast<T*>(memory);
  std::vector<std::int64_t> n = shape.lengths;
  std::int64_t rows = 1;
  for (std::size_t a = 0; a + 1 < n.size(); ++a) rows *= n[a];
  const std::int64_t x = n.back(), half = shape.real ? x / 2 + 1 : x;
  const auto real_rows = [&] {
    const RealFft<T, 1> fft(x);
    std::vector<T> a(static_cast<std::size_t>(x)), b(a),
        scratch(static_cast<std::size_t>(fft.scratch() + 64));
    for (std::int64_t r = 0; r < rows; ++r) {
      T* row = data + r * 2 * half;
      if (forward) {
        std::copy_n(row, x, a.data());
        const T* h = fft.exec(a.data(), b.data(), scratch.data(), true);
        for (std::int64_t k = 0; k < half; ++k) {
          row[2 * k] = k ? h[2 * k - 1] : h[0];
          row[2 * k + 1] = k && 2 * k != x ? h[2 * k] : T(0);
        }
      } else {
        for (std::int64_t k = 0; k < half; ++k) {
          a[static_cast<std::size_t>(k ? 2 * k - 1 : 0)] = row[2 * k];
          if (k && 2 * k != x) a[static_cast<std::size_t>(2 * k)] = row[2 * k + 1];
        }
        std::copy_n(fft.exec(a.data(), b.data(), scratch.data(), false), x, row);
      }
    }
  };
  if (shape.real && forward) real_rows();
  n.back() = half;
  for (std::size_t axis = 0; axis < n.size(); ++axis) {
    if (shape.real && axis + 1 == n.size()) continue;
    std::int64_t inner = 1, outer = 1;
    for (std::size_t a = axis + 1; a < n.size(); ++a) inner *= n[a];
    for (std::size_t a = 0; a < axis; ++a) outer *= n[a];
    const ComplexFft<T, 1> fft(n[axis]);
    std::vector<T> a(static_cast<std::size_t>(2 * n[axis])), b(a),
        scratch(static_cast<std::size_t>(fft.scratch() + 64));
    for (std::int64_t o = 0; o < outer; ++o)
      for (std::int64_t i = 0; i < inner; ++i) {
        T* line = data + 2 * (o * n[axis] * inner + i);
        for (std::int64_t k = 0; k < n[axis]; ++k) std::copy_n(line + 2 * k * inner, 2, a.data() + 2 * k);
        const T* done = fft.exec(a.data(), b.data(), scratch.data(), forward);
        for (std::int64_t k = 0; k < n[axis]; ++k) std::copy_n(done + 2 * k, 2, line + 2 * k * inner);
      }
  }
  if (shape.real && !forward) real_rows();
}

// What outlives a runtime, and what a test asks for.
struct Device {
  std::size_t live = 0, events = 0, streams = 0;  // things that nobody has given back
  std::int64_t calls = 0;                         // that may fail
  std::int64_t fail_at = -1;
  bool lazy = true;
  cuda::Limits limits{227 << 10, 228 << 10, 8};
  std::int64_t graphs = 0, transforms = 0;
  bool here = true;           // whether it is the current one
  bool fails_graphs = false;  // to be launched
  std::int64_t allocations = 0, fail_allocation = -1;

  bool idle() const { return live == 0 && events == 0 && streams == 0; }
};

class HostRuntime final : public cuda::Runtime {
 public:
  explicit HostRuntime(Device& device) : device_(device) {}
  ~HostRuntime() override {
    for (std::size_t i = 0; i < operations_.size(); ++i) perform(i);
  }

  cuda::Limits limits() const override { return device_.limits; }

  void* allocate(std::size_t bytes, Stream) override {
    if (fails() || device_.allocations++ == device_.fail_allocation) throw cuda::OutOfDeviceMemory(bytes, 0);
    return make(bytes);
  }
  void release(void* memory, Stream stream) noexcept override {
    queue(stream, [this, memory] { unmake(memory); });
  }
  void* allocate_pinned(std::size_t bytes) override {
    fail_or_go();
    if (device_.allocations++ == device_.fail_allocation) throw cuda::DeviceFailure("no pinned memory");
    return make(bytes);
  }
  void release_pinned(void* memory) noexcept override { unmake(memory); }

  void copy(void* to, const void* from, std::size_t bytes, Stream stream) override {
    fail_or_go();
    queue(stream, [to, from, bytes] { std::memmove(to, from, bytes); });
    // Pageable memory: the call returns when it may be changed.
    if (!mine(to) || !mine(from)) {
      if (capturing_) throw std::logic_error("a copy from or to pageable memory is recorded");
      drain(stream);
    }
  }
  void clear(void* memory, std::size_t bytes, Stream stream) override {
    fail_or_go();
    queue(stream, [memory, bytes] { std::memset(memory, 0, bytes); });
  }

  Stream make_stream() override {
    fail_or_go();
    ++device_.streams;
    return reinterpret_cast<Stream>(++names_);
  }
  void destroy_stream(Stream) noexcept override { --device_.streams; }
  void synchronize(Stream stream) override {
    if (capturing_) throw std::logic_error("waiting while recording");
    fail_or_go();
    drain(stream);
  }
  Event make_event() override {
    fail_or_go();
    ++device_.events;
    return reinterpret_cast<Event>(++names_);
  }
  void destroy_event(Event) noexcept override { --device_.events; }
  void record(Event event, Stream stream) override {
    fail_or_go();
    recorded_[event] =
        last_.count(stream) ? std::vector<std::size_t>{last_[stream]} : std::vector<std::size_t>{};
  }
  void wait(Stream stream, Event event) override {
    fail_or_go();
    queue(stream, [] {});
    auto& after = operations_.back().after;
    after.insert(after.end(), recorded_[event].begin(), recorded_[event].end());
    if (!device_.lazy) perform(operations_.size() - 1);
  }
  void synchronize_event(Event event) override {
    fail_or_go();
    for (const std::size_t i : recorded_[event]) perform(i);
  }

  std::shared_ptr<cuda::FftPlan> fft(const FftShape& shape) override {
    fail_or_go();
    struct Plan final : cuda::FftPlan {
      Plan(HostRuntime& r, const FftShape& s) : runtime(r), form(s) {}
      std::size_t workspace() const override { return 48; }
      void execute(void* data, bool forward, void* workspace, Stream stream) override {
        runtime.fail_or_go();
        ++runtime.device_.transforms;
        runtime.queue(stream, [s = form, data, forward, workspace] {
          std::memset(workspace, 0x55, 48);
          if (s.is_double)
            transform<double>(s, data, forward);
          else
            transform<float>(s, data, forward);
        });
      }
      HostRuntime& runtime;
      FftShape form;
    };
    return std::make_shared<Plan>(*this, shape);
  }

  void begin_capture(Stream stream) override {
    fail_or_go();
    capturing_ = stream;
    captured_.clear();
  }
  std::unique_ptr<cuda::Graph> end_capture(Stream) override {
    capturing_ = nullptr;
    fail_or_go();
    struct Recorded final : cuda::Graph {
      HostRuntime* runtime;
      std::vector<std::function<void()>> work;
      void launch(Stream stream) override {
        runtime->fail_or_go();
        if (runtime->device_.fails_graphs) throw cuda::DeviceFailure("no graph is launched");
        ++runtime->device_.graphs;
        for (const auto& w : work) runtime->queue(stream, w);
      }
    };
    auto graph = std::make_unique<Recorded>();
    graph->runtime = this;
    graph->work = std::move(captured_);
    return graph;
  }
  void abandon_capture(Stream) noexcept override { capturing_ = nullptr; }

  std::shared_ptr<void> enter() override {
    struct Guard {
      Device& device;
      bool before;
      ~Guard() { device.here = before; }
    };
    const auto guard = std::shared_ptr<Guard>(new Guard{device_, device_.here});
    device_.here = true;
    return guard;
  }
  void stay() override {
    fail_or_go();
    device_.here = true;
  }
  void check_stream(Stream stream) override {
    if (stream == foreign()) throw std::invalid_argument("stream: expected one of this device");
  }
  static Stream foreign() { return reinterpret_cast<Stream>(std::uintptr_t(0xdead)); }

  // Work on a stream, which happens when somebody waits for it.
  void queue(Stream stream, std::function<void()> work) {
    if (!device_.here) throw std::logic_error("work on another device");
    if (capturing_) {
      if (stream != capturing_) throw std::logic_error("work on another stream while recording");
      captured_.push_back(std::move(work));
      return;
    }
    Operation operation{std::move(work), {}, false};
    if (last_.count(stream)) operation.after.push_back(last_[stream]);
    operations_.push_back(std::move(operation));
    last_[stream] = operations_.size() - 1;
    if (!device_.lazy) perform(operations_.size() - 1);
  }
  void fail_or_go() {
    if (fails()) throw cuda::DeviceFailure("made to fail");
  }

 private:
  struct Operation {
    std::function<void()> work;
    std::vector<std::size_t> after;
    bool done;
  };

  bool fails() { return device_.calls++ == device_.fail_at; }
  void perform(std::size_t i) {
    std::vector<std::size_t> todo{i};
    while (!todo.empty()) {
      const std::size_t at = todo.back();
      if (operations_[at].done) {
        todo.pop_back();
        continue;
      }
      bool ready = true;
      for (const std::size_t before : operations_[at].after)
        if (!operations_[before].done) {
          todo.push_back(before);
          ready = false;
        }
      if (!ready) continue;
      operations_[at].done = true;
      operations_[at].work();
      operations_[at].work = nullptr;
      todo.pop_back();
    }
  }
  void drain(Stream stream) {
    if (last_.count(stream)) perform(last_[stream]);
  }
  void* make(std::size_t bytes) {
    void* memory = std::malloc(bytes ? bytes : 1);
    std::memset(memory, 0xff, bytes);
    owned_[static_cast<char*>(memory)] = bytes;
    ++device_.live;
    return memory;
  }
  void unmake(void* memory) {
    owned_.erase(static_cast<char*>(memory));
    std::free(memory);
    --device_.live;
  }
  bool mine(const void* memory) const {
    const char* at = static_cast<const char*>(memory);
    auto it = owned_.upper_bound(const_cast<char*>(at));
    if (it == owned_.begin()) return false;
    --it;
    return at < it->first + it->second;
  }

  Device& device_;
  std::uintptr_t names_ = 0x1000;
  std::vector<Operation> operations_;
  std::map<Stream, std::size_t> last_;
  std::map<Event, std::vector<std::size_t>> recorded_;
  std::map<char*, std::size_t> owned_;
  Stream capturing_ = nullptr;
  std::vector<std::function<void()>> captured_;
};

// Steps kernels when their stream comes to them.
class QueuedLauncher {
 public:
  explicit QueuedLauncher(HostRuntime& runtime) : runtime_(&runtime) {}

  template <class Kernel>
  void launch(Stream stream, const Kernel& kernel, const cuda::Geometry& geometry) {
    runtime_->fail_or_go();
    runtime_->queue(stream, [kernel, geometry] {
      cuda::HostLauncher launcher(cuda::HostLauncher::Order::shuffled, 3);
      launcher.launch(nullptr, kernel, geometry);
    });
  }

 private:
  HostRuntime* runtime_;
};

}  // namespace fastdeblur::tests
