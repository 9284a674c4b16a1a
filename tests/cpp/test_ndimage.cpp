// ndimage's kernels on the smallest and oddest arrays against plain loops; meant to be run under the
// sanitizers too.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "ndimage/correlate.h"
#include "ndimage/fourier.h"
#include "ndimage/median.h"
#include "ndimage/rows.h"
#include "ndimage/separable.h"

namespace {

using fastdeblur::Element;
using namespace fastdeblur::ndimage;
using Shape = std::vector<int64_t>;

constexpr Mode kModes[] = {Mode::nearest, Mode::wrap, Mode::reflect, Mode::mirror, Mode::constant};
constexpr double kConstant = 1.5;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

int64_t count(const Shape& shape) {
  int64_t n = 1;
  for (const auto length : shape) n *= length;
  return n;
}

Shape unravel(int64_t index, const Shape& shape) {
  Shape result(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    result[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return result;
}

// Walks back and forth one step at a time, unlike the library's remainders.
int64_t walk(int64_t i, int64_t n, Mode mode) {
  if (mode == Mode::constant) return i < 0 || i >= n ? -1 : i;
  if (mode == Mode::nearest) return std::clamp<int64_t>(i, 0, n - 1);
  while (i < 0 || i >= n) {
    if (mode == Mode::wrap) {
      i += i < 0 ? n : -n;
    } else if (n == 1) {
      i = 0;
    } else {
      const int64_t edge = mode == Mode::reflect ? 1 : 0;
      i = i < 0 ? -i - edge : 2 * (n - 1) + edge - i;
    }
  }
  return i;
}

template <class T>
T at(const std::vector<T>& array, const Shape& shape, const Shape& index, Mode mode, T constant) {
  int64_t offset = 0;
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    const int64_t i = walk(index[axis], shape[axis], mode);
    if (i < 0) return constant;
    offset = offset * shape[axis] + i;
  }
  return array[static_cast<std::size_t>(offset)];
}

template <class T>
std::vector<T> random_array(int64_t n, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (auto& value : values) value = static_cast<T>(static_cast<int>(generator() % 2001) - 1000) / T(4);
  return values;
}

bool close_to(const std::vector<double>& a, const std::vector<double>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(std::fabs(a[i] - b[i]) <= 1e-9 * (1.0 + std::fabs(b[i])))) return false;
  return a.size() == b.size();
}

struct Window {
  Shape shape, kernel;
};

const Window kWindows[] = {
    {{1}, {1}},
    {{1}, {5}},
    {{2}, {7}},
    {{67}, {4}},
    {{2300}, {9}},
    {{1, 1}, {3, 3}},
    {{2, 3}, {5, 2}},
    {{7, 13}, {3, 5}},
    {{37, 530}, {5, 5}},
    {{150, 17}, {4, 1}},
    {{5, 64}, {1, 7}},
    {{3, 4, 5}, {3, 2, 3}},
    {{2, 9, 70}, {1, 3, 3}},
    {{2, 3, 4, 5}, {2, 2, 2, 3}},
};

void test_correlate() {
  for (const auto& window : kWindows) {
    const auto input = random_array<double>(count(window.shape), 1);
    auto weights = random_array<double>(count(window.kernel), 2);
    for (const bool sparse : {false, true}) {
      if (sparse) weights[weights.size() / 2] = 0.0;
      for (const Mode mode : kModes) {
        // Once of input's shape, once larger, as signal's full convolution is.
        for (const int64_t more : {0, 3}) {
          Shape out_shape = window.shape, start = window.kernel;
          for (auto& length : out_shape) length += more;
          for (auto& first : start) first = -(first / 2) - more / 2;
          std::vector<double> expected(static_cast<std::size_t>(count(out_shape)));
          for (int64_t o = 0; o < count(out_shape); ++o) {
            double sum = 0.0;
            for (int64_t k = 0; k < count(window.kernel); ++k) {
              Shape index = unravel(o, out_shape);
              const Shape tap = unravel(k, window.kernel);
              for (std::size_t axis = 0; axis < index.size(); ++axis) index[axis] += start[axis] + tap[axis];
              sum += weights[static_cast<std::size_t>(k)] * at(input, window.shape, index, mode, kConstant);
            }
            expected[static_cast<std::size_t>(o)] = sum;
          }
          for (const auto arithmetic : {Arithmetic::exact, Arithmetic::fused}) {
            std::vector<double> out(expected.size(), -1.0);
            correlate({input.data(), Element::f64, window.shape, weights.data(), window.kernel, out.data(),
                       Element::f64, out_shape, start, mode, kConstant, arithmetic, 3});
            require(close_to(out, expected), "correlate: equal to the plain loop");
          }
        }
      }
    }
  }
}

void test_modular() {
  const Shape shape = {9, 75}, kernel = {3, 2};
  std::vector<std::int32_t> input(static_cast<std::size_t>(count(shape)));
  std::mt19937 generator(3);
  for (auto& value : input) value = static_cast<std::int32_t>(generator());
  std::vector<std::uint64_t> weights = {~0ull, 3, 1ull << 40, 5, ~0ull - 8, 12345678901234567ull};
  std::vector<std::int64_t> out(input.size()), expected(input.size());
  std::vector<std::int32_t> narrow(input.size());
  for (int64_t o = 0; o < count(shape); ++o) {
    std::uint64_t sum = 0;
    for (int64_t k = 0; k < count(kernel); ++k) {
      Shape index = unravel(o, shape);
      const Shape tap = unravel(k, kernel);
      for (std::size_t axis = 0; axis < 2; ++axis) index[axis] += tap[axis] - 1;
      sum +=
          weights[static_cast<std::size_t>(k)] *
          static_cast<std::uint64_t>(std::int64_t(at(input, shape, index, Mode::constant, std::int32_t(0))));
    }
    expected[static_cast<std::size_t>(o)] = static_cast<std::int64_t>(sum);
  }
  correlate({input.data(),
             Element::i32,
             shape,
             weights.data(),
             kernel,
             out.data(),
             Element::i64,
             shape,
             {-1, -1},
             Mode::constant,
             0.0,
             Arithmetic::modular,
             2});
  correlate({input.data(),
             Element::i32,
             shape,
             weights.data(),
             kernel,
             narrow.data(),
             Element::i32,
             shape,
             {-1, -1},
             Mode::constant,
             0.0,
             Arithmetic::modular,
             2});
  require(out == expected, "correlate: integers modulo 2^64");
  for (std::size_t i = 0; i < out.size(); ++i)
    require(narrow[i] == static_cast<std::int32_t>(expected[i]), "correlate: integers modulo 2^32");
}

// Along axis 1 of (planes, height, width) for the vertical kernel, along axis 2 for the horizontal one.
std::vector<double> along(const std::vector<double>& input, const Shape& shape, const LineKernel& kernel,
                          std::size_t axis) {
  std::vector<double> out(input.size());
  for (int64_t o = 0; o < count(shape); ++o) {
    double sum = 0.0;
    for (int64_t k = 0; k < kernel.taps; ++k) {
      Shape index = unravel(o, shape);
      index[axis] += kernel.start + k;
      const double weight = kernel.weights ? kernel.weights[k] : 1.0 / static_cast<double>(kernel.taps);
      sum += weight * at(input, shape, index, kernel.mode, kConstant);
    }
    out[static_cast<std::size_t>(o)] = sum;
  }
  return out;
}

void test_separable() {
  const double any[] = {1.0, -2.5, 3.0, 0.25}, even[] = {0.5, 2.0, -1.0, 2.0, 0.5},
               odd[] = {-1.0, -2.0, 0.0, 2.0, 1.0}, one[] = {2.0};
  const auto lengthy = random_array<double>(203, 8);
  const LineKernel kernels[] = {{any, 4, -1, Mode::wrap},        {even, 5, -2, Mode::constant},
                                {odd, 5, -3, Mode::mirror},      {one, 1, 0, Mode::nearest},
                                {nullptr, 7, -3, Mode::reflect}, {nullptr, 4, -2, Mode::constant},
                                {nullptr, 1, 0, Mode::reflect}};
  // Longer than the images, or quite beyond them.
  const LineKernel lengthy_kernels[] = {{lengthy.data(), 203, -190, Mode::reflect},
                                        {nullptr, 160, -100, Mode::mirror},
                                        {nullptr, 150, 9, Mode::constant},
                                        {any, 4, 1000, Mode::nearest},
                                        {any, 4, -1000, Mode::wrap}};
  const Shape shapes[] = {{1, 1, 1},    {1, 2, 3},  {2, 5, 7},  {1, 67, 13},
                          {1, 3, 1100}, {3, 1, 64}, {1, 150, 2}};
  constexpr double unlimited = std::numeric_limits<double>::infinity();
  for (const auto& shape : shapes) {
    const auto input = random_array<double>(count(shape), 4);
    std::vector<double> out(input.size());
    const auto run = [&](const LineKernel& down, const LineKernel& across, bool across_first, double limit) {
      return separable({input.data(), Element::f64, out.data(), Element::f64, shape[0], shape[1], shape[2],
                        down, across, across_first, false, kConstant, limit, 3});
    };
    for (const auto& kernel : lengthy_kernels) {
      if (count(shape) > 1000) continue;
      require(run(kernel, {}, false, unlimited), "separable: no limit");
      require(close_to(out, along(input, shape, kernel, 1)), "separable: far down the columns");
      require(run({}, kernel, false, unlimited), "separable: no limit");
      require(close_to(out, along(input, shape, kernel, 2)), "separable: far along the rows");
      require(run(kernel, kernels[1], true, unlimited), "separable: no limit");
      require(close_to(out, along(along(input, shape, kernels[1], 2), shape, kernel, 1)),
              "separable: rows, then far down the columns");
    }
    for (const auto& down : kernels) {
      require(run(down, {}, false, unlimited), "separable: no limit");
      require(close_to(out, along(input, shape, down, 1)), "separable: down the columns");
      require(run({}, down, false, unlimited), "separable: no limit");
      require(close_to(out, along(input, shape, down, 2)), "separable: along the rows");
      for (const auto& across : kernels) {
        require(run(down, across, false, 1e6), "separable: within the limit");
        require(close_to(out, along(along(input, shape, down, 1), shape, across, 2)),
                "separable: columns, then rows");
        require(run(down, across, true, 1e6), "separable: within the limit");
        require(close_to(out, along(along(input, shape, across, 2), shape, down, 1)),
                "separable: rows, then columns");
      }
    }
    auto once = out;
    require(separable({input.data(),
                       Element::f64,
                       out.data(),
                       Element::f64,
                       shape[0],
                       shape[1],
                       shape[2],
                       {},
                       kernels[0],
                       false,
                       true,
                       kConstant,
                       unlimited,
                       1}),
            "separable: no limit");
    const auto added = along(input, shape, kernels[0], 2);
    for (std::size_t i = 0; i < once.size(); ++i) once[i] += added[i];
    require(close_to(out, once), "separable: accumulated");
    auto spoilt = input;
    spoilt.back() = std::numeric_limits<double>::quiet_NaN();
    require(!separable({spoilt.data(), Element::f64, out.data(), Element::f64, shape[0], shape[1], shape[2],
                        kernels[4], kernels[4], false, false, kConstant, 1e300, 3}),
            "separable: a NaN is beyond every limit");
  }
}

// The elements of a row far beyond both its ends, and of parts of it that do not meet the row at all.
void test_extension() {
  for (const int64_t width : {1, 2, 3, 10}) {
    const auto values = random_array<double>(width, 7);
    const Row row{reinterpret_cast<const char*>(values.data()), Element::f64, width};
    for (const Mode mode : kModes) {
      for (int64_t begin = -35; begin < 35; begin += 3) {
        for (const int64_t n : {0, 1, 4, 70}) {
          std::vector<double> out(static_cast<std::size_t>(n));
          load_row(row, mode, kConstant, begin, begin + n, out.data());
          for (int64_t i = 0; i < n; ++i)
            require(out[static_cast<std::size_t>(i)] == at(values, {width}, {begin + i}, mode, kConstant),
                    "load_row: equal to the walk");
        }
      }
    }
  }
}

// Cut towards 0, the least number for what a 32- or 64-bit register does not hold, then its low bits.
template <class T>
void test_conversion(Element element, double bound) {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<double> values = {
      0.0, -0.9, 1.9,  -1.9,  127.5, 128.0, 255.0, 256.0, -129.0, 65535.9, -32769.0, 2e9,    -2e9, 3e9,  -3e9,
      5e9, -5e9, 1e15, -1e15, 9e18,  -9e18, 1e19,  -1e19, 2e19,   -2e19,   1e300,    -1e300, inf,  -inf, nan};
  const auto n = static_cast<int64_t>(values.size());
  std::vector<T> stored(values.size()), added(values.size(), T(1));
  store_row(values.data(), n, element, reinterpret_cast<char*>(stored.data()));
  add_row(values.data(), n, element, reinterpret_cast<char*>(added.data()));
  auto rounded = values;
  round_row(rounded.data(), n, element);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double v = values[i];
    T expected;
    if (std::is_same_v<T, std::uint64_t> && v >= 0x1p63) {
      expected = v < 0x1p64 ? static_cast<T>(v) : T(0);
    } else {
      const bool fits = v >= -bound && v < bound;
      expected = static_cast<T>(fits ? static_cast<int64_t>(v) : static_cast<int64_t>(-bound));
    }
    require(stored[i] == expected, "store_row: as x86 converts");
    require(added[i] == static_cast<T>(static_cast<std::uint64_t>(expected) + 1), "add_row: modulo 2^bits");
    require(rounded[i] == static_cast<double>(expected), "round_row: what store_row stores");
  }
}

