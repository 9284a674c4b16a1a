// The runtime on a CUDA device.
#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <list>
#include <map>
#include <mutex>
#include <unordered_map>

#include "cuda/cufft_library.h"
#include "cuda/device.h"
#include "cuda/why_not.h"

namespace fastdeblur::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // not for others to find
  throw DeviceFailure(std::string(cudaGetErrorString(error)) + " (" + what + ")");
}

// Of calls that nobody could do anything about.
void forget(cudaError_t error) noexcept {
  if (error != cudaSuccess) cudaGetLastError();
}

struct DeviceBytes {
  std::size_t free = 0, total = 0;
};
DeviceBytes bytes_of_device() {
  DeviceBytes bytes;
  if (cudaMemGetInfo(&bytes.free, &bytes.total) != cudaSuccess) cudaGetLastError();
  return bytes;
}
std::size_t free_bytes() { return bytes_of_device().free; }

[[noreturn]] void out_of_memory(std::size_t asked) {
  cudaGetLastError();
  throw OutOfDeviceMemory(asked, free_bytes());
}

class DeviceGuard {
 public:
  explicit DeviceGuard(int device) {
    check(cudaGetDevice(&before_), "device");
    if (before_ != device) check(cudaSetDevice(device), "device");
    changed_ = before_ != device;
  }
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;
  ~DeviceGuard() {
    if (changed_) forget(cudaSetDevice(before_));
  }

 private:
  int before_ = 0;
  bool changed_ = false;
};

// --- memory ---

std::mutex pools_mutex;
std::map<int, cudaMemPool_t> pools;  // for as long as the process
std::shared_ptr<const Allocator> other_pool;

// One that keeps what it has been given, so that the next call need not ask the driver.
cudaMemPool_t pool_of(int device) {
  const std::lock_guard<std::mutex> lock(pools_mutex);
  const auto found = pools.find(device);
  if (found != pools.end()) return found->second;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool = nullptr;
  check(cudaMemPoolCreate(&pool, &properties), "memory pool");
  std::uint64_t keep = ~std::uint64_t(0);
  const cudaError_t error = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);
  if (error != cudaSuccess) {
    forget(cudaMemPoolDestroy(pool));
    check(error, "memory pool");
  }
  pools[device] = pool;
  return pool;
}

void forget_unused_plans(int device);

// What our own pool holds and nobody uses.
void give_back(int device) {
  cudaMemPool_t pool = nullptr;
  {
    const std::lock_guard<std::mutex> lock(pools_mutex);
    const auto found = pools.find(device);
    if (found == pools.end()) return;
    pool = found->second;
  }
  const DeviceGuard guard(device);
  check(cudaDeviceSynchronize(), "memory");  // what is given back counts once its stream has come to it
  check(cudaMemPoolTrimTo(pool, 0), "memory");
}

// The same where memory is short, with the transforms that nobody uses, and what cannot be had is said next:
// a wait that another thread's recording forbids is none of the caller's concern.
void spare(int device) {
  try {
    const DeviceGuard guard(device);
    check(cudaDeviceSynchronize(), "memory");  // a plan that is gone may have left work for its transforms
    forget_unused_plans(device);
    give_back(device);
  } catch (const DeviceFailure&) {
  }
}

// --- transforms ---

constexpr int kR2C = 0x2a, kC2R = 0x2c, kC2C = 0x29, kD2Z = 0x6a, kZ2D = 0x6c, kZ2Z = 0x69;
constexpr int kForward = -1, kInverse = 1;

constexpr int kAllocFailed = 2;

void check_cufft(int result) {
  if (result != 0) throw DeviceFailure(cufft_error(result));
}

