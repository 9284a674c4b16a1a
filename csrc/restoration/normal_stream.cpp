// The ziggurat of Marsaglia and Tsang 2000, doi:10.18637/jss.v005.i08, in the form that NumPy uses: 256
// layers, and of each word 8 bits choose the layer, one the sign and 52 the abscissa. Tables are made here,
// in double: they differ from NumPy's in the last bits, which moves a number by a rounding error, and the
// choice between two branches once in about 1e16 draws.
#include "restoration/normal_stream.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace fastdeblur::restoration {
namespace {

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 Wide;
inline Wide wide(Word128 w) { return Wide(w.high) << 64 | w.low; }
inline Word128 narrow(Wide w) { return {static_cast<std::uint64_t>(w >> 64), static_cast<std::uint64_t>(w)}; }
inline Word128 multiply_add(Word128 a, Word128 b, Word128 c) { return narrow(wide(a) * wide(b) + wide(c)); }
#else
inline Word128 multiply_add(Word128 a, Word128 b, Word128 c) {
  constexpr std::uint64_t mask = 0xffffffffu;
  const std::uint64_t a0 = a.low & mask, a1 = a.low >> 32, b0 = b.low & mask, b1 = b.low >> 32;
  const std::uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (middle & mask);
  Word128 r{a1 * b1 + (middle >> 32) + (other >> 32) + a.high * b.low + a.low * b.high,
            (other << 32) | (low & mask)};
  r.low += c.low;
  r.high += c.high + (r.low < c.low ? 1 : 0);
  return r;
}
#endif

constexpr Word128 kMultiplier{2549297995355413924u, 4865540595714422341u};

inline std::uint64_t output(Word128 s) {
  const std::uint64_t mixed = s.high ^ s.low;
  const unsigned turn = static_cast<unsigned>(s.high >> 58);
  return mixed >> turn | mixed << ((64 - turn) & 63);
}

// state -> factor state + term: so many steps at once.
struct Leap {
  Word128 factor{0, 1}, term{0, 0};
};

Leap leap(std::uint64_t count, Word128 increment) {
  Leap result;
  Word128 factor = kMultiplier, term = increment;
  for (; count; count >>= 1) {
    if (count & 1) {
      result.factor = multiply_add(result.factor, factor, {0, 0});
      result.term = multiply_add(result.term, factor, term);
    }
    term = multiply_add(factor, term, term);
    factor = multiply_add(factor, factor, {0, 0});
  }
  return result;
}

constexpr double kEdge = 3.6541528853610087963519472518;  // where the tail begins
constexpr double kArea = 0.00492867323397465524494;       // of each layer

struct Ziggurat {
  std::array<double, 256> width, height;  // of a layer, per unit of the abscissa; exp(-x^2 / 2)
  std::array<std::uint64_t, 256> inside;  // abscissae below this are under the curve

  Ziggurat() {
    const double unit = 4503599627370496.0;  // 2^52
    double x = kEdge;
    width[255] = x / unit;
    height[255] = std::exp(-0.5 * x * x);
    inside[0] = static_cast<std::uint64_t>(x * height[255] / kArea * unit);
    width[0] = kArea / height[255] / unit;
    height[0] = 1;
    inside[1] = 0;
    for (std::size_t i = 254; i >= 1; --i) {
      const double next = std::sqrt(-2 * std::log(kArea / x + height[i + 1]));
      inside[i + 1] = static_cast<std::uint64_t>(next / x * unit);
      width[i] = next / unit;
      height[i] = std::exp(-0.5 * next * next);
      x = next;
    }
  }
};

const Ziggurat& ziggurat() {
  static const Ziggurat tables;
  return tables;
}

// Words of a generator, made a block at a time by independent chains: one alone waits for its products.
class Words {
 public:
  explicit Words(const Pcg64& start) : generator_(start) {
    constexpr int chains = 4;
    const Leap stride = leap(chains, start.increment);
    Word128 s[chains];
    for (Word128& state : s)
      state = generator_.state = multiply_add(generator_.state, kMultiplier, start.increment);
    for (std::int64_t i = 0;; i += chains) {
      for (int c = 0; c < chains; ++c) block_[static_cast<std::size_t>(i + c)] = output(s[c]);
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

double slow_normal(Words& words, const Ziggurat& z, std::size_t layer, std::uint64_t abscissa, double x,
                   bool& accepted) {
  accepted = true;
  if (layer == 0) {
    for (;;) {
      const double beyond = -std::log1p(-words.uniform()) / kEdge, y = -std::log1p(-words.uniform());
      if (y + y > beyond * beyond) return (abscissa >> 8) & 1 ? -(kEdge + beyond) : kEdge + beyond;
    }
  }
  const double at = (z.height[layer - 1] - z.height[layer]) * words.uniform() + z.height[layer];
  accepted = at < std::exp(-0.5 * x * x);
  return x;
}

// Numbers until `most` of them are drawn or the next would start at word `stop`, no further than the block,
// or later.
template <class T>
std::int64_t normals(Words& words, std::int64_t stop, std::int64_t most, T* out) {
  const Ziggurat& z = ziggurat();
  std::int64_t count = 0, at = 0;
  while (count < most && at < stop) {
    const std::uint64_t word = words.block()[at++];
    const std::size_t layer = word & 0xff;
    const std::uint64_t abscissa = word >> 9 & 0x000fffffffffffffu;
    double x = static_cast<double>(static_cast<std::int64_t>(abscissa)) * z.width[layer];
    x = std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) ^ (word >> 8 & 1) << 63);
    if (abscissa >= z.inside[layer]) {
      words.seek(at);
      bool accepted;
      x = slow_normal(words, z, layer, abscissa, x, accepted);
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

std::uint64_t Pcg64::next() {
  state = multiply_add(state, kMultiplier, increment);
  return output(state);
}

void Pcg64::advance(std::uint64_t count) {
  const Leap l = leap(count, increment);
  state = multiply_add(state, l.factor, l.term);
}

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
