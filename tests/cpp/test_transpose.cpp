// The register transposes of every lane count, those of wider registers than this processor's included.
// Registers wider than the processor's are passed differently; nothing here is passed to code compiled
// otherwise.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#include <cstdio>
#include <vector>

#include "cpu/transpose.h"

namespace {

template <class T, int L>
bool transposes() {
  std::vector<T> in(L * (L + 3)), out(L * (L + 5), T(-1));
  for (int i = 0; i < L; ++i)
    for (int j = 0; j < L; ++j) in[static_cast<std::size_t>(i * (L + 3) + j)] = T(i * L + j);
  fastdeblur::transpose_block<T, L>([&](int i) { return in.data() + i * (L + 3); }, out.data(), L + 5);
  for (int i = 0; i < L; ++i)
    for (int j = 0; j < L + 5; ++j) {
      const std::size_t at = static_cast<std::size_t>(i * (L + 5) + j);
      if (at >= out.size()) break;
      if (out[at] != (j < L ? T(j * L + i) : T(-1))) {
        std::fprintf(stderr, "failed: %d lanes of %d bytes, element (%d, %d)\n", L,
                     static_cast<int>(sizeof(T)), i, j);
        return false;
      }
    }
  return true;
}

}  // namespace

int main() {
  const bool good = transposes<float, 1>() && transposes<float, 4>() && transposes<float, 8>() &&
                    transposes<float, 16>() && transposes<double, 1>() && transposes<double, 2>() &&
                    transposes<double, 4>() && transposes<double, 8>();
  return good ? 0 : 1;
}