// One handle. Its stream and work area are set for each use, under a lock: plans of one shape share it.
class Handle {
 public:
  Handle(const CufftLibrary& library, const FftShape& shape, int type) : library_(library) {
    check_cufft(library.create(&handle_));
    try {
      check_cufft(library.set_auto_allocation(handle_, 0));
      std::vector<long long> n(shape.lengths.begin(), shape.lengths.end());
      // In place: rows of real numbers are as long as their half spectra.
      std::vector<long long> real = n, complex = n;
      const bool forward = type == kR2C || type == kD2Z;
      if (shape.real) {
        complex.back() = n.back() / 2 + 1;
        real.back() = 2 * complex.back();
      }
      const auto product = [](const std::vector<long long>& v) {
        long long p = 1;
        for (const long long x : v) p *= x;
        return p;
      };
      const std::size_t bytes = static_cast<std::size_t>(product(complex)) * (shape.is_double ? 16 : 8);
      // What cuFFT says of frames that no device holds is not always that.
      const std::size_t total = bytes_of_device().total;
      if (total > 0 && bytes > total) out_of_memory(bytes);
      std::vector<long long>&in = forward ? real : complex, &out = forward ? complex : real;
      const int result =
          library.make_plan_many_64(handle_, static_cast<int>(n.size()), n.data(), in.data(), 1, product(in),
                                    out.data(), 1, product(out), type, 1, &workspace_);
      // It does not say how much it wanted: tables, which for the worst of lengths are as large as the data.
      if (result == kAllocFailed) out_of_memory(bytes);
      check_cufft(result);
    } catch (...) {
      library.destroy(handle_);
      throw;
    }
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() { library_.destroy(handle_); }

  std::size_t workspace() const { return workspace_; }

  template <class F>
  void use(void* workspace, Stream stream, F f) {
    const std::lock_guard<std::mutex> lock(mutex_);
    check_cufft(library_.set_stream(handle_, stream));
    // Also where it needs none: without automatic allocation a handle wants to be told.
    check_cufft(library_.set_work_area(handle_, workspace));
    check_cufft(f(library_, handle_));
  }

 private:
  const CufftLibrary& library_;
  int handle_ = 0;
  std::size_t workspace_ = 0;
  std::mutex mutex_;
};

class CufftPlan final : public FftPlan {
 public:
  CufftPlan(int device, const CufftLibrary& library, const FftShape& shape) : device_(device), shape_(shape) {
    if (shape.real) {
      forward_ = std::make_unique<Handle>(library, shape, shape.is_double ? kD2Z : kR2C);
      inverse_ = std::make_unique<Handle>(library, shape, shape.is_double ? kZ2D : kC2R);
    } else {
      forward_ = std::make_unique<Handle>(library, shape, shape.is_double ? kZ2Z : kC2C);
    }
  }
  ~CufftPlan() override {  // wherever the last who used it is
    try {
      const DeviceGuard guard(device_);
      forward_.reset();
      inverse_.reset();
    } catch (const DeviceFailure&) {
    }
  }
  std::size_t workspace() const override {
    return std::max(forward_->workspace(), inverse_ ? inverse_->workspace() : 0);
  }
  void execute(void* data, bool forward, void* workspace, Stream stream) override {
    Handle& handle = shape_.real && !forward ? *inverse_ : *forward_;
    handle.use(workspace, stream, [&](const CufftLibrary& l, int h) {
      const int direction = forward ? kForward : kInverse;
      if (!shape_.real)
        return shape_.is_double ? l.exec_z2z(h, data, data, direction) : l.exec_c2c(h, data, data, direction);
      if (forward)
        return shape_.is_double ? l.exec_d2z(h, static_cast<double*>(data), data)
                                : l.exec_r2c(h, static_cast<float*>(data), data);
      return shape_.is_double ? l.exec_z2d(h, data, static_cast<double*>(data))
                              : l.exec_c2r(h, data, static_cast<float*>(data));
    });
  }

 private:
  int device_;
  FftShape shape_;
  std::unique_ptr<Handle> forward_, inverse_;
};

// Plans take long to make and little memory to keep: the last few shapes stay.
struct CachedPlan {
  int device;
  FftShape shape;
  std::shared_ptr<FftPlan> plan;
};
constexpr std::size_t kMostPlans = 32;
std::mutex plans_mutex;
std::list<CachedPlan>& plans() {
  static auto* kept = new std::list<CachedPlan>;  // never destroyed: the driver may have gone before
  return *kept;
}

void forget_unused_plans(int device) {
  std::list<CachedPlan> unused;  // which go without the lock
  const std::lock_guard<std::mutex> lock(plans_mutex);
  auto& kept = plans();
  for (auto it = kept.begin(); it != kept.end();) {
    const auto next = std::next(it);
    if (it->device == device && it->plan.use_count() == 1) unused.splice(unused.begin(), kept, it);
    it = next;
  }
}

std::shared_ptr<FftPlan> known_plan(int device, const FftShape& shape) {
  const std::lock_guard<std::mutex> lock(plans_mutex);
  auto& kept = plans();
  for (auto it = kept.begin(); it != kept.end(); ++it)
    if (it->device == device && it->shape == shape) {
      kept.splice(kept.begin(), kept, it);
      return it->plan;
    }
  return nullptr;
}

// Two threads that ask for a shape at once make it twice, and one is kept: nobody waits for another's device.
std::shared_ptr<FftPlan> cufft_plan(int device, const FftShape& shape) {
  if (std::shared_ptr<FftPlan> known = known_plan(device, shape)) return known;
  std::string reason;
  const CufftLibrary* library = cufft_library(&reason);
  if (!library) throw DeviceFailure(reason);
  std::shared_ptr<FftPlan> plan;
  try {
    plan = std::make_shared<CufftPlan>(device, *library, shape);
  } catch (
      const OutOfDeviceMemory&) {  // cuFFT asks the driver, which does not know what our pool could spare
    spare(device);
    plan = std::make_shared<CufftPlan>(device, *library, shape);
  }
  std::list<CachedPlan> last;  // goes without the lock
  const std::lock_guard<std::mutex> lock(plans_mutex);
  auto& kept = plans();
  for (const CachedPlan& other : kept)
    if (other.device == device && other.shape == shape) return other.plan;
  kept.push_front({device, shape, plan});
  if (kept.size() > kMostPlans) last.splice(last.begin(), kept, std::prev(kept.end()));
  return plan;
}

// --- graphs ---

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraph_t recorded) {
    const cudaError_t error = cudaGraphInstantiate(&executable_, recorded, 0);
    forget(cudaGraphDestroy(recorded));
    check(error, "graph");
  }
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph() override { forget(cudaGraphExecDestroy(executable_)); }
  void launch(Stream stream) override {
    check(cudaGraphLaunch(executable_, static_cast<cudaStream_t>(stream)), "graph");
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
};