template <class T>
void test_median(Element element) {
  const Window windows[] = {
      {{1}, {3}},
      {{11}, {5}},
      {{2000}, {7}},
      {{2, 3}, {3, 3}},
      {{37, 131}, {3, 3}},
      {{9, 300}, {5, 5}},
      {{20, 40}, {7, 7}},
      {{5, 6}, {3, 5}},
      {{8, 9}, {9, 1}},
      {{4, 5, 6}, {3, 3, 3}},
      {{3, 4, 5}, {1, 3, 3}},
      {{6, 7, 8}, {5, 5, 5}},
  };
  for (const auto& window : windows) {
    std::vector<T> input(static_cast<std::size_t>(count(window.shape)));
    std::mt19937 generator(5);
    for (auto& value : input)
      value = static_cast<T>(static_cast<std::int64_t>(generator()) - (std::int64_t(1) << 31));
    const T constant = T(3);
    for (const Mode mode : kModes) {
      Shape start = window.kernel;
      for (auto& first : start) first = -(first / 2);
      start.back() = 0;
      std::vector<T> out(input.size()), expected(input.size());
      for (int64_t o = 0; o < count(window.shape); ++o) {
        std::vector<T> values;
        for (int64_t k = 0; k < count(window.kernel); ++k) {
          Shape index = unravel(o, window.shape);
          const Shape tap = unravel(k, window.kernel);
          for (std::size_t axis = 0; axis < index.size(); ++axis) index[axis] += start[axis] + tap[axis];
          values.push_back(at(input, window.shape, index, mode, constant));
        }
        std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2),
                         values.end());
        expected[static_cast<std::size_t>(o)] = values[values.size() / 2];
      }
      require(
          median({input.data(), out.data(), element, window.shape, window.kernel, start, mode, &constant, 3}),
          "median: no NaN");
      require(out == expected, "median: equal to the plain loop");
    }
  }
}

