#include "cpu/fft_impl.h"

namespace fastdeblur {

template class RealFft<double, 1>;
template class ComplexFft<double, 1>;
#if FASTDEBLUR_REGISTER_BYTES
template class RealFft<double, native_lanes<double>>;
template class ComplexFft<double, native_lanes<double>>;
#endif

}  // namespace fastdeblur
