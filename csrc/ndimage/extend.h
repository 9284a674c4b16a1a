// What ndimage's boundary modes put beyond an axis' ends.
#pragma once

#include <cstdint>

namespace fastdeblur::ndimage {

using std::int64_t;

// reflect: d c b a | a b c d | d c b a      mirror: d c b | a b c d | c b a
// nearest: a a a a | a b c d | d d d d      wrap: a b c d | a b c d | a b c d
enum class Mode { nearest, wrap, reflect, mirror, constant };

// The index of the element that stands at i, or -1 where the constant does.
inline int64_t extend_index(int64_t i, int64_t n, Mode mode) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case Mode::nearest:
      return i < 0 ? 0 : n - 1;
    case Mode::wrap:
      i %= n;
      return i < 0 ? i + n : i;
    case Mode::reflect: {
      i %= 2 * n;
      if (i < 0) i += 2 * n;
      return i < n ? i : 2 * n - 1 - i;
    }
    case Mode::mirror: {
      if (n == 1) return 0;
      const int64_t period = 2 * n - 2;
      i %= period;
      if (i < 0) i += period;
      return i < n ? i : period - i;
    }
    case Mode::constant:
      break;
  }
  return -1;
}

// After how many elements beyond an end those there repeat.
inline int64_t period_of(int64_t n, Mode mode) {
  switch (mode) {
    case Mode::wrap:
      return n;
    case Mode::reflect:
      return 2 * n;
    case Mode::mirror:
      return n == 1 ? 1 : 2 * n - 2;
    default:
      return 1;
  }
}

}  // namespace fastdeblur::ndimage
