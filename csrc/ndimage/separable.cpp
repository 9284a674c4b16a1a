#include "ndimage/separable.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/buffer.h"
#include "ndimage/line_kernel.h"
#include "ndimage/rows.h"
#include "ndimage/units.h"
#include "ndimage/vector.h"

namespace fastdeblur::ndimage {

namespace {

// Output rows between which the vertical kernel's columns stay in the level-1 cache.
constexpr int64_t kGroup = 32;
static_assert(kGroup % kMeanRows == 0);

class SeparableFilter {
 public:
  explicit SeparableFilter(const Separable& problem)
      : p_(problem),
        float32_(p_.out_element == Element::f32),
        down_(symmetry_of(p_.vertical)),
        along_(symmetry_of(p_.horizontal)),
        fused_down_(may_fuse(p_.vertical)),
        fused_along_(may_fuse(p_.horizontal)),
        more_rows_(std::max<int64_t>(p_.vertical.taps, 1) - 1),
        more_columns_(std::max<int64_t>(p_.horizontal.taps, 1) - 1) {
    // A patch is to stay in half of a level-2 cache of 512 KiB.
    constexpr int64_t cached = (int64_t(1) << 18) / static_cast<int64_t>(sizeof(double));
    strip_ = std::clamp<int64_t>(8 * more_columns_, 512, 4096) / kLineStep * kLineStep;
    // Every strip begins with the whole window: the longer that is, the longer the strips.
    if (p_.vertical.taps == 0) strip_ = std::max(strip_, round_up(more_columns_));
    strip_ = std::min(strip_, round_up(p_.width));
    // No power of two: rows would meet in one cache set.
    pitch_ = round_up(strip_ + more_columns_) + kLineOverrun;
    band_ = cached / pitch_ - more_rows_;
    const int64_t least = std::max(kGroup, more_rows_ / 2);
    band_ = std::clamp(band_, least, std::max(least, int64_t(128))) / kGroup * kGroup;
    // Nor do running sums down the columns begin anew more often than they must.
    if (!p_.vertical.weights && p_.horizontal.taps == 0 && more_rows_ > kLineStep) {
      strip_ = kLineStep;
      pitch_ = strip_ + kLineOverrun;
      band_ = std::max(band_, std::min<int64_t>(4 * more_rows_, 1 << 15)) / kGroup * kGroup;
    }
    // A unit of work goes down band by band: what two bands share is read once.
    unit_ = std::max<int64_t>(8 * more_rows_ / band_, 1) * band_;
    unit_ = std::min(unit_, p_.height);
    band_ = std::min(band_, p_.height);
  }

  bool run() {
    const int64_t high = (p_.height + unit_ - 1) / unit_, strips = (p_.width + strip_ - 1) / strip_;
    const int64_t units = p_.planes * high * strips;
    const double work = static_cast<double>(p_.planes * p_.height) * static_cast<double>(p_.width) *
                        static_cast<double>(16 + more_rows_ + more_columns_);
    for_units<Scratch>(units, work, p_.n_threads, [&](int64_t unit, Scratch& scratch) {
      if (beyond_.load(std::memory_order_relaxed)) return;
      const int64_t y0 = unit / strips % high * unit_, x0 = unit % strips * strip_;
      prepare(scratch);
      for (int64_t y = y0; y < std::min(y0 + unit_, p_.height); y += band_)
        compute(unit / strips / high, y, std::min(y0 + unit_, p_.height) - y, y == y0, x0, scratch);
    });
    return !beyond_.load();
  }

 private:
  struct Scratch {
    Buffer<double> patch, middle, results, windows, sums;
  };

  bool may_fuse(const LineKernel& kernel) const {
    return float32_ && kernel.weights && nothing_cancels(kernel.weights, kernel.taps);
  }

  static int64_t round_up(int64_t n) { return (n + kLineStep - 1) / kLineStep * kLineStep; }

  void prepare(Scratch& scratch) const {
    if (scratch.patch.size() > 0) return;
    // What lies beyond the rows' ends is computed with but goes nowhere, so that it may be anything. The
    // kernels read on to a multiple of kLineStep, from the last row's last tap too; means take kMeanRows
    // rows.
    const int64_t slack = more_columns_ + 2 * kLineStep;
    const int64_t loaded = band_ + more_rows_ + kMeanRows;
    scratch.patch = Buffer<double>(loaded * pitch_ + slack);
    if (p_.vertical.taps > 0 && p_.horizontal.taps > 0)
      scratch.middle = Buffer<double>((p_.horizontal_first ? loaded : kGroup) * pitch_ + slack);
    scratch.results = Buffer<double>(kGroup * pitch_ + slack);
    if (!p_.vertical.weights) scratch.sums = Buffer<double>(pitch_ + kLineStep);
    if (!p_.horizontal.weights) scratch.windows = Buffer<double>(kMeanRows * (pitch_ + slack));
  }

