// What one instruction of a fused operator computes of one element, or of three at most.
//
// All but the transcendental ones round once, as the standard says, so that their bits are those of any other
// implementation. Nothing here may be contracted to fused multiply-adds: processors that have none would differ.
#pragma once

#include <cmath>
#include <cstring>

// Name, number of operands, value. Python numbers instructions in this order: see `vflc_kernels.programs`.
#define ARITHMETIC(of)                                                             \
  of(Neg, 1, -x)                                                                   \
  of(Abs, 1, std::fabs(x))                                                         \
  of(Sqrt, 1, std::sqrt(x))                                                        \
  of(Reciprocal, 1, T(1) / x)                                                      \
  of(Relu, 1, x > T(0) ? x : (x != x ? x : T(0)))                                  \
  of(Exp, 1, exponential(x))                                                       \
  of(Log, 1, logarithm(x))                                                         \
  of(Sigmoid, 1, T(1) / (T(1) + exponential(-x)))                                  \
  of(Tanh, 1, hyperbolic_tangent(x))                                               \
  of(Cast, 1, x)                                                                   \
  of(Add, 2, x + y)                                                                \
  of(Sub, 2, x - y)                                                                \
  of(Mul, 2, x * y)                                                                \
  of(Div, 2, x / y)                                                                \
  of(Pow, 2, std::pow(x, y))                                                       \
  of(Max, 2, x != x ? x : (x > y || (y == y && !(x < y)) ? x : y))                   \
  of(Min, 2, x != x ? x : (x < y || (y == y && !(x > y)) ? x : y))                   \
  of(Greater, 2, T(x > y))                                                         \
  of(GreaterOrEqual, 2, T(x >= y))                                                 \
  of(Less, 2, T(x < y))                                                            \
  of(LessOrEqual, 2, T(x <= y))                                                    \
  of(Equal, 2, T(x == y))                                                          \
  of(Where, 3, x != T(0) ? y : z)                                                  \
  of(HardSigmoid, 3, unit_interval(x * y + z))                                     \
  of(MulAdd, 3, x * y + z)                                                         \
  of(MulSub, 3, x * y - z)                                                         \
  of(SubMul, 3, z - x * y)

#define INLINE inline __attribute__((always_inline))

template <class T>
INLINE T unit_interval(T x) {
  T most = x > T(1) ? T(1) : x;
  return most < T(0) ? T(0) : most;
}

INLINE double exponential(double x) { return std::exp(x); }
INLINE double logarithm(double x) { return std::log(x); }
INLINE double hyperbolic_tangent(double x) { return std::tanh(x); }

// S. L. Moshier's Cephes, single precision, without branches, so that they are computed a vector at a time.

INLINE float with_bits(int32_t bits) {
  float made;
  std::memcpy(&made, &bits, sizeof made);
  return made;
}

INLINE int32_t bits_of(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}

INLINE float exponential(float given) {
  float x = given > 88.8f ? 88.8f : given;
  x = x < -104.0f ? -104.0f : x;
  x = given != given ? 0.0f : x;  // has no whole number
  float shifted = x * 1.44269504088896341f + 12582912.0f;  // 1.5 · 2^23: what is left is rounded to whole numbers
  float whole = shifted - 12582912.0f;
  x = x - whole * 0.693359375f;
  x = x - whole * -2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * x + 1.3981999507e-3f;
  y = y * x + 8.3334519073e-3f;
  y = y * x + 4.1665795894e-2f;
  y = y * x + 1.6666665459e-1f;
  y = y * x + 5.0000001201e-1f;
  y = y * (x * x) + x + 1.0f;
  // 2^n in two factors, as n may be below the least exponent, or 128
  int32_t n = static_cast<int32_t>(whole);
  int32_t half = n >> 1;
  y = y * with_bits((half + 127) << 23) * with_bits((n - half + 127) << 23);
  return given != given ? given : y;
}

INLINE float logarithm(float given) {
  bool small = given < 1.17549435e-38f;
  float scaled = small ? given * 8388608.0f : given;
  int32_t bits = bits_of(scaled);
  int32_t exponent = ((bits >> 23) & 255) - 126 - (small ? 23 : 0);
  float x = with_bits((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
  bool low = x < 0.707106781186547524f;
  float e = static_cast<float>(low ? exponent - 1 : exponent);
  x = low ? x + x - 1.0f : x - 1.0f;
  float z = x * x;
  float y = 7.0376836292e-2f;
  y = y * x - 1.1514610310e-1f;
  y = y * x + 1.1676998740e-1f;
  y = y * x - 1.2420140846e-1f;
  y = y * x + 1.4249322787e-1f;
  y = y * x - 1.6668057665e-1f;
  y = y * x + 2.0000714765e-1f;
  y = y * x - 2.4999993993e-1f;
  y = y * x + 3.3333331174e-1f;
  y = y * x * z;
  y = y + e * -2.12194440e-4f;
  y = y - 0.5f * z;
  y = x + y;
  y = y + e * 0.693359375f;
  float infinity = __builtin_inff();
  y = given == 0.0f ? -infinity : y;
  y = given < 0.0f ? __builtin_nanf("") : y;
  return given == infinity || given != given ? given : y;
}

INLINE float hyperbolic_tangent(float x) {
  float size = x < 0.0f ? -x : x;
  float e = exponential(-2.0f * size);
  float large = (1.0f - e) / (1.0f + e);
  large = x < 0.0f ? -large : large;
  float z = x * x;
  float y = -5.70498872745e-3f;
  y = y * z + 2.06390887954e-2f;
  y = y * z - 5.37397155531e-2f;
  y = y * z + 1.33314422036e-1f;
  y = y * z - 3.33332819422e-1f;
  float near = y * z * x + x;
  return size < 0.625f ? near : large;
}
