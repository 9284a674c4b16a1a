#include "ndimage/median.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <type_traits>

#include "cpu/buffer.h"
#include "ndimage/rows.h"
#include "ndimage/select.h"
#include "ndimage/units.h"

namespace fastdeblur::ndimage {

namespace {

// Elements are compared as integers of a type that processors have minima and maxima for. Flipping the sign
// bit carries one signedness' order over to the other; flipping a negative float's other bits makes its order
// an integer's.
enum class Keys { as_they_are, sign_flipped, of_floats };

Keys keys_of(Element element) {
  switch (element) {
    case Element::i8:
    case Element::i16:
    case Element::u32:
    case Element::u64:
      return Keys::sign_flipped;
    case Element::f32:
    case Element::f64:
      return Keys::of_floats;
    default:
      return Keys::as_they_are;
  }
}

template <class Key>
constexpr Key kSignBit = static_cast<Key>(std::make_unsigned_t<Key>(1) << (8 * sizeof(Key) - 1));

// Its own inverse.
template <class Key>
void map_keys(Key* keys, int64_t n, Keys kind) {
  if (kind == Keys::sign_flipped) {
    for (int64_t i = 0; i < n; ++i) keys[i] = static_cast<Key>(keys[i] ^ kSignBit<Key>);
  }
  if constexpr (std::is_signed_v<Key>) {
    if (kind == Keys::of_floats) {
      constexpr int sign = 8 * sizeof(Key) - 1;
      for (int64_t i = 0; i < n; ++i) keys[i] ^= (keys[i] >> sign) & static_cast<Key>(~kSignBit<Key>);
    }
  }
}

// Among unmapped floats.
template <class Key>
bool any_nan(const Key* values, int64_t n) {
  constexpr Key infinity =
      sizeof(Key) == 4 ? static_cast<Key>(0x7f800000) : static_cast<Key>(0x7ff0000000000000);
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i)
    count += static_cast<Key>(values[i] & static_cast<Key>(~kSignBit<Key>)) > infinity;
  return count != 0;
}

template <class Key>
constexpr int kBlock = kLanes<Key>;

// One row of outputs from any window; tap k lies offsets[k] beyond x.
template <class Key>
void median_row(const int64_t* offsets, int n, const Key* x, int64_t columns, Key* out) {
  Vector<Key> v[kMostInWindow / 2 + 2];
  for (int64_t i = 0; i < columns; i += kBlock<Key>)
    store(out + i, select_median(n, [&](int k) { return load(x + i + offsets[k]); }, v));
}

template <class Key, int N>
void median_row_of(const int64_t* offsets, int, const Key* x, int64_t columns, Key* out) {
  for (int64_t i = 0; i < columns; i += kBlock<Key>)
    store(out + i, select_median_of<N, Vector<Key>>([&](int k) { return load(x + i + offsets[k]); }));
}

// 3 x 3: the median is the median of the largest of the columns' minima, the median of their medians and the
// smallest of their maxima; a column's order serves three outputs.
template <class Key>
void median_row_3x3(const Key* x, int64_t pitch, int64_t columns, Key* low, Key* middle, Key* high,
                    Key* out) {
  for (int64_t i = 0; i < columns + 2; i += kBlock<Key>) {
    auto a = load(x + i), b = load(x + pitch + i), c = load(x + 2 * pitch + i);
    exchange(a, b);
    exchange(b, c);
    exchange(a, b);
    store(low + i, a);
    store(middle + i, b);
    store(high + i, c);
  }
  for (int64_t i = 0; i < columns; i += kBlock<Key>) {
    const auto a = larger(larger(load(low + i), load(low + i + 1)), load(low + i + 2));
    const auto b = median_of_3(load(middle + i), load(middle + i + 1), load(middle + i + 2));
    const auto c = smaller(smaller(load(high + i), load(high + i + 1)), load(high + i + 2));
    store(out + i, median_of_3(a, b, c));
  }
}

template <class Key>
class MedianFilter {
  using Raw = std::make_unsigned_t<Key>;