void test_median_of_nan() {
  std::vector<float> input(60, 1.0f), out(60);
  input[59] = std::numeric_limits<float>::quiet_NaN();
  const float constant = 0.0f;
  require(
      !median({input.data(), out.data(), Element::f32, {6, 10}, {3, 3}, {-1, -1}, Mode::wrap, &constant, 2}),
      "median: a NaN is told");
  require(
      !median({input.data(), out.data(), Element::f32, {6, 10}, {7, 7}, {-3, -3}, Mode::wrap, &constant, 2}),
      "median: a NaN is told before windows are large");
}

void test_fourier() {
  const Shape shape = {3, 1, 50};
  const auto input = random_array<double>(2 * count(shape), 6);
  std::vector<std::vector<double>> tables;
  Factors factors{shape, {}};
  for (const auto length : shape)
    tables.push_back(random_array<double>(2 * length, static_cast<std::uint32_t>(length)));
  for (const auto& table : tables) factors.tables.push_back(table.data());
  std::vector<double> out(input.size()), expected(input.size()), real(input.size() / 2),
      expected_real(real.size());
  for (int64_t o = 0; o < count(shape); ++o) {
    const Shape index = unravel(o, shape);
    std::complex<double> factor = 1.0;
    double scale = 1.0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
      const auto i = static_cast<std::size_t>(index[axis]);
      factor *= std::complex<double>(tables[axis][2 * i], tables[axis][2 * i + 1]);
      scale *= tables[axis][i];
    }
    const auto i = static_cast<std::size_t>(o);
    const auto value = factor * std::complex<double>(input[2 * i], input[2 * i + 1]);
    expected[2 * i] = value.real();
    expected[2 * i + 1] = value.imag();
    expected_real[i] = scale * input[i];
  }
  fourier_rotate(input.data(), Element::f64, false, out.data(), Element::f64, factors, 2);
  require(close_to(out, expected), "fourier: complex factors");
  fourier_scale(input.data(), real.data(), Element::f64, factors, 2);
  require(close_to(real, expected_real), "fourier: real factors");
}

}  // namespace

int main() {
  test_correlate();
  test_modular();
  test_separable();
  test_extension();
  test_conversion<std::int8_t>(Element::i8, 0x1p31);
  test_conversion<std::uint8_t>(Element::u8, 0x1p31);
  test_conversion<std::int16_t>(Element::i16, 0x1p31);
  test_conversion<std::uint16_t>(Element::u16, 0x1p31);
  test_conversion<std::int32_t>(Element::i32, 0x1p31);
  test_conversion<std::uint32_t>(Element::u32, 0x1p63);
  test_conversion<std::int64_t>(Element::i64, 0x1p63);
  test_conversion<std::uint64_t>(Element::u64, 0x1p63);
  test_median<std::uint8_t>(Element::u8);
  test_median<std::int8_t>(Element::i8);
  test_median<std::uint16_t>(Element::u16);
  test_median<std::uint32_t>(Element::u32);
  test_median<float>(Element::f32);
  test_median<double>(Element::f64);
  test_median_of_nan();
  test_fourier();
  std::puts("ndimage: all passed");
}
