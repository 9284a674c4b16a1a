#include "cpu/fft_impl.h"

namespace fastdeblur {

template class RealFft<float, 1>;
template class ComplexFft<float, 1>;
#if FASTDEBLUR_REGISTER_BYTES
template class RealFft<float, native_lanes<float>>;
template class ComplexFft<float, native_lanes<float>>;
#endif

}  // namespace fastdeblur
