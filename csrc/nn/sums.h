// Sums of a value over the frame or over regions of it, taken as its rows are made.
//
// They are the same to the bit however many threads and bands there are, if the strips are the same: jobs
// share nothing, and what they found is added up in the frame's order.
#pragma once

#include <utility>
#include <vector>

#include "nn/node.h"
#include "nn/rows.h"

namespace fastdeblur::nn {

// Of regions, on each axis: from 0 to its length, ascending.
struct Borders {
  std::vector<int64_t> rows, columns;
  bool operator==(const Borders&) const = default;
};

// Sums of each region and channel, and those of squares, if they were asked for.
struct Totals {
  Borders borders;
  int64_t channels = 0;
  std::vector<double> sums, squares;  // [row of regions][column of regions][channel]
};

// How a value's sums are taken by jobs that each make a band's rows of a strip.
class Summing {
 public:
  // bands, strips: the jobs' parts of the value, in order, together all of it.
  Summing(Borders borders, int64_t channels, bool squares, const std::vector<Range>& bands,
          const std::vector<Range>& strips);

  // Numbers to add up in, 0 at first.
  int64_t size() const { return slots_ * pieces() * kinds_ * channels_; }
  // Bytes of these, of the totals, and of what tells one from the other.
  int64_t bytes() const {
    const auto regions = static_cast<int64_t>((borders_.rows.size() - 1) * (borders_.columns.size() - 1));
    return 8 * (size() + regions * kinds_ * channels_ +
                2 * static_cast<int64_t>(borders_.rows.size() + borders_.columns.size()) +
                static_cast<int64_t>(pieces_.size())) +
           static_cast<int64_t>(groups_.capacity() * sizeof(Group));
  }
  // A finished row's columns, all of a strip's.
  void add(const Rows& rows, int64_t y, Range columns, double* parts) const;
  Totals totals(const double* parts) const;

 private:
  int64_t pieces() const { return static_cast<int64_t>(pieces_.size()) - 1; }
  double* part(double* parts, int64_t slot, int64_t piece) const {
    return parts + (slot * pieces() + piece) * kinds_ * channels_;
  }

  Borders borders_;
  int64_t channels_, kinds_;
  // Some rows of a region share a slot if one band has them all, else each has its own.
  struct Group {
    int64_t row;     // its first
    int64_t slot;    // its first
    int64_t region;  // which row of them
    bool shares;
  };
  std::vector<Group> groups_;
  int64_t slots_ = 0;
  std::vector<int64_t> pieces_;  // borders of regions and of strips
};

}  // namespace fastdeblur::nn
