#include "restoration/deconvolve_impl.h"

namespace fastdeblur::restoration {

template bool wiener<double>(const WienerCall<double>&, double*, int);
template bool richardson_lucy<double>(const RichardsonLucyCall<double>&, double*, int);

}  // namespace fastdeblur::restoration
