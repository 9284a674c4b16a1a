#include "cpu/deconvolver_impl.h"

namespace fastdeblur {

template std::unique_ptr<Deconvolver<double>> make_deconvolver(Problem<double>, bool);
template double deconvolver_bytes(const Problem<double>&, bool, bool, Acceleration, bool, bool);

}  // namespace fastdeblur
