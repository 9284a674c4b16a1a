// How a transform's length is split into radices, and the tables of one grid.
//
// Transforms stay in place, in one buffer of shared memory: the forward one decimates in frequency (natural
// order in, permuted out), the inverse one walks the same stages backwards (permuted in, natural out), so
// that nothing is ever reordered: filters look up which frequency a position holds, and the rows' half
// spectra are gathered from their positions as they are stored. Each butterfly writes where it has read,
// which leaves one barrier between stages, and room for twice the columns that a copying (Stockham) transform
// could hold.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/grid.h"
#include "cuda/fft/complex.h"

namespace fastdeblur::cuda {

constexpr int kMaxStages = 14;
constexpr int kMaxLength = 1 << 15;  // positions and divisions count on less than 2^16

// A transform as the kernels see it. Stage s takes blocks of radix[s] * span[s] elements apart into radix[s]
// blocks of span[s]; frequency p_0 + r_0 (p_1 + r_1 (p_2 + ...)) ends at position p_0 span_0 + p_1 span_1 +
// ...
template <class T>
struct Fft {
  int length = 1, stages = 0;
  int first = 0,
      last = 0;  // stages [first, last) run on shared memory; one before and one after may be joined
                 // to a load, a store or a program: a radix of 8, whose values stay in registers
  int radix[kMaxStages] = {};
  Divider span[kMaxStages];
  const Complex<T>* twiddle[kMaxStages] = {};  // [q - 1][j]: exp(-2 pi i q j / (radix span))
  const std::int32_t* frequency = nullptr;     // of a position
  const std::int32_t* position = nullptr;      // of a frequency

  FD_HD bool joined_first() const { return first > 0; }
  FD_HD bool joined_last() const { return last < stages; }
};

// Radices that multiply to n, or none if it has another factor. Eights outside, where they can be joined to
// loads, stores and programs.
inline std::vector<int> radices(int n) {
  std::vector<int> inner;
  for (int r : {13, 11, 7, 5, 3})
    for (; n % r == 0; n /= r) inner.push_back(r);
  int twos = 0;
  for (; n % 2 == 0; n /= 2) ++twos;
  if (n != 1) return {};
  std::vector<int> eights(static_cast<std::size_t>(twos / 3), 8);
  if (twos % 3 == 1 && twos > 7) {  // 4 4 is quicker than 8 2, where both ends keep their eights
    eights.pop_back();
    inner.insert(inner.end(), {4, 4});
  } else if (twos % 3) {
    inner.push_back(twos % 3 == 1 ? 2 : 4);
  }
  std::vector<int> result;
  if (!eights.empty()) result.push_back(8);
  result.insert(result.end(), inner.begin(), inner.end());
  for (std::size_t i = 1; i < eights.size(); ++i) result.push_back(8);
  return result;
}

inline bool has_radices(std::int64_t n) {
  return n >= 1 && n <= kMaxLength && (n == 1 || !radices(static_cast<int>(n)).empty());
}

// exp(-2 pi i k / n), exact to the last bit but one: from an angle within an eighth of the circle.
template <class T>
Complex<T> root(std::int64_t k, std::int64_t n) {
  k %= n;
  const std::int64_t octant = 8 * k / n;
  const double pi = 3.14159265358979323846;
  // k / n = quarter / 4 + rest, |rest| <= 1 / 8
  const std::int64_t quarter = (octant + 1) / 2;
  const double rest = 2 * pi * static_cast<double>(4 * k - quarter * n) / static_cast<double>(4 * n);
  const double c = std::cos(rest), s = std::sin(rest);
  const double re[4] = {c, -s, -c, s}, im[4] = {s, c, -s, -c};
  const auto q = static_cast<std::size_t>(quarter % 4);
  return {static_cast<T>(re[q]), static_cast<T>(-im[q])};
}

// The tables of all transforms of a grid, to be copied to where the kernels run.
template <class T>
struct Tables {
  std::vector<Complex<T>> roots;
  std::vector<std::int32_t> orders;

  // Adds a transform's tables; its pointers are offsets until `placed`.
  Fft<T> add(int n) {
    Fft<T> fft;
    fft.length = n;
    const std::vector<int> split = radices(n);
    fft.stages = static_cast<int>(split.size());
    int block = n;
    for (int s = 0; s < fft.stages; ++s) {
      const int r = split[static_cast<std::size_t>(s)], span = block / r;
      fft.radix[s] = r;
      fft.span[s] = Divider(span);
      offsets_.push_back(roots.size());
      for (int q = 1; q < r; ++q)
        for (int j = 0; j < span; ++j) roots.push_back(root<T>(std::int64_t(q) * j, block));
      block = span;
    }
    fft.first = fft.stages > 0 && fft.radix[0] == 8 ? 1 : 0;
    fft.last = fft.stages > fft.first && fft.radix[fft.stages - 1] == 8 ? fft.stages - 1 : fft.stages;
    std::vector<std::int32_t> frequency(static_cast<std::size_t>(n)), position(frequency.size());
    for (int at = 0; at < n; ++at) {
      int rest = at, weight = 1, k = 0;
      for (int s = 0; s < fft.stages; ++s) {
        k += rest / fft.span[s].value() * weight;
        rest %= fft.span[s].value();
        weight *= fft.radix[s];
      }
      frequency[static_cast<std::size_t>(at)] = k;
      position[static_cast<std::size_t>(k)] = at;
    }
    orders.insert(orders.end(), frequency.begin(), frequency.end());
    orders.insert(orders.end(), position.begin(), position.end());
    return fft;
  }

  // The same transforms, in the order they were added, with their tables at these addresses.
  void place(Fft<T>& fft, const Complex<T>* roots_at, const std::int32_t* orders_at) {
    for (int s = 0; s < fft.stages; ++s) fft.twiddle[s] = roots_at + offsets_[next_++];
    fft.frequency = orders_at + next_order_;
    fft.position = fft.frequency + fft.length;
    next_order_ += static_cast<std::size_t>(2 * fft.length);
  }

 private:
  std::vector<std::size_t> offsets_;
  std::size_t next_ = 0, next_order_ = 0;
};

}  // namespace fastdeblur::cuda