cudaStream_t as_stream(Stream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t as_event(Event event) { return static_cast<cudaEvent_t>(event); }

class DeviceRuntime final : public Runtime {
 public:
  explicit DeviceRuntime(int device) : device_(device), limits_(limits_of(device)) {
    const DeviceGuard guard(device);
    check(cudaFree(nullptr), "device");  // makes its context
  }

  Limits limits() const override { return limits_; }

  void* allocate(std::size_t bytes, Stream stream) override {
    std::shared_ptr<const Allocator> other;
    {
      const std::lock_guard<std::mutex> lock(pools_mutex);
      other = other_pool;
    }
    if (other) {
      void* memory = other->allocate(bytes, device_, stream);
      if (!memory) {
        spare(device_);  // our own pool may hold what this one lacks
        memory = other->allocate(bytes, device_, stream);
      }
      if (!memory) out_of_memory(bytes);
      try {
        borrowed_.emplace(memory, Borrowed{other, stream});
      } catch (...) {
        other->release(memory, device_, stream);
        throw;
      }
      return memory;
    }
    const cudaMemPool_t pool = pool_of(device_);
    void* memory = nullptr;
    cudaError_t error = cudaMallocFromPoolAsync(&memory, bytes, pool, as_stream(stream));
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      spare(device_);  // that may be enough
      error = cudaMallocFromPoolAsync(&memory, bytes, pool, as_stream(stream));
    }
    if (error == cudaErrorMemoryAllocation) out_of_memory(bytes);
    check(error, "memory");
    return memory;
  }

  void release(void* memory, Stream stream) noexcept override {
    const auto found = borrowed_.find(memory);
    if (found == borrowed_.end()) {
      forget(cudaFreeAsync(memory, as_stream(stream)));
      return;
    }
    const Borrowed from = found->second;
    borrowed_.erase(found);
    // Such pools give memory out again in the order of the stream that it was asked for on.
    if (from.stream != stream) forget(cudaStreamSynchronize(as_stream(stream)));
    try {
      from.allocator->release(memory, device_, stream);
    } catch (...) {  // nobody can do anything about it
    }
  }

  void* allocate_pinned(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t error = cudaHostAlloc(&memory, std::max<std::size_t>(bytes, 1), cudaHostAllocDefault);
    if (error == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      throw std::bad_alloc();  // the host's, not the device's
    }
    check(error, "pinned host memory");
    return memory;
  }
  void release_pinned(void* memory) noexcept override { forget(cudaFreeHost(memory)); }

  void copy(void* to, const void* from, std::size_t bytes, Stream stream) override {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, as_stream(stream)), "copy");
  }
  void clear(void* memory, std::size_t bytes, Stream stream) override {
    check(cudaMemsetAsync(memory, 0, bytes, as_stream(stream)), "clear");
  }

  Stream make_stream() override {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    return stream;
  }
  void destroy_stream(Stream stream) noexcept override { forget(cudaStreamDestroy(as_stream(stream))); }
  void synchronize(Stream stream) override { check(cudaStreamSynchronize(as_stream(stream)), "computation"); }
  Event make_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    return event;
  }
  void destroy_event(Event event) noexcept override { forget(cudaEventDestroy(as_event(event))); }
  void record(Event event, Stream stream) override {
    check(cudaEventRecord(as_event(event), as_stream(stream)), "event");
  }
  void wait(Stream stream, Event event) override {
    check(cudaStreamWaitEvent(as_stream(stream), as_event(event), 0), "event");
  }
  void synchronize_event(Event event) override {
    check(cudaEventSynchronize(as_event(event)), "computation");
  }

  std::shared_ptr<FftPlan> fft(const FftShape& shape) override { return cufft_plan(device_, shape); }

  void begin_capture(Stream stream) override {
    check(cudaStreamBeginCapture(as_stream(stream), cudaStreamCaptureModeThreadLocal), "graph");
  }
  std::unique_ptr<Graph> end_capture(Stream stream) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(as_stream(stream), &graph), "graph");
    return std::make_unique<CudaGraph>(graph);
  }
  void abandon_capture(Stream stream) noexcept override {
    cudaGraph_t graph = nullptr;
    const cudaError_t error = cudaStreamEndCapture(as_stream(stream), &graph);
    forget(error);
    if (error == cudaSuccess && graph) forget(cudaGraphDestroy(graph));
  }

  std::shared_ptr<void> enter() override { return std::make_shared<DeviceGuard>(device_); }
  void stay() override { check(cudaSetDevice(device_), "device"); }

  void check_stream(Stream stream) override {
    if (reinterpret_cast<std::uintptr_t>(stream) <= 2) return;  // the default streams
    int device = -1;
    const cudaError_t error = cudaStreamGetDevice(as_stream(stream), &device);
    if (error != cudaSuccess) {
      cudaGetLastError();
      if (error == cudaErrorCallRequiresNewerDriver) return;  // older ones do not say
      throw std::invalid_argument(std::string("stream: expected one that exists, got ") +
                                  cudaGetErrorString(error));
    }
    if (device != device_)
      throw std::invalid_argument("stream: expected one of cuda:" + std::to_string(device_) +
                                  ", got one of cuda:" + std::to_string(device));
  }

 private:
  int device_;
  Limits limits_;
  struct Borrowed {
    std::shared_ptr<const Allocator> allocator;
    Stream stream;
  };
  std::unordered_map<void*, Borrowed> borrowed_;
};

}  // namespace

