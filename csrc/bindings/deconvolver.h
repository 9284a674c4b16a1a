#pragma once

#include <pybind11/pybind11.h>

// One for each precision, in files of their own: each instantiates all of ducc0's passes.
void bind_deconvolver_f32(pybind11::module_& m);
void bind_deconvolver_f64(pybind11::module_& m);
