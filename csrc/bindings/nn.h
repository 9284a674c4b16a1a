#pragma once

#include <pybind11/pybind11.h>

namespace fastdeblur {

void bind_nn(pybind11::module_& m);

}  // namespace fastdeblur
