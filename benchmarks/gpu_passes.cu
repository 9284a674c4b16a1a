// The fused passes against a device copy and cuFFT, pass by pass and method by method, for a list of grids;
// and whether both compute the same. Prints JSON, with the commit that FASTDEBLUR_COMMIT names. Built with
// nvcc alone:
//
//     nvcc -O3 -std=c++20 -arch=native -Icsrc -o gpu_passes benchmarks/gpu_passes.cu -ldl
//     ./gpu_passes [--blocks N] [--grid 4096x1x4096]...
//
// --blocks: tiles so small that this many blocks (default 3) share a multiprocessor. cuFFT is looked for at
// run time (FASTDEBLUR_CUFFT names its file, if the loader does not find it); without it the fused passes are
// timed alone.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "core/functors.h"
#include "cuda/fft/passes.h"

namespace {

using namespace fastdeblur;
using cuda::Complex;

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorString(error));
  std::exit(1);
}

template <class T>
struct Memory {
  T* at = nullptr;
  explicit Memory(std::size_t n) { check(cudaMalloc(&at, std::max<std::size_t>(n, 1) * sizeof(T))); }
  ~Memory() { cudaFree(at); }
  Memory(const Memory&) = delete;
  void put(const std::vector<T>& v) {
    check(cudaMemcpy(at, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> get(std::size_t n) const {
    std::vector<T> v(n);
    check(cudaMemcpy(v.data(), at, n * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }
};

// --- programs ---

struct Shape {
  int m, x;
  FD_HD std::int64_t at(int c, int mm, int xx) const {
    return (static_cast<std::int64_t>(c) * m + mm) * x + xx;
  }
};

template <class T>
struct Read {
  const T* image;
  Shape shape;
  FD_HD T operator()(int c, int m, int x) const { return image[shape.at(c, m, x)]; }
};

template <class T>
struct Write {
  using Accumulator = cuda::Nothing;
  T* image;
  Shape shape;
  FD_HD void operator()(T v, int c, int m, int x, cuda::Nothing&) const { image[shape.at(c, m, x)] = v; }
};

template <class T>
struct KeepOtf {
  Complex<T>* otf;
  FD_HD void operator()(T& re, T& im, const cuda::Frequency& f) const { otf[f.at] = {re, im}; }
};

template <class T>
struct Wiener {
  const Complex<T>* otf;
  WienerFilter<T> filter;
  FD_HD void operator()(T& re, T& im, const cuda::Frequency& f) const {
    const Complex<T> h = otf[f.at];
    filter(re, im, h.re, h.im, T(1));
  }
};

template <class T, class F>
struct Multiply {
  const Complex<T>* otf;
  FD_HD void operator()(T& re, T& im, const cuda::Frequency& f) const {
    const Complex<T> h = otf[f.at];
    F{}(re, im, h.re, h.im);
  }
};

template <class T>
struct Ratio {
  using Accumulator = cuda::Nothing;
  const T* data;
  Shape shape;
  RlRatio<T> f;
  FD_HD T operator()(T v, int c, int m, int x, cuda::Nothing&) const { return f(v, data[shape.at(c, m, x)]); }
};

struct Change {
  double change = 0, size = 0;
  FD_HD void add(const Change& o) {
    change += o.change;
    size += o.size;
  }
};

template <class T>
struct Update {
  using Accumulator = Change;
  T* estimate;
  Shape shape;
  T scale;
  FD_HD T operator()(T v, int c, int m, int x, Change& sums) const {
    const std::int64_t at = shape.at(c, m, x);
    const T old = estimate[at], now = RlUpdate<T>{}(old, v, scale);
    estimate[at] = now;
    sums.change += double(now - old) * double(now - old);
    sums.size += double(now) * double(now);
    return now;
  }
};

// f(i) for all i < n: the pointwise kernels beside cuFFT.
template <class F>
__global__ void pointwise(std::int64_t n, F f) {
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    f(i);
}
template <class F>
void each(std::int64_t n, F f) {
  pointwise<<<static_cast<unsigned>(std::min<std::int64_t>((n + 255) / 256, 132 * 32)), 256>>>(n, f);
}

template <class T, class F>
struct Filter {
  Complex<T>* spectrum;
  F filter;
  FD_HD void operator()(std::int64_t i) const {
    Complex<T> v = spectrum[i];
    filter(v.re, v.im, cuda::Frequency{0, 0, 0, i});
    spectrum[i] = v;
  }
};

template <class T, class F>
struct InImage {
  T* values;
  F program;
  FD_HD void operator()(std::int64_t i) const {
    typename F::Accumulator sums{};
    values[i] = program(values[i], 0, 0, static_cast<int>(i), sums);
  }
};

// --- cuFFT, found at run time ---

struct Cufft {
  using Plan = int (*)(int*, int, int*, int*, int, int, int*, int, int, int, int);
  using Exec = int (*)(int, void*, void*);
  using Destroy = int (*)(int);
  Plan plan = nullptr;
  Exec r2c = nullptr, c2r = nullptr, d2z = nullptr, z2d = nullptr;
  Destroy destroy = nullptr;

  Cufft() {
    const char* named = std::getenv("FASTDEBLUR_CUFFT");
    void* library = named ? dlopen(named, RTLD_NOW) : nullptr;
    for (const char* name : {"libcufft.so.12", "libcufft.so.11", "libcufft.so"})
      if (!library) library = dlopen(name, RTLD_NOW);
    if (!library) return;
    plan = reinterpret_cast<Plan>(dlsym(library, "cufftPlanMany"));
    r2c = reinterpret_cast<Exec>(dlsym(library, "cufftExecR2C"));
    c2r = reinterpret_cast<Exec>(dlsym(library, "cufftExecC2R"));
    d2z = reinterpret_cast<Exec>(dlsym(library, "cufftExecD2Z"));
    z2d = reinterpret_cast<Exec>(dlsym(library, "cufftExecZ2D"));
    destroy = reinterpret_cast<Destroy>(dlsym(library, "cufftDestroy"));
  }
};

// --- timing: medians of interleaved rounds, microseconds a call ---

struct Timed {
  const char* name;
  std::function<void()> call;
  int calls = 1;
  std::vector<double> micros{};
};

double time_once(const std::function<void()>& call, int calls) {
  cudaEvent_t begin, end;
  check(cudaEventCreate(&begin));
  check(cudaEventCreate(&end));
  check(cudaEventRecord(begin));
  for (int i = 0; i < calls; ++i) call();
  check(cudaEventRecord(end));
  check(cudaEventSynchronize(end));
  float ms = 0;
  check(cudaEventElapsedTime(&ms, begin, end));
  check(cudaEventDestroy(begin));
  check(cudaEventDestroy(end));
  return 1e3 * static_cast<double>(ms) / calls;
}

void measure(std::vector<Timed>& all, int rounds) {
  for (Timed& t : all) {
    time_once(t.call, 2);
    t.calls = std::clamp(static_cast<int>(2000 / std::max(time_once(t.call, 1), 1.0)), 1, 200);
  }
  for (int round = 0; round < rounds; ++round)
    for (std::size_t i = 0; i < all.size(); ++i) {
      Timed& t = all[round % 2 ? all.size() - 1 - i : i];
      t.micros.push_back(time_once(t.call, t.calls));
    }
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
}

template <class T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
  double difference = 0, power = 1e-300;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = double(a[i]) - double(b[i]);
    difference += d * d;
    power += double(b[i]) * double(b[i]);
  }
  const double far = std::sqrt(difference / power);
  return std::isfinite(far) ? far : 1e300;
}

bool first_case = true;
int wrong = 0;

template <class T>
void run(const Grid& g, const cuda::Limits& limits, const Cufft& cufft) {
  std::printf("%s\n    {\"type\": \"%s\", \"grid\": [%lld, %lld, %lld], ", first_case ? "" : ",",
              sizeof(T) == 4 ? "float32" : "float64", static_cast<long long>(g.full[0]),
              static_cast<long long>(g.full[1]), static_cast<long long>(g.full[2]));
  first_case = false;
  if (!cuda::FusedPlan<T>::can(g, limits)) {
    std::printf("\"covered\": false}");
    return;
  }
  const auto pixels = static_cast<std::size_t>(g.pixels());
  const Shape shape{static_cast<int>(g.full[1]), static_cast<int>(g.full[2])};
  cuda::FusedPlan<T> plan(g, limits);
  const auto size = static_cast<std::size_t>(plan.spectrum_size());
  const auto half = static_cast<std::size_t>(g.rows() * g.half());

  Memory<Complex<T>> roots(plan.tables().roots.size()), spectrum(size), otf(size);
  Memory<std::int32_t> orders(plan.tables().orders.size());
  Memory<Change> parts(static_cast<std::size_t>(plan.row_blocks(Rows::all))), sums(1);
  Memory<T> image(pixels), kernel(pixels), out(pixels), estimate(pixels);
  roots.put(plan.tables().roots);
  orders.put(plan.tables().orders);
  plan.place(roots.at, orders.at);

  std::vector<T> scene(pixels), blur(pixels);
  double total = 0;
  const auto near = [](std::int64_t i, std::int64_t n) { return double(std::min(i, n - i)); };
  std::uint32_t random = 1;
  for (std::int64_t c = 0; c < g.full[0]; ++c)
    for (std::int64_t m = 0; m < g.full[1]; ++m)
      for (std::int64_t x = 0; x < g.full[2]; ++x) {
        const auto at = static_cast<std::size_t>((c * g.full[1] + m) * g.full[2] + x);
        random = random * 1664525u + 1013904223u;
        scene[at] = static_cast<T>(1 + double(random >> 8) / double(1 << 24));
        const double r = near(c, g.full[0]) * near(c, g.full[0]) + near(m, g.full[1]) * near(m, g.full[1]) +
                         near(x, g.full[2]) * near(x, g.full[2]);
        blur[at] = static_cast<T>(std::exp(-r / 8));
        total += double(blur[at]);
      }
  for (T& b : blur) b = static_cast<T>(double(b) / total);
  image.put(scene);
  kernel.put(blur);

  cuda::DeviceLauncher launcher(limits.block_shared);
  cuda::FusedPasses<T, cuda::DeviceLauncher> passes(plan, launcher, parts.at);
  const T scale = static_cast<T>(1 / g.pixels());
  Complex<T>* s = spectrum.at;
  const Wiener<T> wiener{otf.at, {T(1e-2), T(0), scale}};
  const Multiply<T, MulOtf<T>> forward{otf.at};
  const Multiply<T, MulConjOtf<T>> adjoint{otf.at};
  const Ratio<T> ratio{image.at, shape, {scale, T(0), T(1e-6)}};
  const Update<T> update{estimate.at, shape, scale};

  passes.rows_forward(nullptr, s, Rows::all, Read<T>{kernel.at, shape});
  passes.columns(nullptr, s, Rows::all, Rows::all, KeepOtf<T>{otf.at});
  const auto rows_forward = [&] { passes.rows_forward(nullptr, s, Rows::all, Read<T>{image.at, shape}); };
  const auto columns = [&] { passes.columns(nullptr, s, Rows::all, Rows::all, wiener); };
  const auto rows_inverse = [&] { passes.rows_inverse(nullptr, s, Rows::all, Write<T>{out.at, shape}); };
  const auto rows_ratio = [&] { passes.rows(nullptr, s, Rows::all, ratio); };
  const auto rows_update = [&] { passes.rows(nullptr, s, Rows::all, update, sums.at); };
  const auto iteration = [&] {
    passes.columns(nullptr, s, Rows::all, Rows::all, forward);
    rows_ratio();
    passes.columns(nullptr, s, Rows::all, Rows::all, adjoint);
    rows_update();
  };
  const auto fused_wiener = [&] {
    rows_forward();
    columns();
    rows_inverse();
  };
  const auto start = [&] {
    check(cudaMemcpy(estimate.at, image.at, pixels * sizeof(T), cudaMemcpyDeviceToDevice));
  };

  fused_wiener();
  check(cudaDeviceSynchronize());
  const std::vector<T> fused_result = out.get(pixels);
  start();
  passes.rows_forward(nullptr, s, Rows::all, Read<T>{image.at, shape});
  for (int i = 0; i < 3; ++i) iteration();
  check(cudaDeviceSynchronize());
  const std::vector<T> fused_estimate = estimate.get(pixels);
  const Change fused_sums = sums.get(1)[0];
  start();
  passes.rows_forward(nullptr, s, Rows::all, Read<T>{image.at, shape});
  for (int i = 0; i < 3; ++i) iteration();
  check(cudaDeviceSynchronize());
  const Change again = sums.get(1)[0];
  const bool repeats = fused_sums.change == again.change && fused_sums.size == again.size;

  std::vector<Timed> all{
      {"copy",
       [&] { check(cudaMemcpyAsync(out.at, image.at, pixels * sizeof(T), cudaMemcpyDeviceToDevice)); }},
      {"rows_forward", rows_forward},
      {"columns", columns},
      {"rows_inverse", rows_inverse},
      {"rows_ratio", rows_ratio},
      {"rows_update", rows_update},
      {"wiener", fused_wiener},
      {"richardson_lucy", iteration}};

  // cuFFT: the same with plain transforms and pointwise kernels, an image and a spectrum more in memory.
  double far = -1, far_estimate = -1;
  int forward_plan = 0, inverse_plan = 0;
  Memory<Complex<T>> plain(cufft.plan ? half : 0), plain_otf(cufft.plan ? half : 0);
  Memory<T> work(cufft.plan ? pixels : 0);
  if (cufft.plan) {
    std::vector<int> n;
    for (std::int64_t length : g.full)
      if (length > 1 || !n.empty()) n.push_back(static_cast<int>(length));
    if (g.full[1] == 1 && n.size() == 3) n.erase(n.begin() + 1);
    const auto make = [&](int& made, int type) {
      if (cufft.plan(&made, static_cast<int>(n.size()), n.data(), nullptr, 1, 0, nullptr, 1, 0, type, 1)) {
        std::fprintf(stderr, "cuFFT made no plan\n");
        std::exit(1);
      }
    };
    make(forward_plan, sizeof(T) == 4 ? 0x2a : 0x6a);
    make(inverse_plan, sizeof(T) == 4 ? 0x2c : 0x6c);
  }
  const auto to_spectrum = [&](T* from, Complex<T>* to) {
    (sizeof(T) == 4 ? cufft.r2c : cufft.d2z)(forward_plan, from, to);
  };
  const auto to_image = [&](T* to) { (sizeof(T) == 4 ? cufft.c2r : cufft.z2d)(inverse_plan, plain.at, to); };
  const auto frequencies = static_cast<std::int64_t>(half);
  const auto plain_wiener = [&] {
    to_spectrum(image.at, plain.at);
    each(frequencies, Filter<T, Wiener<T>>{plain.at, {plain_otf.at, wiener.filter}});
    to_image(work.at);
  };
  const auto plain_iteration = [&] {
    each(frequencies, Filter<T, Multiply<T, MulOtf<T>>>{plain.at, {plain_otf.at}});
    to_image(work.at);
    each(static_cast<std::int64_t>(pixels), InImage<T, Ratio<T>>{work.at, ratio});
    to_spectrum(work.at, plain.at);
    each(frequencies, Filter<T, Multiply<T, MulConjOtf<T>>>{plain.at, {plain_otf.at}});
    to_image(work.at);
    each(static_cast<std::int64_t>(pixels), InImage<T, Update<T>>{work.at, update});
    to_spectrum(work.at, plain.at);
  };
  if (cufft.plan) {
    to_spectrum(kernel.at, plain_otf.at);
    plain_wiener();
    check(cudaDeviceSynchronize());
    far = distance(fused_result, work.get(pixels));
    start();
    to_spectrum(image.at, plain.at);
    for (int i = 0; i < 3; ++i) plain_iteration();
    check(cudaDeviceSynchronize());
    far_estimate = distance(fused_estimate, estimate.get(pixels));
    all.push_back({"cufft_forward", [&] { to_spectrum(image.at, plain.at); }});
    all.push_back({"cufft_inverse", [&] { to_image(work.at); }});
    all.push_back({"cufft_wiener", plain_wiener});
    all.push_back({"cufft_richardson_lucy", plain_iteration});
  }
  const double limit = sizeof(T) == 4 ? 1e-4 : 1e-10;
  if (!repeats || far > limit || far_estimate > limit) ++wrong;
  measure(all, 8);
  check(cudaDeviceSynchronize());
  if (cufft.plan) {
    cufft.destroy(forward_plan);
    cufft.destroy(inverse_plan);
  }

  std::printf(
      "\"covered\": true, \"columns\": %d, \"rows\": %d, \"blocks\": [%lld, %lld], \"shared\": [%d, %d],",
      1 << plan.slabs(nullptr).log_width, 1 << plan.shape(nullptr, Rows::all).log_lines,
      static_cast<long long>(plan.column_geometry().blocks),
      static_cast<long long>(plan.row_geometry(Rows::all, 0).blocks), plan.column_geometry().shared,
      plan.row_geometry(Rows::all, 0).shared);
  std::printf("\n     \"repeats\": %s, \"wiener_error\": %.3g, \"richardson_lucy_error\": %.3g,",
              repeats ? "true" : "false", far, far_estimate);
  const double image_bytes = double(pixels) * sizeof(T), spectrum_bytes = double(half) * sizeof(Complex<T>);
  const double copied = 2 * image_bytes / median(all[0].micros) / 1e3;  // GB/s
  // What the passes move at least: image in, spectrum out; spectrum and transfer function in, spectrum out;
  // ...
  const double least_wiener = 2 * image_bytes + 5 * spectrum_bytes;
  const double least_iteration = 10 * spectrum_bytes + 3 * image_bytes;
  std::printf(
      " \"copy_gb_per_s\": %.0f, \"wiener_bound_us\": %.1f, \"richardson_lucy_bound_us\": %.1f,\n     "
      "\"us\": {",
      copied, least_wiener / copied / 1e3, least_iteration / copied / 1e3);
  for (std::size_t i = 0; i < all.size(); ++i)
    std::printf("%s\"%s\": %.2f", i ? ", " : "", all[i].name, median(all[i].micros));
  std::printf("}}");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<Grid> grids;
  int blocks = 3;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string option = arguments[i];
    long long c = 0, m = 0, x = 0;
    if (option == "--blocks") {
      blocks = std::max(1, std::atoi(arguments[i + 1]));
    } else if (option == "--grid" && std::sscanf(arguments[i + 1], "%lldx%lldx%lld", &c, &m, &x) == 3) {
      grids.push_back({{c, m, x}, {c, m, x}});
    } else {
      std::fprintf(stderr, "unknown option %s\n", arguments[i]);
      return 2;
    }
  }
  const bool all = grids.empty();
  if (all)
    for (const auto& full : {std::array<int64_t, 3>{256, 1, 256},
                             {512, 1, 512},
                             {1024, 1, 1024},
                             {1080, 1, 1920},
                             {1120, 1, 1944},
                             {1500, 1, 1536},
                             {2048, 1, 2048},
                             {2160, 1, 3840},
                             {2200, 1, 3888},
                             {3000, 1, 4000},
                             {4096, 1, 4096},
                             {4320, 1, 7680},
                             {8192, 1, 8192},
                             {64, 64, 64},
                             {128, 128, 128},
                             {256, 256, 256},
                             {280, 300, 320},
                             {100, 512, 512}})
      grids.push_back({full, full});

  cudaDeviceProp device;
  check(cudaGetDeviceProperties(&device, 0));
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver));
  check(cudaRuntimeGetVersion(&runtime));
  const int shared = static_cast<int>(device.sharedMemPerMultiprocessor) * 3 / blocks;
  const cuda::Limits limits{static_cast<int>(device.sharedMemPerBlockOptin), shared,
                            device.multiProcessorCount};
  const Cufft cufft;
  const char* commit = std::getenv("FASTDEBLUR_COMMIT");
  std::printf(
      "{\"device\": \"%s\", \"commit\": \"%s\", \"compute_capability\": [%d, %d], \"driver\": %d, "
      "\"runtime\": %d, \"cufft\": %s,\n",
      device.name, commit ? commit : "unknown", device.major, device.minor, driver, runtime,
      cufft.plan ? "true" : "false");
  std::printf(" \"blocks_per_multiprocessor\": %d, \"cases\": [", blocks);
  for (const Grid& g : grids) run<float>(g, limits, cufft);
  for (const Grid& g : grids)
    if (!all || g.pixels() == double(1 << 22) || g.pixels() == double(1 << 24)) run<double>(g, limits, cufft);
  std::printf("\n ]}\n");
  if (!cufft.plan) std::fprintf(stderr, "cuFFT was not found: nothing is compared with it\n");
  if (wrong) std::fprintf(stderr, "%d grids whose results do not repeat or are not cuFFT's\n", wrong);
  return wrong || !cufft.plan ? 1 : 0;
}
