// The Wiener filter in three passes over memory; fastdeblur/methods/wiener.py is the specification.
#pragma once

#include "core/grid.h"

namespace fastdeblur {

// source: rows of the image, on `occupied` (the others are 0); otf: slabs of the transfer function; filter:
// WienerFilter with its regularizer; sink: takes the rows of the result; read(): called when the pass that
// reads the image has been queued.
template <class Engine, class Spectrum, class Source, class Otf, class Filter, class Sink, class Read>
void wiener(Engine& engine, Spectrum spectrum, Rows occupied, Source source, Otf otf, Filter filter,
            Sink sink, Read read) {
  engine.rows_forward(spectrum, occupied, source);
  read();
  engine.columns(spectrum, occupied, Rows::frame, otf, filter);
  engine.rows_inverse(spectrum, Rows::frame, sink);
}

template <class Engine, class Spectrum, class Source, class Otf, class Filter, class Sink>
void wiener(Engine& engine, Spectrum spectrum, Rows occupied, Source source, Otf otf, Filter filter,
            Sink sink) {
  wiener(engine, spectrum, occupied, source, otf, filter, sink, [] {});
}

}  // namespace fastdeblur
