#include "cpu/deconvolver_impl.h"

namespace fastdeblur {

template std::unique_ptr<Deconvolver<float>> make_deconvolver(Problem<float>, bool);
template double deconvolver_bytes(const Problem<float>&, bool, bool, Acceleration, bool, bool);

}  // namespace fastdeblur
