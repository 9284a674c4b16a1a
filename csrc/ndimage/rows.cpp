#include "ndimage/rows.h"

#include <algorithm>
#include <limits>
#include <type_traits>

namespace fastdeblur::ndimage {

namespace {

// What x86's conversion gives: the least number for what does not fit and for NaN. A plain cast would leave
// that undefined, and a compiler that converts back may leave out both conversions.
template <class To>
To convert(double value) {
  constexpr auto least = std::numeric_limits<To>::min();
  constexpr auto bound = -static_cast<double>(least);
  return value >= -bound && value < bound ? static_cast<To>(value) : least;
}

// SciPy's C cast as x86 compilers make it.
template <class To>
To cast(double value) {
  if constexpr (std::is_floating_point_v<To>) {
    return static_cast<To>(value);
  } else if constexpr (sizeof(To) < 4 || std::is_same_v<To, std::int32_t>) {
    return static_cast<To>(convert<std::int32_t>(value));
  } else if constexpr (std::is_same_v<To, std::uint64_t>) {
    constexpr double half = 9223372036854775808.0;
    if (!(value >= half)) return static_cast<To>(convert<std::int64_t>(value));
    return static_cast<To>(convert<std::int64_t>(value - half)) ^ (To(1) << 63);
  } else {
    return static_cast<To>(convert<std::int64_t>(value));
  }
}

template <class To>
void cast_row(const double* values, int64_t n, char* out) {
  To* to = reinterpret_cast<To*>(out);
  for (int64_t i = 0; i < n; ++i) to[i] = cast<To>(values[i]);
}

template <class To>
void add_cast_row(const double* values, int64_t n, char* out) {
  To* to = reinterpret_cast<To*>(out);
  if constexpr (std::is_floating_point_v<To>) {
    for (int64_t i = 0; i < n; ++i) to[i] += cast<To>(values[i]);
  } else {
    for (int64_t i = 0; i < n; ++i)
      to[i] = static_cast<To>(static_cast<std::uint64_t>(to[i]) +
                              static_cast<std::uint64_t>(cast<To>(values[i])));
  }
}

template <class To, class From>
void keep_low_bits(const From* values, int64_t n, char* out) {
  To* to = reinterpret_cast<To*>(out);
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<To>(values[i]);
}

template <class From>
void store_modular(const From* values, int64_t n, Element element, char* out) {
  switch (bytes_of(element)) {
    case 1:
      return keep_low_bits<std::uint8_t>(values, n, out);
    case 2:
      return keep_low_bits<std::uint16_t>(values, n, out);
    case 4:
      return keep_low_bits<std::uint32_t>(values, n, out);
    default:
      return keep_low_bits<std::uint64_t>(values, n, out);
  }
}

template <class To>
void round_trip(double* values, int64_t n) {
  for (int64_t i = 0; i < n; ++i) values[i] = static_cast<double>(cast<To>(values[i]));
}

// Of every cache line; Write: 1 if it will be written to.
template <int Write>
void prefetch([[maybe_unused]] const char* from, [[maybe_unused]] int64_t bytes) {
#if defined(__GNUC__)
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, Write);
#endif
}

}  // namespace

template <class T>
void load_row(const Row& row, Mode mode, T constant, int64_t begin, int64_t end, T* out) {
  if (!row.data) {
    std::fill_n(out, end - begin, constant);
    return;
  }
  const int64_t first = std::clamp<int64_t>(begin, 0, row.width);
  const int64_t last = std::clamp<int64_t>(end, first, row.width);
  const int64_t bytes = bytes_of(row.element);
  if (last > first)
    convert_row<T>(row.element, row.data + first * bytes, bytes, last - first, out + (first - begin));
  const auto beyond = [&](int64_t i) {
    const int64_t source = extend_index(i, row.width, mode);
    if (source >= first && source < last) {
      out[i - begin] = out[source - begin];
    } else {
      convert_row<T>(row.element, row.data + source * bytes, bytes, 1, out + (i - begin));
    }
  };
  const int64_t left = std::max<int64_t>(std::min(first, end) - begin, 0), right = std::max(last, begin);
  if (mode == Mode::constant) {
    std::fill_n(out, left, constant);
    std::fill(out + (right - begin), out + std::max(end - begin, right - begin), constant);
    return;
  }
  // What repeats is copied: beyond a short row's end may lie many times its width.
  const int64_t period = period_of(row.width, mode);
  for (int64_t i = right; i < end; ++i) {
    if (i - period >= std::max(first, begin)) {
      out[i - begin] = out[i - period - begin];
    } else {
      beyond(i);
    }
  }
  for (int64_t i = begin + left - 1; i >= begin; --i) {
    if (i + period < end) {
      out[i - begin] = out[i + period - begin];
    } else {
      beyond(i);
    }
  }
}

