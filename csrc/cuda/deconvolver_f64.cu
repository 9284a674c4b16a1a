#include "cuda/deconvolver_device.h"

namespace fastdeblur::cuda {

template std::unique_ptr<Deconvolver<double>> make_deconvolver(int, Problem<double>);
template double deconvolver_bytes(const Problem<double>&, bool, Acceleration, bool, bool);

}  // namespace fastdeblur::cuda
