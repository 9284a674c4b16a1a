#include "cuda/deconvolver_device.h"

namespace fastdeblur::cuda {

template std::unique_ptr<Deconvolver<float>> make_deconvolver(int, Problem<float>);
template double deconvolver_bytes(const Problem<float>&, bool, Acceleration, bool, bool);

}  // namespace fastdeblur::cuda
