// Standard normal numbers from a PCG64 generator, the same as NumPy's Generator draws in the same order, on
// several threads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/pcg64.h"
#include "cpu/buffer.h"
#include "cpu/parallel.h"

namespace fastdeblur::restoration {

// The numbers of one draw, in pieces: how many words a number takes is known only once it is drawn. Each
// piece starts at a guess, and is drawn anew if the piece before it ends elsewhere, which one in eighty does.
template <class T>
class NormalStream {
 public:
  // Draws count numbers and moves the generator to behind them.
  void draw(Pcg64& generator, std::int64_t count, Team& team);
  // Numbers [first, first + count) of the last draw.
  void copy(std::int64_t first, std::int64_t count, T* out) const;

 private:
  static constexpr std::int64_t kWords = 4096;  // of a piece

  struct Piece {
    std::int64_t offset = 0;  // words that belong to the piece before
    std::int64_t end = 0;     // first word, from the piece's start, that belongs to the next
    std::int64_t count = 0;   // numbers
  };
  void fill(const Pcg64& generator, std::int64_t piece, std::int64_t offset);

  Buffer<T> numbers_;  // [piece][kWords]
  std::vector<Piece> pieces_;
  std::vector<std::int64_t> first_;  // number of each piece, and the number of them all
};

extern template class NormalStream<float>;
extern template class NormalStream<double>;

}  // namespace fastdeblur::restoration
