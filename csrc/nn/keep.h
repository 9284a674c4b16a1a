// What of a frame is kept between stages, and what is made again.
#pragma once

#include <limits>
#include <utility>
#include <vector>

#include "nn/frame.h"

namespace fastdeblur::nn {

// Knows which values are made again, in which stages, and what that costs.
class Network::Keeping {
 public:
  Keeping(const Network& network, Frame& frame);

  // Does without what is cheap to make again, where the arena shrinks by it.
  void less();
  // Drops values until the others take no more floats than this, or none can go. Whether it dropped any.
  bool at_most(int64_t floats);

 private:
  static constexpr int kWhole = -1;
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  // A try, which `back_to` undoes.
  struct Mark {
    Frame frame;
    std::size_t made;
  };
  Mark mark() const {
    work_ += 8 * static_cast<int64_t>(uses_.size());  // to copy the frame
    return {frame_, made_.size()};
  }
  void back_to(Mark mark);

  bool may_go(std::size_t v) const;
  int use_before(std::size_t v, int stage) const;
  void drop(std::size_t v, int last);
  void settle();
  double cost() const;
  void place();
  // Networks have a few dozen values to keep. One of thousands, made to keep the planner busy, is to be
  // refused or run, not thought about for hours.
  bool tired() const { return work_ > 50'000'000; }
  template <class Use>
  void back(std::size_t value, int stage, Use use) const;

  const Network& network_;
  Frame& frame_;
  std::vector<std::vector<int>> uses_;  // stages, kWhole first
  std::vector<double> costs_;           // of each step
  double total_ = 0;                    // multiplications of a run that makes nothing again
  std::vector<std::pair<std::size_t, int>> made_;
  mutable int64_t work_ = 0;
};

}  // namespace fastdeblur::nn
