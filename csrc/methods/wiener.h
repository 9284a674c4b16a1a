// The Wiener filter in three passes over memory; fastdeblur/methods/wiener.py is the specification.
#pragma once

#include "core/grid.h"

namespace fastdeblur {

// source: rows of the image, on `occupied` (the others are 0); otf: slabs of the transfer function; filter:
// WienerFilter with its regularizer; sink: takes the rows of the result.
template <class Engine, class Spectrum, class Source, class Otf, class Filter, class Sink>
void wiener(Engine& engine, Spectrum spectrum, Rows occupied, Source source, Otf otf, Filter filter,
            Sink sink) {
  engine.rows_forward(spectrum, occupied, source);
  engine.columns(spectrum, occupied, Rows::frame, otf, filter);
  engine.rows_inverse(spectrum, Rows::frame, sink);
}

}  // namespace fastdeblur