void prefetch_row(const Row& row, int64_t begin, int64_t end) {
  if (!row.data) return;
  const int64_t bytes = bytes_of(row.element);
  const int64_t first = std::clamp<int64_t>(begin, 0, row.width);
  prefetch<0>(row.data + first * bytes, (std::clamp<int64_t>(end, first, row.width) - first) * bytes);
}

void prefetch_for_writing(const char* row, int64_t bytes) { prefetch<1>(row, bytes); }

template void load_row(const Row&, Mode, double, int64_t, int64_t, double*);
template void load_row(const Row&, Mode, std::uint8_t, int64_t, int64_t, std::uint8_t*);
template void load_row(const Row&, Mode, std::uint16_t, int64_t, int64_t, std::uint16_t*);
template void load_row(const Row&, Mode, std::uint32_t, int64_t, int64_t, std::uint32_t*);
template void load_row(const Row&, Mode, std::uint64_t, int64_t, int64_t, std::uint64_t*);

void store_row(const double* values, int64_t n, Element element, char* out) {
  switch (element) {
    case Element::f32:
      return cast_row<float>(values, n, out);
    case Element::f64:
      return cast_row<double>(values, n, out);
    case Element::u8:
      return cast_row<std::uint8_t>(values, n, out);
    case Element::i8:
      return cast_row<std::int8_t>(values, n, out);
    case Element::u16:
      return cast_row<std::uint16_t>(values, n, out);
    case Element::i16:
      return cast_row<std::int16_t>(values, n, out);
    case Element::u32:
      return cast_row<std::uint32_t>(values, n, out);
    case Element::i32:
      return cast_row<std::int32_t>(values, n, out);
    case Element::u64:
      return cast_row<std::uint64_t>(values, n, out);
    case Element::i64:
      return cast_row<std::int64_t>(values, n, out);
  }
}

void store_window_row(const double* values, int64_t n, Element element, char* out) {
  if (element != Element::u64) return store_row(values, n, element, out);
  std::uint64_t* to = reinterpret_cast<std::uint64_t*>(out);
  for (int64_t i = 0; i < n; ++i)
    to[i] = values[i] > 0 ? cast<std::uint64_t>(values[i]) : 0 - cast<std::uint64_t>(-values[i]);
}

void add_row(const double* values, int64_t n, Element element, char* out) {
  switch (element) {
    case Element::f32:
      return add_cast_row<float>(values, n, out);
    case Element::f64:
      return add_cast_row<double>(values, n, out);
    case Element::u8:
      return add_cast_row<std::uint8_t>(values, n, out);
    case Element::i8:
      return add_cast_row<std::int8_t>(values, n, out);
    case Element::u16:
      return add_cast_row<std::uint16_t>(values, n, out);
    case Element::i16:
      return add_cast_row<std::int16_t>(values, n, out);
    case Element::u32:
      return add_cast_row<std::uint32_t>(values, n, out);
    case Element::i32:
      return add_cast_row<std::int32_t>(values, n, out);
    case Element::u64:
      return add_cast_row<std::uint64_t>(values, n, out);
    case Element::i64:
      return add_cast_row<std::int64_t>(values, n, out);
  }
}

void store_row(const std::uint64_t* values, int64_t n, Element element, char* out) {
  store_modular(values, n, element, out);
}

void store_row(const std::uint32_t* values, int64_t n, Element element, char* out) {
  store_modular(values, n, element, out);
}

void round_row(double* values, int64_t n, Element element) {
  switch (element) {
    case Element::f32:
      return round_trip<float>(values, n);
    case Element::f64:
      return;
    case Element::u8:
      return round_trip<std::uint8_t>(values, n);
    case Element::i8:
      return round_trip<std::int8_t>(values, n);
    case Element::u16:
      return round_trip<std::uint16_t>(values, n);
    case Element::i16:
      return round_trip<std::int16_t>(values, n);
    case Element::u32:
      return round_trip<std::uint32_t>(values, n);
    case Element::i32:
      return round_trip<std::int32_t>(values, n);
    case Element::u64:
      return round_trip<std::uint64_t>(values, n);
    case Element::i64:
      return round_trip<std::int64_t>(values, n);
  }
}

}  // namespace fastdeblur::ndimage
