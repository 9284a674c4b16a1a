#include "signal/fft_convolve_impl.h"

namespace fastdeblur::signal {

template bool fft_convolve<double>(const Convolution&, const std::vector<ConvolutionPlane<double>>&,
                                   const std::vector<ImageView>&);
template bool overlap_save<double>(const OverlapSave&, const ConvolutionPlane<double>&, const ImageView&);

}  // namespace fastdeblur::signal
