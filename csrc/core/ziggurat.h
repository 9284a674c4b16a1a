// The ziggurat of Marsaglia and Tsang 2000, doi:10.18637/jss.v005.i08, in the form that NumPy uses: 256
// layers, and of each word 8 bits choose the layer, one the sign and 52 the abscissa. Tables are made here,
// in double: they differ from NumPy's in the last bits, which moves a number by a rounding error, and the
// choice between two branches once in about 1e16 draws.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace fastdeblur {

struct Ziggurat {
  static constexpr double kEdge = 3.6541528853610087963519472518;  // where the tail begins
  static constexpr double kArea = 0.00492867323397465524494;       // of each layer

  std::array<double, 256> width, height;  // of a layer, per unit of the abscissa; exp(-x^2 / 2)
  std::array<std::uint64_t, 256> inside;  // abscissae below this are under the curve

  Ziggurat() {
    const double unit = 4503599627370496.0;  // 2^52
    double x = kEdge;
    width[255] = x / unit;
    height[255] = std::exp(-0.5 * x * x);
    inside[0] = static_cast<std::uint64_t>(x * height[255] / kArea * unit);
    width[0] = kArea / height[255] / unit;
    height[0] = 1;
    inside[1] = 0;
    for (std::size_t i = 254; i >= 1; --i) {
      const double next = std::sqrt(-2 * std::log(kArea / x + height[i + 1]));
      inside[i + 1] = static_cast<std::uint64_t>(next / x * unit);
      width[i] = next / unit;
      height[i] = std::exp(-0.5 * next * next);
      x = next;
    }
  }
};

inline const Ziggurat& ziggurat() {
  static const Ziggurat tables;
  return tables;
}

// A word as the ziggurat reads it.
struct ZigguratDraw {
  std::size_t layer;
  std::uint64_t abscissa;
  double x;

  ZigguratDraw(const Ziggurat& z, std::uint64_t word)
      : layer(word & 0xff), abscissa(word >> 9 & 0x000fffffffffffffu) {
    x = static_cast<double>(static_cast<std::int64_t>(abscissa)) * z.width[layer];
    x = std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) ^ (word >> 8 & 1) << 63);
  }
  bool inside(const Ziggurat& z) const { return abscissa < z.inside[layer]; }
};

// The number that a draw outside its layer's inner part ends in; `accepted` is false where it has to be drawn
// anew. uniform() gives the generator's next numbers in [0, 1).
template <class Uniform>
double finish_draw(const Ziggurat& z, const ZigguratDraw& draw, Uniform uniform, bool& accepted) {
  accepted = true;
  if (draw.layer == 0) {
    for (;;) {
      const double beyond = -std::log1p(-uniform()) / z.kEdge, y = -std::log1p(-uniform());
      if (y + y > beyond * beyond) return (draw.abscissa >> 8) & 1 ? -(z.kEdge + beyond) : z.kEdge + beyond;
    }
  }
  const double at = (z.height[draw.layer - 1] - z.height[draw.layer]) * uniform() + z.height[draw.layer];
  accepted = at < std::exp(-0.5 * draw.x * draw.x);
  return draw.x;
}

}  // namespace fastdeblur
