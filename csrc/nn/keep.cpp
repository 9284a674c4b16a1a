#include "nn/keep.h"

#include <algorithm>

namespace fastdeblur::nn {

Network::Keeping::Keeping(const Network& network, Frame& frame)
    : network_(network),
      frame_(frame),
      uses_(static_cast<std::size_t>(network.values_)),
      costs_(network.steps_.size(), 0.0) {
  for (std::size_t k = 0; k < network_.steps_.size(); ++k) {
    const Step& step = network_.steps_[k];
    const auto out = static_cast<std::size_t>(step.out);
    std::vector<Shape> in;
    for (const int64_t i : step.in) in.push_back(frame.shapes[static_cast<std::size_t>(i)]);
    const Shape& s = frame.shapes[out];
    if (!in.empty()) costs_[k] = step.layer->cost(in) * static_cast<double>(s.h) * static_cast<double>(s.w);
    total_ += costs_[k];
    for (std::size_t i = 0; i < step.in.size(); ++i)
      if (step.whole || reads_rows(*step.layer, static_cast<int>(i)))
        uses_[static_cast<std::size_t>(step.in[i])].push_back(step.whole ? kWhole : frame.stage_of[out]);
  }
  for (std::vector<int>& stages : uses_) {
    std::sort(stages.begin(), stages.end());
    stages.erase(std::unique(stages.begin(), stages.end()), stages.end());
  }
}

void Network::Keeping::back_to(Mark mark) {
  frame_ = std::move(mark.frame);
  made_.resize(mark.made);
}

void Network::Keeping::place() {
  frame_.place();
  const auto kept = std::count(frame_.kept.begin(), frame_.kept.end(), 1);
  work_ += kept * kept + static_cast<int64_t>(uses_.size());
}

// Whether a value is kept and can be made again: it was not made whole, and no one reads it whole.
bool Network::Keeping::may_go(std::size_t v) const {
  return frame_.kept[v] && !network_.whole(static_cast<int64_t>(v)) &&
         (uses_[v].empty() || uses_[v].front() != kWhole);
}

// The last stage before `stage` that uses a value, or the one that makes it.
int Network::Keeping::use_before(std::size_t v, int stage) const {
  int before = frame_.stage_of[v];
  for (const int use : uses_[v])
    if (use < stage) before = std::max(before, use);
  return before;
}

// Keeps a value to a stage only; later ones that use it make it again.
void Network::Keeping::drop(std::size_t v, int last) {
  const int until = frame_.last(v);
  frame_.end_of_use[v] = Frame::time_of(last, false);
  frame_.kept[v] = last > frame_.stage_of[v];
  frame_.shortened[v] = 1;
  for (const int use : uses_[v])
    if (use > last && use <= until) made_.emplace_back(v, use);
  settle();
}

// What is made to make a value in a stage, and what of earlier stages is taken for it. use(v, there): true of
// a value that need not be made.
template <class Use>
void Network::Keeping::back(std::size_t value, int stage, Use use) const {
  std::vector<char> seen(uses_.size(), 0);
  work_ += static_cast<int64_t>(seen.size()) / 16;
  std::vector<std::size_t> todo{value};
  while (!todo.empty()) {
    const std::size_t v = todo.back();
    todo.pop_back();
    if (seen[v]) continue;
    seen[v] = 1;
    ++work_;
    if (use(v, network_.there(frame_, stage, static_cast<int64_t>(v)))) continue;
    const Step& step = network_.maker(static_cast<int64_t>(v));
    for (std::size_t i = 0; i < step.in.size() && !step.whole; ++i)
      if (reads_rows(*step.layer, static_cast<int>(i))) todo.push_back(static_cast<std::size_t>(step.in[i]));
  }
}

// What values that are made again take of earlier stages has to be there until then. One that was made whole,
// or is much smaller than they are, is kept for longer, since it would take far more to make.
void Network::Keeping::settle() {
  for (const auto& [value, stage] : made_)
    back(value, stage, [&, made = value, in = stage](std::size_t v, bool there) {
      const bool small =
          v != made && frame_.kept[v] && !frame_.shortened[v] && 2 * frame_.floats(v) <= frame_.floats(made);
      if (!(there || small || network_.whole(static_cast<int64_t>(v)))) return false;
      // No value that gives way is among them: none but the step that takes its memory reads it.
      frame_.end_of_use[v] = std::max(frame_.end_of_use[v], Frame::time_of(in, false));
      return true;
    });
}

// Multiplications, at most: what two values are made of may be made for both.
double Network::Keeping::cost() const {
  double cost = 0;
  for (const auto& [value, stage] : made_)
    back(value, stage, [&](std::size_t v, bool there) {
      if (!there) cost += network_.whole(static_cast<int64_t>(v)) ? kNever : costs_[network_.makers_[v]];
      return there;
    });
  return cost;
}

// A U-net's skips lie about in memory from one end to the other, and the outermost, which is the largest, is
// made of the image in no time: values whose last use is far, and that are cheap to make again there, are
// kept no longer than their other uses ask, where memory shrinks by it.
void Network::Keeping::less() {
  constexpr double kMostAgain = 0.17;  // of all multiplications
  constexpr double kLeastLess = 0.02;  // of the arena
  constexpr std::size_t kPairsOf = 16;
  std::vector<std::size_t> order;
  for (std::size_t v = 0; v < frame_.kept.size(); ++v)
    if (may_go(v)) order.push_back(v);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return frame_.floats(a) > frame_.floats(b); });
  const auto try_without = [&](const std::vector<std::size_t>& values) {
    if (tired()) return;
    for (const std::size_t v : values)
      if (!frame_.kept[v] || frame_.last(v) - use_before(v, frame_.last(v)) < 2) return;
    auto as_it_was = mark();
    for (const std::size_t v : values) drop(v, use_before(v, frame_.last(v)));
    place();
    if (cost() > kMostAgain * total_ ||
        static_cast<double>(frame_.arena) > (1 - kLeastLess) * static_cast<double>(as_it_was.frame.arena))
      back_to(std::move(as_it_was));
  };
  for (const std::size_t v : order) try_without({v});
  // Two that are made of one value, which is kept in their stead.
  order.resize(std::min(order.size(), kPairsOf));
  const auto related = [&](std::size_t v, std::size_t u) {
    const auto &a = network_.maker(static_cast<int64_t>(v)).in,
               &b = network_.maker(static_cast<int64_t>(u)).in;
    return std::find_first_of(a.begin(), a.end(), b.begin(), b.end()) != a.end();
  };
  for (std::size_t i = 0; i < order.size(); ++i)
    for (std::size_t j = i + 1; j < order.size(); ++j)
      if (related(order[i], order[j])) try_without({order[i], order[j]});
  work_ = 0;
}

// Drops values until the others fit, each time the one that is cheapest for its size to make again, of those
// that are there when most is.
bool Network::Keeping::at_most(int64_t floats) {
  frame_.stages.clear();  // of another plan soon
  for (bool dropped = false;; dropped = true) {
    place();
    if (frame_.arena <= floats || tired()) return dropped;
    const int fullest = frame_.fullest();
    const double before = cost();
    double best = kNever;
    std::size_t which = 0;
    for (std::size_t v = 0; v < frame_.kept.size(); ++v) {
      if (!frame_.lives(v, fullest) || !may_go(v) || tired()) continue;
      auto as_it_was = mark();
      drop(v, use_before(v, fullest / 2));
      const double price = (cost() - before) / static_cast<double>(as_it_was.frame.floats(v));
      back_to(std::move(as_it_was));
      if (price < best) {
        best = price;
        which = v;
      }
    }
    if (best == kNever) return dropped;
    drop(which, use_before(which, fullest / 2));
  }
}

}  // namespace fastdeblur::nn
