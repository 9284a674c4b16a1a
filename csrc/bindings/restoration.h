#pragma once

#include <pybind11/pybind11.h>

namespace fastdeblur {

// What stands behind fastdeblur.skimage.restoration.
void bind_restoration(pybind11::module_& m);
void bind_restoration_gibbs(pybind11::module_& m);

}  // namespace fastdeblur
