// Elements, e^x and the small register-blocked matrix product of cpu_kernels.cc, which alone
// includes this: every instruction set gets its own copy, in namespace HEADCOUNT_ARCH.
#pragma once

#include <math.h>
#include <string.h>

#include <initializer_list>

#include "models/cpu_kernels.h"

#ifndef HEADCOUNT_ARCH
#define HEADCOUNT_ARCH baseline
#define HEADCOUNT_ARCH_NAME "baseline"
#endif

namespace headcount::models::HEADCOUNT_ARCH {
namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64, kTileRows = 6, kTileVectors = 4;
#elif defined(__AVX__)
constexpr int kVectorBytes = 32, kTileRows = 6, kTileVectors = 2;
#else
constexpr int kVectorBytes = 16, kTileRows = 4, kTileVectors = 2;
#endif

inline float get(float x) { return x; }
inline double get(double x) { return x; }
inline float get(Bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x.bits) << 16); }
inline void put(float& to, float x) { to = x; }
inline void put(double& to, double x) { to = x; }
/// Round to nearest even, as hardware does.
inline void put(Bf16& to, float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  to.bits = static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

inline double exponential(double x) { return exp(x); }
/// e^x within 2 ulp for x in [-87, 88] (clamped to it): 2^n times a polynomial on the rest
/// (coefficients: Cephes expf).
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  constexpr float kRounder =
      12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const float shifted = x * 1.44269504088896341f + kRounder;
  const float n = shifted - kRounder;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const float mantissa = p * r * r + r + 1.0f;
  const uint32_t scale = (__builtin_bit_cast(uint32_t, shifted) + 127u) << 23;
  return mantissa * __builtin_bit_cast(float, scale);
}

/// e^x within 1e-11 of itself for x in [-700, 700] (clamped below), of a float or a difference of
/// floats, as loops the compiler vectorises need it: the same steps, a polynomial to r^9 / 9!.
inline double float_exponential(double x) {
  x = x < -700.0 ? -700.0 : x;
  constexpr double kRounder = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = x * 1.4426950408889634 + kRounder;
  const double n = shifted - kRounder;
  const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  double p = 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  const double mantissa = p * r * r + r + 1.0;
  const uint64_t scale = (__builtin_bit_cast(uint64_t, shifted) + 1023u) << 52;
  return mantissa * __builtin_bit_cast(double, scale);
}

/// The sum of e^(x - top) in float64.
inline double exponentials(const double* x, int64_t n, double top) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += exp(x[i] - top);
  return sum;
}
inline double exponentials(const float* x, int64_t n, double top) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) sum += float_exponential(static_cast<double>(x[i]) - top);
  return sum;
}

template <class A>
struct Simd {
  typedef A Vector __attribute__((vector_size(kVectorBytes)));
  static constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(A));
};

template <class A>
constexpr int64_t padded(int64_t n) {
  return (n + Simd<A>::kLanes - 1) / Simd<A>::kLanes * Simd<A>::kLanes;
}

/// One register tile of c (+)= a b: `Rows` x (`Vectors` vectors), a(i, k) = a[i * a_row + k *
/// a_col].
template <class A, int Rows, int Vectors>
inline void tile(int64_t depth, const A* a, int64_t a_row, int64_t a_col, const A* b, int64_t b_row,
                 A* c, int64_t c_row, bool accumulate) {
  using V = typename Simd<A>::Vector;
  constexpr int64_t kLanes = Simd<A>::kLanes;
  V sum[Rows][Vectors];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      if (accumulate) {
        memcpy(&sum[i][v], c + i * c_row + v * kLanes, sizeof(V));
      } else {
        sum[i][v] = V{};
      }
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    V row[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) memcpy(&row[v], b + k * b_row + v * kLanes, sizeof(V));
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const A scalar = a[i * a_row + k * a_col];
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[i][v] += scalar * row[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) memcpy(c + i * c_row + v * kLanes, &sum[i][v], sizeof(V));
  }
}

template <class A>
struct Product {
  int64_t rows, columns, depth;  // columns: a multiple of the vector's lanes
  const A* a;
  int64_t a_row, a_col;
  const A* b;
  int64_t b_row;
  A* c;
  int64_t c_row;
  bool accumulate = false;
};

template <class A, int Vectors>
inline void column_strip(const Product<A>& p, int64_t column) {
  int64_t i = 0;
  for (; i + kTileRows <= p.rows; i += kTileRows) {
    tile<A, kTileRows, Vectors>(p.depth, p.a + i * p.a_row, p.a_row, p.a_col, p.b + column, p.b_row,
                                p.c + i * p.c_row + column, p.c_row, p.accumulate);
  }
  for (; i + 2 <= p.rows; i += 2) {
    tile<A, 2, Vectors>(p.depth, p.a + i * p.a_row, p.a_row, p.a_col, p.b + column, p.b_row,
                        p.c + i * p.c_row + column, p.c_row, p.accumulate);
  }
  if (i < p.rows) {
    tile<A, 1, Vectors>(p.depth, p.a + i * p.a_row, p.a_row, p.a_col, p.b + column, p.b_row,
                        p.c + i * p.c_row + column, p.c_row, p.accumulate);
  }
}

/// c (+)= a b for matrices that fit a core's cache.
template <class A>
void multiply(const Product<A>& p) {
  constexpr int64_t kLanes = Simd<A>::kLanes;
  int64_t column = 0;
  for (; column + kTileVectors * kLanes <= p.columns; column += kTileVectors * kLanes)
    column_strip<A, kTileVectors>(p, column);
  for (; column + 2 * kLanes <= p.columns && kTileVectors > 2; column += 2 * kLanes)
    column_strip<A, 2>(p, column);
  for (; column < p.columns; column += kLanes) column_strip<A, 1>(p, column);
}

}  // namespace
}  // namespace headcount::models::HEADCOUNT_ARCH