  // A band of at most `most` rows; the unit's first, or the one below the band that was computed before.
  void compute(int64_t plane, int64_t y0, int64_t most, bool first, int64_t x0, Scratch& scratch) {
    const int64_t rows = std::min(band_, most), columns = std::min(strip_, p_.width - x0);
    const int64_t begin = x0 + p_.horizontal.start, end = begin + columns + more_columns_;
    double* patch = scratch.patch.data();
    double* filtered = scratch.middle.data();
    const int64_t known = first ? 0 : more_rows_;
    double* kept = p_.horizontal_first ? filtered : patch;
    if (known > 0)
      std::memmove(kept, kept + band_ * pitch_, sizeof(double) * static_cast<std::size_t>(known * pitch_));
    for (int64_t j = known; j < rows + more_rows_; ++j) {
      if (j + 1 < rows + more_rows_) prefetch_row(row_at(plane, y0 + j + 1), begin, end);
      double* to = patch + j * pitch_;
      load_row(row_at(plane, y0 + j), p_.horizontal.mode, p_.constant, begin, end, to);
      if (std::isfinite(p_.limit) && !all_within(to, end - begin, p_.limit)) {
        beyond_.store(true, std::memory_order_relaxed);
        return;
      }
    }
    if (p_.horizontal_first) {
      along(patch + known * pitch_, rows + more_rows_ - known, columns, filtered + known * pitch_, scratch);
      for (int64_t j = known; j < rows + more_rows_; ++j) {
        double* row = filtered + j * pitch_;
        if (row_at(plane, y0 + j).data) {
          round_row(row, columns, p_.out_element);
        } else {
          std::fill_n(row, columns, p_.constant);
        }
      }
      down_and_store(filtered, plane, y0, rows, first, x0, columns, scratch);
      return;
    }
    if (p_.horizontal.taps == 0) {
      down_and_store(patch, plane, y0, rows, first, x0, columns, scratch);
      return;
    }
    for (int64_t y = 0; y < rows; y += kGroup) {
      const int64_t group = std::min(kGroup, rows - y);
      const double* source = patch + y * pitch_;
      if (p_.vertical.taps > 0) {
        down(source, group, columns + more_columns_, first && y == 0, filtered, scratch);
        source = filtered;
        for (int64_t r = 0; r < group; ++r) {
          round_row(filtered + r * pitch_, columns + more_columns_, p_.out_element);
          if (p_.horizontal.mode == Mode::constant) restore_constant(filtered + r * pitch_, begin, end);
        }
      }
      double* results = scratch.results.data();
      along(source, group, columns, results, scratch);
      for (int64_t r = 0; r < group; ++r) put(results + r * pitch_, plane, y0 + y + r, x0, columns);
    }
  }

  // The row that meets the vertical kernel's first tap for output row y.
  Row row_at(int64_t plane, int64_t y) const {
    const int64_t bytes = bytes_of(p_.input_element);
    const int64_t source = extend_index(y + p_.vertical.start, p_.height, p_.vertical.mode);
    const char* data = static_cast<const char*>(p_.input) + (plane * p_.height + source) * p_.width * bytes;
    return {source < 0 ? nullptr : data, p_.input_element, p_.width};
  }

  // Beyond the image the second kernel meets the constant, not what the first made of it.
  void restore_constant(double* row, int64_t begin, int64_t end) const {
    for (int64_t x = begin; x < std::min<int64_t>(end, 0); ++x) row[x - begin] = p_.constant;
    for (int64_t x = std::max(begin, p_.width); x < end; ++x) row[x - begin] = p_.constant;
  }

  void along(const double* from, int64_t rows, int64_t columns, double* to, Scratch& scratch) const {
    if (p_.horizontal.weights) {
      for (int64_t r = 0; r < rows; ++r)
        correlate_line(from + r * pitch_, columns, p_.horizontal, along_, fused_along_, to + r * pitch_);
    } else {
      for (int64_t r = 0; r < rows; r += kMeanRows)
        mean_rows(from + r * pitch_, pitch_, columns, p_.horizontal.taps, float32_, scratch.windows.data(),
                  to + r * pitch_, pitch_);
    }
  }

  // The vertical kernel for a group of rows; groups follow one another.
  void down(const double* from, int64_t group, int64_t columns, bool first, double* to,
            Scratch& scratch) const {
    if (!p_.vertical.weights) {
      mean_columns(from, pitch_, group, columns, p_.vertical.taps, float32_, first, scratch.sums.data(), to,
                   pitch_);
      return;
    }
    correlate_columns(from, pitch_, group, columns, p_.vertical, down_, fused_down_, to, pitch_);
  }

  void down_and_store(const double* from, int64_t plane, int64_t y0, int64_t rows, bool first, int64_t x0,
                      int64_t columns, Scratch& scratch) const {
    for (int64_t y = 0; y < rows; y += kGroup) {
      const int64_t group = std::min(kGroup, rows - y);
      down(from + y * pitch_, group, columns, first && y == 0, scratch.results.data(), scratch);
      for (int64_t r = 0; r < group; ++r)
        put(scratch.results.data() + r * pitch_, plane, y0 + y + r, x0, columns);
    }
  }

  void put(const double* row, int64_t plane, int64_t y, int64_t x, int64_t columns) const {
    char* to =
        static_cast<char*>(p_.out) + ((plane * p_.height + y) * p_.width + x) * bytes_of(p_.out_element);
    prefetch_for_writing(to + p_.width * bytes_of(p_.out_element), columns * bytes_of(p_.out_element));
    if (p_.accumulate) {
      add_row(row, columns, p_.out_element, to);
    } else {
      store_row(row, columns, p_.out_element, to);
    }
  }

  const Separable& p_;
  std::atomic<bool> beyond_{false};
  const bool float32_;  // which does not show the difference between a division and a product
  const Symmetry down_, along_;
  const bool fused_down_, fused_along_;
  const int64_t more_rows_, more_columns_;
  int64_t strip_, pitch_, band_, unit_;
};

}  // namespace

bool separable(const Separable& problem) { return SeparableFilter(problem).run(); }

}  // namespace fastdeblur::ndimage