 public:
  explicit MedianFilter(const Median& problem)
      : p_(problem), leading_(p_.shape.size() - 2), keys_(keys_of(p_.element)) {
    height_ = p_.shape[leading_];
    width_ = p_.shape[leading_ + 1];
    rows_ = p_.window[leading_];
    columns_ = p_.window[leading_ + 1];
    for (std::size_t axis = 0; axis < leading_; ++axis) {
      planes_ *= p_.window[axis];
      outer_ *= p_.shape[axis];
    }
    std::memcpy(&constant_, p_.constant, sizeof(Raw));
    element_ = sizeof(Key) == 1   ? Element::u8
               : sizeof(Key) == 2 ? Element::u16
               : sizeof(Key) == 4 ? Element::u32
                                  : Element::u64;

    constexpr int64_t block = 64;
    constexpr int64_t cached = (int64_t(1) << 17) / static_cast<int64_t>(sizeof(Key));
    strip_ =
        std::min<int64_t>((width_ + block - 1) / block * block, 8192 / static_cast<int64_t>(sizeof(Key)));
    pitch_ = (strip_ + columns_ + block - 1) / block * block + block;
    band_ = std::clamp<int64_t>(cached / (pitch_ * planes_) - rows_ + 1, 8, 128);
    band_ = std::min(band_, height_);
    for (int64_t plane = 0; plane < planes_; ++plane)
      for (int64_t row = 0; row < rows_; ++row)
        for (int64_t column = 0; column < columns_; ++column)
          offsets_.push_back((plane * (band_ + rows_ - 1) + row) * pitch_ + column);
    n_ = static_cast<int>(offsets_.size());
    row_ = n_ == 3    ? median_row_of<Key, 3>
           : n_ == 5  ? median_row_of<Key, 5>
           : n_ == 7  ? median_row_of<Key, 7>
           : n_ == 9  ? median_row_of<Key, 9>
           : n_ == 25 ? median_row_of<Key, 25>
           : n_ == 27 ? median_row_of<Key, 27>
                      : median_row<Key>;
  }

  bool run() {
    // Where a window's order takes longer than to look for NaN, they are looked for first.
    const bool looked = n_ > kQuick && keys_ == Keys::of_floats;
    if (looked && find_nan()) return false;
    check_ = keys_ == Keys::of_floats && !looked;
    const int64_t bands = (height_ + band_ - 1) / band_, strips = (width_ + strip_ - 1) / strip_;
    const double work = static_cast<double>(outer_ * height_) * static_cast<double>(width_) * (2.0 * n_) *
                        static_cast<double>(sizeof(Key)) / 4.0;
    for_units<Scratch>(outer_ * bands * strips, work, p_.n_threads, [&](int64_t unit, Scratch& scratch) {
      if (nan_.load(std::memory_order_relaxed)) return;
      const int64_t strip = unit % strips, band = unit / strips % bands;
      compute(unit / strips / bands, band * band_, strip * strip_, scratch);
    });
    return !nan_.load();
  }

 private:
  // Elements of a window up to which its order costs about as much as to look for NaN.
  static constexpr int kQuick = 9;

  struct Nothing {};
  struct Scratch {
    Buffer<Key> patch, sorted, results;
  };

  bool find_nan() {
    constexpr int64_t chunk = 1 << 14;
    if constexpr (std::is_signed_v<Key>) {
      const int64_t n = outer_ * height_ * width_;
      const Key* values = static_cast<const Key*>(p_.input);
      for_units<Nothing>((n + chunk - 1) / chunk, static_cast<double>(n), p_.n_threads,
                         [&](int64_t unit, Nothing&) {
                           if (any_nan(values + unit * chunk, std::min(chunk, n - unit * chunk)))
                             nan_.store(true, std::memory_order_relaxed);
                         });
    }
    return nan_.load();
  }

