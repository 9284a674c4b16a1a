// An image as the passes see it: of any element type and strides, weighed, and gone on with beyond the frame.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "core/grid.h"
#include "core/host_device.h"
#include "core/image.h"
#include "cuda/fft/strip.h"
#include "cuda/memory.h"

namespace fastdeblur::cuda {

// One element, converted.
template <class T>
FD_HD T load_element(Element element, const char* at) {
  switch (element) {
    case Element::f32:
      return static_cast<T>(*reinterpret_cast<const float*>(at));
    case Element::f64:
      return static_cast<T>(*reinterpret_cast<const double*>(at));
    case Element::u8:
      return static_cast<T>(*reinterpret_cast<const std::uint8_t*>(at));
    case Element::i8:
      return static_cast<T>(*reinterpret_cast<const std::int8_t*>(at));
    case Element::u16:
      return static_cast<T>(*reinterpret_cast<const std::uint16_t*>(at));
    case Element::i16:
      return static_cast<T>(*reinterpret_cast<const std::int16_t*>(at));
    case Element::u32:
      return static_cast<T>(*reinterpret_cast<const std::uint32_t*>(at));
    case Element::i32:
      return static_cast<T>(*reinterpret_cast<const std::int32_t*>(at));
    case Element::u64:
      return static_cast<T>(*reinterpret_cast<const std::uint64_t*>(at));
    default:
      return static_cast<T>(*reinterpret_cast<const std::int64_t*>(at));
  }
}

template <class T>
constexpr Element kOwnElement = sizeof(T) == 4 ? Element::f32 : Element::f64;

struct Pixels {
  const char* data = nullptr;
  std::int64_t stride[3] = {0, 0, 0};
  Element element = Element::f32;

  Pixels() = default;
  explicit Pixels(const ImageView& view)
      : data(static_cast<const char*>(view.data)),
        stride{view.stride[0], view.stride[1], view.stride[2]},
        element(view.element) {}

  FD_HD const char* address(int c, int m, int x) const {
    return data + c * stride[0] + m * stride[1] + x * stride[2];
  }
  template <class T>
  FD_HD T at(int c, int m, int x) const {
    return load_element<T>(element, address(c, m, x));
  }
};

// An AxisMap where kernels run.
template <class T>
struct Extension {
  const std::int32_t *first = nullptr, *second = nullptr;
  const T *w1 = nullptr, *w2 = nullptr;
  int frame = 1;

  // Source `which` (0 or 1) of grid index i.
  FD_HD int source(int which, int i) const {
    if (i < frame) return i;
    return which ? second[i - frame] : first[i - frame];
  }
  FD_HD T weight(int which, int i) const {
    if (i < frame) return which ? T(0) : T(1);
    return which ? w2[i - frame] : w1[i - frame];
  }
};

// A row of E, its pixels so many bytes apart: v[q] where all of the element lies in the frame, 0 elsewhere.
// Returns where it does not, a bit for each q.
template <class E, int R, class T>
FD_HD unsigned load_strip(const char* row, std::int64_t stride, int frame, const Strip& s,
                          Complex<T> (&v)[R]) {
  if constexpr (std::is_same_v<E, T>) {
    const T* own = reinterpret_cast<const T*>(row);
    if (stride == sizeof(T) && s.last<R>() < frame && pairs_lie(own)) {
      load_row<R>(own, s, v);
      return 0;
    }
  }
  const char* first = row + s.x(0) * stride;
  const std::int64_t step = (s.packed ? 2 : 1) * s.span * stride;
  unsigned outside = 0;
  FD_UNROLL
  for (int q = 0; q < R; ++q) {
    const bool in = s.x(q) + (s.packed ? 1 : 0) < frame;
    const char* at = first + q * step;
    v[q].re = in ? static_cast<T>(*reinterpret_cast<const E*>(at)) : T(0);
    v[q].im = in && s.packed ? static_cast<T>(*reinterpret_cast<const E*>(at + stride)) : T(0);
    outside |= in ? 0u : 1u << q;
  }
  return outside;
}

template <class T>
struct Reader;

// What most pixels of most images are not: of another type, weighed, or beyond the frame. A transform's
// kernel reads in some thirty places, and all of this in each of them would be most of what there is to
// compile.
template <class T>
FD_HD_SHARED T read_any(const Reader<T>& reader, int plane, int c, int m, int x);

// Reads weight times image where there are weights, and 0 where the weight is 0, whatever the image holds
// there.
template <class T>
struct Reader {
  Pixels image, weights;
  Extension<T> axis[3];
  std::int64_t plane_step = 0;  // bytes from one plane's image to the next; weighed ones are alone

