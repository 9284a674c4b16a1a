#include "bindings/deconvolver_impl.h"

void bind_deconvolver_f64(pybind11::module_& m) { fastdeblur::bind_deconvolver<double>(m, "F64"); }
