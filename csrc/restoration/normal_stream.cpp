#include "restoration/normal_stream.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "core/ziggurat.h"

namespace fastdeblur::restoration {
namespace {

// Words of a generator, made a block at a time by independent chains: one alone waits for its products.
class Words {
 public:
  explicit Words(const Pcg64& start) : generator_(start) {
    constexpr int chains = 4;
    const Pcg64::Leap stride = Pcg64::leap({0, chains}, start.increment);
    Word128 s[chains];
    for (Word128& state : s)
      state = generator_.state = multiply_add(generator_.state, Pcg64::kMultiplier, start.increment);
    for (std::int64_t i = 0;; i += chains) {
      for (int c = 0; c < chains; ++c) block_[static_cast<std::size_t>(i + c)] = Pcg64::output(s[c]);
      if (i + chains == kBlock) break;
      for (Word128& state : s) state = multiply_add(state, stride.factor, stride.term);
    }
    generator_.state = s[chains - 1];
  }

  std::uint64_t next() {
    return used_ < kBlock ? block_[static_cast<std::size_t>(used_++)] : (++used_, generator_.next());
  }
  double uniform() { return static_cast<double>(next() >> 11) * (1.0 / 9007199254740992.0); }
  std::int64_t used() const { return used_; }
  const std::uint64_t* block() const { return block_.data(); }
  // At most to where the words drawn so far end, or to the block's end.
  void seek(std::int64_t at) { used_ = at; }

  static constexpr std::int64_t kBlock = 4096 + 32;

 private:
  std::array<std::uint64_t, kBlock> block_;
  std::int64_t used_ = 0;
  Pcg64 generator_;  // behind the block
};

// Numbers until `most` of them are drawn or the next would start at word `stop`, no further than the block,
// or later.
template <class T>
std::int64_t normals(Words& words, std::int64_t stop, std::int64_t most, T* out) {
  const Ziggurat& z = ziggurat();
  std::int64_t count = 0, at = 0;
  while (count < most && at < stop) {
    const ZigguratDraw draw(z, words.block()[at++]);
    double x = draw.x;
    if (!draw.inside(z)) {
      words.seek(at);
      bool accepted;
      x = finish_draw(z, draw, [&words] { return words.uniform(); }, accepted);
      at = words.used();
      if (!accepted) continue;
    }
    out[count++] = static_cast<T>(x);
  }
  words.seek(at);
  return count;
}

Pcg64 moved(Pcg64 generator, std::int64_t count) {
  generator.advance(static_cast<std::uint64_t>(count));
  return generator;
}

}  // namespace

template <class T>
void NormalStream<T>::fill(const Pcg64& generator, std::int64_t piece, std::int64_t offset) {
  Words words(moved(generator, piece * kWords + offset));
  Piece& p = pieces_[static_cast<std::size_t>(piece)];
  p.offset = offset;
  p.count = normals(words, kWords - offset, kWords, numbers_.data() + piece * kWords);
  p.end = offset + words.used();
}

template <class T>
void NormalStream<T>::draw(Pcg64& generator, std::int64_t count, Team& team) {
  // About 1.025 words a number, and some to spare.
  const std::int64_t most = (count + count / 32) / kWords + 2;
  if (static_cast<std::int64_t>(pieces_.size()) < most) pieces_.resize(static_cast<std::size_t>(most));
  numbers_.require(most * kWords);
  first_.assign(1, 0);
  team.parallel_for(most, [&](std::int64_t piece, int) { fill(generator, piece, 0); });
  Pcg64 start = generator;
  std::int64_t offset = 0, total = 0;
  for (std::int64_t piece = 0; total < count; ++piece) {
    if (piece == static_cast<std::int64_t>(pieces_.size())) throw std::runtime_error("a biased generator");
    Piece& p = pieces_[static_cast<std::size_t>(piece)];
    if (p.offset != offset) fill(start, piece, offset);
    if (total + p.count >= count) {
      T unused[kWords];
      Words words(moved(start, piece * kWords + offset));
      normals(words, kWords, count - total, unused);
      generator.advance(static_cast<std::uint64_t>(piece * kWords + offset + words.used()));
    }
    total += p.count;
    first_.push_back(total);
    offset = p.end - kWords;
  }
}

template <class T>
void NormalStream<T>::copy(std::int64_t first, std::int64_t count, T* out) const {
  std::size_t piece =
      static_cast<std::size_t>(std::upper_bound(first_.begin(), first_.end(), first) - first_.begin() - 1);
  while (count > 0) {
    const std::int64_t skip = first - first_[piece];
    const std::int64_t n = std::min(count, first_[piece + 1] - first);
    std::memcpy(out, numbers_.data() + static_cast<std::int64_t>(piece) * kWords + skip,
                static_cast<std::size_t>(n) * sizeof(T));
    first += n;
    out += n;
    count -= n;
    ++piece;
  }
}

template class NormalStream<float>;
template class NormalStream<double>;

}  // namespace fastdeblur::restoration