  const char* input_plane(int64_t outer, int64_t offset) const {
    int64_t index = 0, stride = height_ * width_;
    for (std::size_t axis = leading_; axis-- > 0;) {
      const int64_t i = extend_index(outer % p_.shape[axis] + p_.start[axis] + offset % p_.window[axis],
                                     p_.shape[axis], p_.mode);
      outer /= p_.shape[axis];
      offset /= p_.window[axis];
      if (i < 0) return nullptr;
      index += i * stride;
      stride *= p_.shape[axis];
    }
    return static_cast<const char*>(p_.input) + index * static_cast<int64_t>(sizeof(Key));
  }

  void compute(int64_t outer, int64_t y0, int64_t x0, Scratch& scratch) {
    const int64_t rows = std::min(band_, height_ - y0), columns = std::min(strip_, width_ - x0);
    if (scratch.patch.size() == 0) {
      // Vectors at a row's end reach beyond it; what is computed there goes nowhere.
      scratch.patch = Buffer<Key>(planes_ * (band_ + rows_ - 1) * pitch_ + 64);
      scratch.sorted = Buffer<Key>(3 * pitch_ + 64);
      scratch.results = Buffer<Key>(pitch_);
    }
    Key* patch = scratch.patch.data();
    const int64_t begin = x0 + p_.start[leading_ + 1], loaded = columns + columns_ - 1;
    for (int64_t offset = 0; offset < planes_; ++offset) {
      const char* plane = input_plane(outer, offset);
      for (int64_t j = 0; j < rows + rows_ - 1; ++j) {
        const int64_t y = extend_index(y0 + j + p_.start[leading_], height_, p_.mode);
        const char* row = plane && y >= 0 ? plane + y * width_ * static_cast<int64_t>(sizeof(Key)) : nullptr;
        Key* to = patch + (offset * (band_ + rows_ - 1) + j) * pitch_;
        load_row<Raw>({row, element_, width_}, p_.mode, constant_, begin, begin + loaded,
                      reinterpret_cast<Raw*>(to));
        if constexpr (std::is_signed_v<Key>) {
          if (check_ && any_nan(to, loaded)) {
            nan_.store(true, std::memory_order_relaxed);
            return;
          }
        }
        map_keys(to, loaded, keys_);
      }
    }
    Key* results = scratch.results.data();
    const bool square = planes_ == 1 && rows_ == 3 && columns_ == 3;
    for (int64_t y = 0; y < rows; ++y) {
      const Key* at = patch + y * pitch_;
      if (square) {
        Key* sorted = scratch.sorted.data();
        median_row_3x3(at, pitch_, columns, sorted, sorted + pitch_, sorted + 2 * pitch_, results);
      } else {
        row_(offsets_.data(), n_, at, columns, results);
      }
      map_keys(results, columns, keys_);
      std::memcpy(static_cast<Key*>(p_.out) + (outer * height_ + y0 + y) * width_ + x0, results,
                  static_cast<std::size_t>(columns) * sizeof(Key));
    }
  }

  const Median& p_;
  const std::size_t leading_;
  const Keys keys_;
  std::atomic<bool> nan_{false};
  bool check_ = false;
  int64_t height_, width_, rows_, columns_, planes_ = 1, outer_ = 1, strip_, pitch_, band_;
  int n_;
  Raw constant_;
  Element element_;
  std::vector<int64_t> offsets_;
  void (*row_)(const int64_t*, int, const Key*, int64_t, Key*);
};

}  // namespace

bool median(const Median& given) {
  Median problem = given;
  if (problem.shape.size() == 1) {
    for (auto* shape : {&problem.shape, &problem.window}) shape->insert(shape->begin(), 1);
    problem.start.insert(problem.start.begin(), 0);
  }
  switch (bytes_of(problem.element)) {
    case 1:
      return MedianFilter<std::uint8_t>(problem).run();
    case 2:
      return MedianFilter<std::uint16_t>(problem).run();
    case 4:
      return MedianFilter<std::int32_t>(problem).run();
    default:
      return MedianFilter<std::int64_t>(problem).run();
  }
}

}  // namespace fastdeblur::ndimage