std::unique_ptr<Runtime> make_runtime(int device) {
  if (const std::string reason = why_not(device); !reason.empty()) throw DeviceFailure(reason);
  return std::make_unique<DeviceRuntime>(device);
}

Limits limits_of(int device) {
  const auto attribute = [&](cudaDeviceAttr which, int otherwise) {
    int value = 0;
    if (cudaDeviceGetAttribute(&value, which, device) == cudaSuccess) return value;
    cudaGetLastError();
    return otherwise;
  };
  return {attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10),
          attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10),
          attribute(cudaDevAttrMultiProcessorCount, 132)};
}

void set_allocator(std::shared_ptr<const Allocator> allocator) {
  const std::lock_guard<std::mutex> lock(pools_mutex);
  other_pool = std::move(allocator);
}

void release_pool(int device) { give_back(device); }

void synchronize(int device, Stream stream) {
  const DeviceGuard guard(device);
  check(cudaStreamSynchronize(as_stream(stream)), "computation");
}

namespace {

MachineSeen look() {
  MachineSeen seen;
  seen.runtime = CUDART_VERSION;
  seen.lowest = FASTDEBLUR_CUDA_LOWEST;
  seen.no_cufft = [] {
    std::string reason;
    cufft_library(&reason);
    return reason;
  };
  if (cudaDriverGetVersion(&seen.driver) != cudaSuccess) {
    cudaGetLastError();
    seen.driver = 0;
  }
  if (seen.driver == 0) return seen;
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    cudaGetLastError();
    count = 0;
    seen.error = cudaGetErrorString(error);
    seen.answer = error == cudaErrorInsufficientDriver ? MachineSeen::old_driver
                  : error == cudaErrorNoDevice         ? MachineSeen::no_device
                                                       : MachineSeen::broken;
  }
  for (int device = 0; device < count; ++device) {
    const auto attribute = [&](cudaDeviceAttr which) {
      int value = 0;
      if (cudaDeviceGetAttribute(&value, which, device) != cudaSuccess) cudaGetLastError();
      return value;
    };
    seen.devices.push_back({attribute(cudaDevAttrComputeCapabilityMajor),
                            attribute(cudaDevAttrComputeCapabilityMinor),
                            attribute(cudaDevAttrMemoryPoolsSupported) != 0});
  }
  return seen;
}

}  // namespace

std::string why_not() { return why_not(look()); }
std::string why_not(int device) { return why_not(look(), device); }

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}

std::vector<DeviceInfo> devices() {
  std::vector<DeviceInfo> found;
  const int count = device_count();
  int driver = 0, runtime = 0;
  if (count == 0) return found;
  cudaDriverGetVersion(&driver);
  cudaRuntimeGetVersion(&runtime);
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) {
      cudaGetLastError();
      continue;
    }
    DeviceInfo info;
    info.index = i;
    info.name = properties.name;
    info.major = properties.major;
    info.minor = properties.minor;
    info.total = properties.totalGlobalMem;
    info.driver = driver;
    info.runtime = runtime;
    try {
      const DeviceGuard guard(i);
      info.free = free_bytes();
    } catch (const DeviceFailure&) {  // busy with somebody who wants it alone: the rest is known
    }
    found.push_back(info);
  }
  return found;
}

}  // namespace fastdeblur::cuda
