#include "nn/sums.h"

#include <algorithm>

namespace fastdeblur::nn {
namespace {

constexpr int64_t kGroup = 16;  // rows

// used: channels of the block that there are.
template <bool Squares>
void add_block(const float* from, int64_t n, int64_t lanes, int64_t used, double* sums, double* squares) {
  double sum[L] = {}, square[L] = {};
  if (lanes == L) {  // idle lanes are added up as well
    for (int64_t x = 0; x < n; ++x)
      for (int j = 0; j < L; ++j) {
        const auto value = static_cast<double>(from[x * L + j]);
        sum[j] += value;
        if constexpr (Squares) square[j] += value * value;
      }
  } else {
    for (int64_t x = 0; x < n; ++x)
      for (int64_t j = 0; j < used; ++j) {
        const auto value = static_cast<double>(from[x * lanes + j]);
        sum[j] += value;
        if constexpr (Squares) square[j] += value * value;
      }
  }
  for (int64_t j = 0; j < used; ++j) {
    sums[j] += sum[j];
    if constexpr (Squares) squares[j] += square[j];
  }
}

}  // namespace

Summing::Summing(Borders borders, int64_t channels, bool squares, const std::vector<Range>& bands,
                 const std::vector<Range>& strips)
    : borders_(std::move(borders)), channels_(channels), kinds_(squares ? 2 : 1) {
  for (std::size_t r = 0; r + 1 < borders_.rows.size(); ++r)
    for (int64_t lo = borders_.rows[r], hi; lo < borders_.rows[r + 1]; lo = hi) {
      hi = std::min(lo + kGroup, borders_.rows[r + 1]);
      const bool shares =
          std::any_of(bands.begin(), bands.end(), [&](Range b) { return b.lo <= lo && hi <= b.hi; });
      groups_.push_back({lo, slots_, static_cast<int64_t>(r), shares});
      slots_ += shares ? 1 : hi - lo;
    }
  pieces_ = borders_.columns;
  for (const Range& strip : strips) pieces_.push_back(strip.lo);
  std::sort(pieces_.begin(), pieces_.end());
  pieces_.erase(std::unique(pieces_.begin(), pieces_.end()), pieces_.end());
}

void Summing::add(const Rows& rows, int64_t y, Range columns, double* parts) const {
  const auto group = std::upper_bound(groups_.begin(), groups_.end(), y,
                                      [](int64_t row, const Group& g) { return row < g.row; }) -
                     1;
  const int64_t slot = group->slot + (group->shares ? 0 : y - group->row);
  const auto first = std::lower_bound(pieces_.begin(), pieces_.end(), columns.lo) - pieces_.begin();
  for (auto p = static_cast<std::size_t>(first); pieces_[p] < columns.hi; ++p) {
    double* sums = part(parts, slot, static_cast<int64_t>(p));
    const int64_t n = pieces_[p + 1] - pieces_[p];
    for (int64_t b = 0; b < rows.blocks; ++b) {
      const int64_t used = std::min<int64_t>(rows.lanes, channels_ - b * rows.lanes);
      const float* from = rows.at(y, pieces_[p], b);
      double* to = sums + b * rows.lanes;
      if (kinds_ == 2) {
        add_block<true>(from, n, rows.lanes, used, to, to + channels_);
      } else {
        add_block<false>(from, n, rows.lanes, used, to, nullptr);
      }
    }
  }
}

Totals Summing::totals(const double* parts) const {
  const auto down = static_cast<int64_t>(borders_.rows.size()) - 1,
             across = static_cast<int64_t>(borders_.columns.size()) - 1;
  const auto c = static_cast<std::size_t>(channels_);
  Totals result{borders_, channels_, {}, {}};
  for (int64_t kind = 0; kind < kinds_; ++kind) {
    std::vector<double>& totals = kind ? result.squares : result.sums;
    totals.resize(static_cast<std::size_t>(down * across) * c);
    std::vector<double> rows(c);
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const int64_t begin = groups_[g].slot, end = g + 1 < groups_.size() ? groups_[g + 1].slot : slots_;
      std::size_t region = 0;
      for (int64_t p = 0; p < pieces(); ++p) {
        if (pieces_[static_cast<std::size_t>(p)] >= borders_.columns[region + 1]) ++region;
        // The group's rows first: so it does not matter whether they shared a slot.
        std::fill(rows.begin(), rows.end(), 0.0);
        for (int64_t slot = begin; slot < end; ++slot) {
          const double* at = parts + ((slot * pieces() + p) * kinds_ + kind) * channels_;
          for (std::size_t k = 0; k < c; ++k) rows[k] += at[k];
        }
        double* total = totals.data() + (static_cast<std::size_t>(groups_[g].region * across) + region) * c;
        for (std::size_t k = 0; k < c; ++k) total[k] += rows[k];
      }
    }
  }
  return result;
}

}  // namespace fastdeblur::nn
