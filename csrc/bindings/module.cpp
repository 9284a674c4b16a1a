// The compiled core, one module per instruction-set level.
#include <pybind11/pybind11.h>

#include "bindings/blind.h"
#include "bindings/deconvolver.h"
#include "bindings/ndimage.h"
#include "bindings/nn.h"
#include "bindings/psf.h"
#include "bindings/restoration.h"
#include "bindings/signal.h"
#include "cpu/parallel.h"

PYBIND11_MODULE(FASTDEBLUR_MODULE, m) {
  fastdeblur::detail::watch_for_fork();
  m.doc() = "The compiled core of fastdeblur.";
  m.attr("isa") = FASTDEBLUR_ISA_NAME;
#if defined(_OPENMP)
  m.attr("openmp") = true;
#else
  m.attr("openmp") = false;
#endif
  m.def("default_threads", &fastdeblur::default_threads, "What n_threads = 0 means.");
  fastdeblur::bind_deconvolver(m);
  fastdeblur::bind_blind(m);
  fastdeblur::bind_psf(m);
  fastdeblur::bind_psf_microscopy(m);
  fastdeblur::bind_psf_optics(m);
  fastdeblur::bind_psf_paths(m);
  fastdeblur::bind_ndimage(m);
  fastdeblur::bind_nn(m);
  fastdeblur::bind_restoration(m);
  fastdeblur::bind_signal(m);
}
