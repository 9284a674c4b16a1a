// Where a value's numbers are.
#pragma once

#include <cstdint>

#include "nn/lanes.h"

namespace fastdeblur::nn {

using std::int64_t;

// Half open.
struct Range {
  int64_t lo = 0, hi = 0;
  int64_t size() const { return hi - lo; }
};

// Rows of a value in memory; column x of block b of row y lies at row(y) + b * block + (x - x0) * lanes.
struct Rows {
  float* base = nullptr;
  int64_t ring = 1;    // rows that there is room for
  int64_t stride = 0;  // from row to row
  int64_t block = 0;   // from block to block
  int64_t x0 = 0;      // the first column in memory (in the margin)
  int64_t lanes = L;
  int64_t blocks = 0;

  float* at(int64_t y, int64_t x, int64_t b = 0) const {
    return base + (y % ring) * stride + b * block + (x - x0) * lanes;
  }
};

}  // namespace fastdeblur::nn
