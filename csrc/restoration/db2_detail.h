// The all-detail band of one level of Daubechies' wavelet transform with two vanishing moments.
#pragma once

#include <cstdint>

namespace fastdeblur::restoration {

constexpr std::int64_t db2_length(std::int64_t n) { return (n + 3) / 2; }

// High-pass filter and decimation along the middle axis of (outer, n, inner) to (outer, db2_length(n),
// inner), with the axis mirrored about its ends' outer edges.
template <class T>
void db2_detail(const T* in, std::int64_t outer, std::int64_t n, std::int64_t inner, T* out, int n_threads);

extern template void db2_detail<float>(const float*, std::int64_t, std::int64_t, std::int64_t, float*, int);
extern template void db2_detail<double>(const double*, std::int64_t, std::int64_t, std::int64_t, double*,
                                        int);

}  // namespace fastdeblur::restoration
