// A strided image in the caller's memory, of any element type, seen as (c, m, x).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace fastdeblur {

enum class Element { f32, f64, u8, i8, u16, i16, u32, i32, u64, i64 };

struct ImageView {
  const void* data = nullptr;
  Element element = Element::f32;
  std::array<std::ptrdiff_t, 3> stride{0, 0, 0};  // bytes
  explicit operator bool() const { return data != nullptr; }
};

template <class T>
struct MutableImageView {
  T* data = nullptr;
  std::array<std::ptrdiff_t, 3> stride{0, 0, 0};  // bytes
};

// Converts n elements of a strided row to T.
template <class T, class S>
void convert_row_from(const char* source, std::ptrdiff_t stride, std::int64_t n, T* out) {
  if (stride == static_cast<std::ptrdiff_t>(sizeof(S))) {
    const S* s = reinterpret_cast<const S*>(source);
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(s[i]);
  } else {
    for (std::int64_t i = 0; i < n; ++i)
      out[i] = static_cast<T>(*reinterpret_cast<const S*>(source + i * stride));
  }
}

template <class T>
void convert_row(Element element, const char* source, std::ptrdiff_t stride, std::int64_t n, T* out) {
  switch (element) {
    case Element::f32:
      return convert_row_from<T, float>(source, stride, n, out);
    case Element::f64:
      return convert_row_from<T, double>(source, stride, n, out);
    case Element::u8:
      return convert_row_from<T, std::uint8_t>(source, stride, n, out);
    case Element::i8:
      return convert_row_from<T, std::int8_t>(source, stride, n, out);
    case Element::u16:
      return convert_row_from<T, std::uint16_t>(source, stride, n, out);
    case Element::i16:
      return convert_row_from<T, std::int16_t>(source, stride, n, out);
    case Element::u32:
      return convert_row_from<T, std::uint32_t>(source, stride, n, out);
    case Element::i32:
      return convert_row_from<T, std::int32_t>(source, stride, n, out);
    case Element::u64:
      return convert_row_from<T, std::uint64_t>(source, stride, n, out);
    case Element::i64:
      return convert_row_from<T, std::int64_t>(source, stride, n, out);
  }
}

template <class T>
constexpr Element element_of();
template <>
constexpr Element element_of<float>() {
  return Element::f32;
}
template <>
constexpr Element element_of<double>() {
  return Element::f64;
}

// What an image is checked for as it is first read (flags); the caller names the pixel.
enum class Bad : int { none = 0, not_finite = 1, negative = 2 };

constexpr bool has(Bad found, Bad flag) { return (static_cast<int>(found) & static_cast<int>(flag)) != 0; }

}  // namespace fastdeblur
