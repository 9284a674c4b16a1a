#include "bindings/deconvolver_impl.h"

void bind_deconvolver_f32(pybind11::module_& m) { fastdeblur::bind_deconvolver<float>(m, "F32"); }
