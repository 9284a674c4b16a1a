#include "restoration/deconvolve_impl.h"

namespace fastdeblur::restoration {

template bool wiener<float>(const WienerCall<float>&, float*, int);
template bool richardson_lucy<float>(const RichardsonLucyCall<float>&, float*, int);

}  // namespace fastdeblur::restoration
