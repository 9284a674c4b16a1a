#include "signal/fft_convolve_impl.h"

namespace fastdeblur::signal {

template bool fft_convolve<float>(const Convolution&, const std::vector<ConvolutionPlane<float>>&,
                                  const std::vector<ImageView>&);
template bool overlap_save<float>(const OverlapSave&, const ConvolutionPlane<float>&, const ImageView&);

}  // namespace fastdeblur::signal
