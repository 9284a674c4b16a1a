// Bessel functions of the first kind, orders 0 and 1: the standard library's are missing in some libraries
// and slow.
//
// Chebyshev series in t, |t| <= 1. Up to x = 8: J0(x) and J1(x) / x in t = 2 (x/8)^2 - 1. Beyond, by Hankel's
//   J_n(x) = sqrt(2 / (pi x)) (P_n cos(x - (2n+1) pi/4) - Q_n / x sin(x - (2n+1) pi/4)),
// P_n and Q_n in t = 2 (8/x)^2 - 1 (the form of Clenshaw 1962, Chebyshev series for mathematical functions).
// The coefficients are cosine sums of the functions' values at Chebyshev's points, taken with 40 digits.
// Absolute errors stay under 1e-15 up to x = 100; then the rounding of x in the cosine's argument shows,
// about 1e-16 sqrt(x).
#pragma once

#include <cmath>
#include <cstddef>

namespace fastdeblur::psf {

namespace bessel_detail {

inline constexpr double kJ0[] = {0.15772797147489012,     -0.008723442352852221,   0.2651786132033368,
                                 -0.37009499387264977,    0.15806710233209725,     -0.034893769411408884,
                                 0.004819180069467605,    -0.00046062616620627504, 3.246032882100508e-05,
                                 -1.7619469077621507e-06, 7.608163592418782e-08,   -2.679253530557673e-09,
                                 7.848696314479465e-11,   -1.9438346867370164e-12, 4.125320595634374e-14,
                                 -7.588508125447546e-16,  1.2218515873961411e-17};
inline constexpr double kJ1[] = {
    0.08104484632565812,    -0.1489751450676521,    0.1609992623572097,     -0.08268049176681791,
    0.022213639654966037,   -0.003646940600769276,  0.0004050337728354822,  -3.255554866857259e-05,
    1.9858774049915165e-06, -9.521984756750436e-08, 3.687133759097148e-09,  -1.178026622695885e-10,
    3.160154580348003e-12,  -7.221755239651773e-14, 1.4232144003513942e-15, -2.4441972916190464e-17};
inline constexpr double kP0[] = {0.9994603493475187,      -0.0005365220468132117,  3.0751847875194745e-06,
                                 -5.1705945376060975e-08, 1.6306464635151382e-09,  -7.86409137723707e-11,
                                 5.168262387349193e-12,   -4.3045788699253914e-13, 4.3265957431549404e-14,
                                 -5.069034095935236e-15,  6.748072215733873e-16,   -1.0011513723467786e-16,
                                 1.6305919233744186e-17,  -2.880866169482871e-18};
inline constexpr double kQ0[] = {
    -0.12444683684269607,    0.0005470815954089319,  -5.9315987288485175e-06, 1.4377965798375193e-07,
    -5.817532749493056e-09,  3.376097523734991e-10,  -2.565397936797308e-11,  2.404916100281365e-12,
    -2.6690625482579414e-13, 3.4041800321963686e-14, -4.87994410531204e-15,   7.729703176242605e-16,
    -1.3348852171502517e-16, 2.4865952389390515e-17, -4.952892629886516e-18,  1.0473158973776097e-18};
inline constexpr double kP1[] = {1.0009030408600137,      0.0008989898330859408,   -3.987284300488908e-06,
                                 6.177633960644299e-08,   -1.8718907491063067e-09, 8.816898659582339e-11,
                                 -5.704863640395645e-12,  4.699195515230542e-13,   -4.6842237839904895e-14,
                                 5.452674896044717e-15,   -7.221180842274018e-16,  1.0667689114335412e-16,
                                 -1.7312313216116335e-17, 3.0492991197665872e-18};
inline constexpr double kQ1[] = {
    0.3742222965562826,     -0.0007702178839325664, 7.3108922063643636e-06, -1.676782510726674e-07,
    6.583354662120443e-09,  -3.749090950541556e-10, 2.8121750359748866e-11, -2.61145253946232e-12,
    2.8774212663332235e-13, -3.649001916061838e-14, 5.206626366226707e-15,  -8.215318025458595e-16,
    1.4141084390211833e-16, -2.626761589838529e-17, 5.2192649196714085e-18, -1.101261718787959e-18};

// Clenshaw's recurrence.
template <std::size_t N>
double chebyshev(const double (&c)[N], double t) {
  double b1 = 0.0, b2 = 0.0;
  for (std::size_t k = N - 1; k > 0; --k) {
    const double b0 = 2.0 * t * b1 - b2 + c[k];
    b2 = b1;
    b1 = b0;
  }
  return t * b1 - b2 + c[0];
}

}  // namespace bessel_detail

// x >= 0.
inline double bessel_j0(double x) {
  using namespace bessel_detail;
  if (x <= 8.0) return chebyshev(kJ0, x * x / 32.0 - 1.0);
  constexpr double kSqrtInvPi = 0.56418958354775628695;
  const double t = 128.0 / (x * x) - 1.0, p = chebyshev(kP0, t), q = chebyshev(kQ0, t) / x;
  // cos(x - pi/4) = (cos x + sin x) / sqrt 2 and so on: x itself is not rounded.
  const double c = std::cos(x), s = std::sin(x);
  return kSqrtInvPi / std::sqrt(x) * (p * (c + s) - q * (s - c));
}

// x >= 0.
inline double bessel_j1(double x) {
  using namespace bessel_detail;
  if (x <= 8.0) return x * chebyshev(kJ1, x * x / 32.0 - 1.0);
  constexpr double kSqrtInvPi = 0.56418958354775628695;
  const double t = 128.0 / (x * x) - 1.0, p = chebyshev(kP1, t), q = chebyshev(kQ1, t) / x;
  const double c = std::cos(x), s = std::sin(x);
  return kSqrtInvPi / std::sqrt(x) * (p * (s - c) + q * (s + c));
}

}  // namespace fastdeblur::psf