  FD_HD bool in_frame(int c, int m, int x) const {
    return c < axis[0].frame && m < axis[1].frame && x < axis[2].frame;
  }
  FD_HD T pixel(int plane, int c, int m, int x) const {
    const T value = load_element<T>(image.element, image.address(c, m, x) + plane * plane_step);
    if (!weights.data) return value;
    const T weight = weights.at<T>(c, m, x);
    return weight > T(0) ? weight * value : T(0);
  }
  FD_HD T operator()(int c, int m, int x) const {
    if (in_frame(c, m, x) && image.element == kOwnElement<T> && !weights.data)
      return *reinterpret_cast<const T*>(image.address(c, m, x));
    return read_any(*this, 0, c, m, x);
  }

  // All of a strip; the pixels of the commonest images in one group of loads.
  template <int R>
  FD_HD void fill(Complex<T> (&v)[R], const Strip& s) const {
    constexpr unsigned all = (1u << R) - 1;
    const bool row_inside = s.c < axis[0].frame && s.m < axis[1].frame, own = image.element == kOwnElement<T>;
    unsigned left = all;
    if (!weights.data && row_inside) {
      const char* row = image.address(s.c, s.m, 0) + s.plane * plane_step;
      const int frame = axis[2].frame;
      if (own)
        left = load_strip<T>(row, image.stride[2], frame, s, v);
      else if (image.element == Element::u8)
        left = load_strip<std::uint8_t>(row, image.stride[2], frame, s, v);
      else if (image.element == Element::u16)
        left = load_strip<std::uint16_t>(row, image.stride[2], frame, s, v);
    } else if (!weights.data && own) {
      left = fill_from_other_rows(v, s);
    }
    if (left) one_by_one(v, s, left, [&](int x, T& value) { value = read_any(*this, s.plane, s.c, s.m, x); });
  }

 private:
  // A row beyond the frame, of the one or two rows along each axis that it is made of.
  template <int R>
  FD_HD unsigned fill_from_other_rows(Complex<T> (&v)[R], const Strip& s) const {
    unsigned left = 0;
    FD_UNROLL
    for (int q = 0; q < R; ++q) v[q] = {T(0), T(0)};
    FD_LOOP
    for (int i = 0; i < 4; ++i) {
      const int a = i >> 1, b = i & 1;
      const T weight = axis[0].weight(a, s.c) * axis[1].weight(b, s.m);
      if (weight == T(0)) continue;
      Complex<T> other[R];
      const char* row =
          image.address(axis[0].source(a, s.c), axis[1].source(b, s.m), 0) + s.plane * plane_step;
      left = load_strip<T>(row, image.stride[2], axis[2].frame, s, other);
      FD_UNROLL
      for (int q = 0; q < R; ++q) {
        v[q].re += weight * other[q].re;
        v[q].im += weight * other[q].im;
      }
    }
    return left;
  }
};

template <class T>
FD_HD_SHARED T read_any(const Reader<T>& reader, int plane, int c, int m, int x) {
  const Extension<T>* axis = reader.axis;
  const bool inside = reader.in_frame(c, m, x);
  T sum = T(0);
  for (int i = 0; i < (inside ? 1 : 8); ++i) {
    const int a = i >> 2, b = i >> 1 & 1, d = i & 1;
    const T weight = axis[0].weight(a, c) * axis[1].weight(b, m) * axis[2].weight(d, x);
    if (weight == T(0)) continue;
    const T value = reader.pixel(plane, axis[0].source(a, c), axis[1].source(b, m), axis[2].source(d, x));
    sum += weight * value;
  }
  return sum;
}

// The maps of a plan's three axes in device memory.
template <class T>
class Extensions {
 public:
  explicit Extensions(Arena& arena) : indices_(arena), weights_(arena) {}

  void upload(const std::array<AxisMap, 3>& maps, const Grid& grid) {
    std::vector<std::int32_t> indices;
    std::vector<T> weights;
    for (const AxisMap& map : maps) {
      for (const auto* from : {&map.first, &map.second})
        for (const std::int64_t i : *from) indices.push_back(static_cast<std::int32_t>(i));
      for (const auto* from : {&map.w1, &map.w2})
        for (const double w : *from) weights.push_back(static_cast<T>(w));
    }
    const std::int32_t* index = indices_.upload(indices.data(), static_cast<std::int64_t>(indices.size()));
    const T* weight = weights_.upload(weights.data(), static_cast<std::int64_t>(weights.size()));
    for (std::size_t a = 0; a < 3; ++a) {
      const auto n = static_cast<std::ptrdiff_t>(maps[a].first.size());
      axis_[a] = {index, index + n, weight, weight + n, static_cast<int>(grid.frame[a])};
      index += 2 * n;
      weight += 2 * n;
    }
  }

  Reader<T> reader(const ImageView& image, const ImageView& weights = {}, std::int64_t plane_step = 0) const {
    return {Pixels(image), Pixels(weights), {axis_[0], axis_[1], axis_[2]}, plane_step};
  }

 private:
  Memory<std::int32_t> indices_;
  Memory<T> weights_;
  std::array<Extension<T>, 3> axis_;
};

}  // namespace fastdeblur::cuda
