#pragma once

#include <pybind11/pybind11.h>

namespace fastdeblur {

void bind_blind(pybind11::module_& m);

}  // namespace fastdeblur
