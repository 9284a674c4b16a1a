// Richardson-Lucy as it is first written down: a scene that is 0 outside the frame, an update that is not
// divided by H^T 1, and a back projector of its own. Four passes an iteration.
#pragma once

#include <cstdint>

#include "core/functors.h"
#include "core/grid.h"

namespace fastdeblur {

// y / (Hx + eps), and 0 where the blur is below least, if there is such a limit.
template <class T>
struct PlainRatio {
  T scale, eps, least;  // scale: of the inverse transform
  bool limited;
  FD_HD T blurred(T model) const { return model * scale + eps; }
  FD_HD T operator()(T blur, T data) const {
    const T ratio = data / blur;
    return limited && blur < least ? T(0) : ratio;
  }
};

// start, ratio, update: row programs that leave 0 outside the frame. blur, back: the columns' filters.
// go_on() is asked after each ratio.
template <class Engine, class Spectrum, class Start, class Ratio, class Update, class Otf, class Blur,
          class Back, class GoOn>
bool richardson_lucy_plain(Engine& engine, Spectrum spectrum, std::int64_t iterations, Start start,
                           Ratio ratio, Update update, Otf otf, Blur blur, Back back, GoOn go_on) {
  engine.rows_forward(spectrum, Rows::frame, start);
  for (std::int64_t k = 0; k < iterations; ++k) {
    engine.columns(spectrum, Rows::frame, Rows::frame, otf, blur);
    engine.rows(spectrum, Rows::frame, ratio);
    if (!go_on()) return false;
    engine.columns(spectrum, Rows::frame, Rows::frame, otf, back);
    if (k + 1 == iterations) {
      engine.rows_inverse(spectrum, Rows::frame, update);
    } else {
      engine.rows(spectrum, Rows::frame, update);
    }
  }
  return true;
}

}  // namespace fastdeblur
