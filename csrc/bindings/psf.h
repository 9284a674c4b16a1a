#pragma once

#include <pybind11/pybind11.h>

namespace fastdeblur {

void bind_psf(pybind11::module_& m);
void bind_psf_microscopy(pybind11::module_& m);
void bind_psf_optics(pybind11::module_& m);
void bind_psf_paths(pybind11::module_& m);

}  // namespace fastdeblur
