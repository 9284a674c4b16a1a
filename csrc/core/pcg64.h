// PCG64 (O'Neill 2014, HMC-CS-2014-0905; XSL-RR output), the generator behind NumPy's default_rng.
#pragma once

#include <cstdint>

namespace fastdeblur {

struct Word128 {
  std::uint64_t high, low;
};

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

// state <- multiplier state + increment, modulo 2^128.
struct Pcg64 {
  static constexpr Word128 kMultiplier{2549297995355413924u, 4865540595714422341u};

  // state -> factor state + term: so many steps at once.
  struct Leap {
    Word128 factor{0, 1}, term{0, 0};
  };

  Word128 state, increment;

  static std::uint64_t output(Word128 s) {
    const std::uint64_t mixed = s.high ^ s.low;
    const unsigned turn = static_cast<unsigned>(s.high >> 58);
    return mixed >> turn | mixed << ((64 - turn) & 63);
  }

  static Leap leap(Word128 count, Word128 increment) {
    Leap result;
    Word128 factor = kMultiplier, term = increment;
    for (; count.high | count.low; count = {count.high >> 1, count.low >> 1 | count.high << 63}) {
      if (count.low & 1) {
        result.factor = multiply_add(result.factor, factor, {0, 0});
        result.term = multiply_add(result.term, factor, term);
      }
      term = multiply_add(factor, term, term);
      factor = multiply_add(factor, factor, {0, 0});
    }
    return result;
  }

  std::uint64_t next() {
    state = multiply_add(state, kMultiplier, increment);
    return output(state);
  }

  // Uniform in [0, 1), as NumPy's Generator.random.
  double uniform() { return static_cast<double>(next() >> 11) * (1.0 / 9007199254740992.0); }

  // As if next had been called this often.
  void advance(const Leap& l) { state = multiply_add(state, l.factor, l.term); }
  void advance(Word128 count) { advance(leap(count, increment)); }
  void advance(std::uint64_t count) { advance(Word128{0, count}); }

  // The generator that NumPy's PCG64.jumped(index) gives: steps of 2^128 over the golden ratio apart, so that
  // the streams of successive indices share no bits.
  Pcg64 jumped(std::uint64_t index) const {
    Pcg64 result = *this;
    result.advance(multiply_add(kJump, {0, index}, {0, 0}));
    return result;
  }
  static constexpr Word128 kJump{0x9e3779b97f4a7c15u, 0xf39cc0605cedc835u};
};

}  // namespace fastdeblur
