// The MLP's activations as one-number functions the loops of cpu_kernels.cc, which alone includes
// this, are made with: value(x) = f(x), times_value(g, x) = g * f(x), times_slope(g, x) = g *
// f'(x). In the order of enum Activation.
#pragma once

#include "models/cpu_math.h"

namespace headcount::models::HEADCOUNT_ARCH {
namespace {

/// x / (1 + e^-x) (Elfwing et al. 2017).
struct Silu {
  template <class A>
  static A value(A x) {
    return x / (A(1) + exponential(-x));
  }
  template <class A>
  static A times_value(A g, A x) {
    return g * x * (A(1) / (A(1) + exponential(-x)));
  }
  template <class A>
  static A times_slope(A g, A x) {
    const A sigmoid = A(1) / (A(1) + exponential(-x));
    return g * sigmoid * (A(1) + x * (A(1) - sigmoid));
  }
};

inline float error_function(float x) { return erff(x); }
inline double error_function(double x) { return erf(x); }

/// x times the normal distribution's share below x (Hendrycks and Gimpel 2016).
struct Gelu {
  template <class A>
  static A below(A x) {
    return A(0.5) * (A(1) + error_function(x * A(0.70710678118654752440)));
  }
  template <class A>
  static A value(A x) {
    return x * below(x);
  }
  template <class A>
  static A times_value(A g, A x) {
    return g * value(x);
  }
  template <class A>
  static A times_slope(A g, A x) {
    constexpr A kDensity = A(0.39894228040143267794);  // 1 / sqrt(2 pi)
    return g * (below(x) + x * kDensity * exponential(A(-0.5) * x * x));
  }
};

/// The same with 0.5 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) for the share.
struct GeluTanh {
  template <class A>
  static A below(A x) {
    const A inner = A(0.79788456080286535588) * (x + A(0.044715) * x * x * x);
    return A(1) / (A(1) + exponential(A(-2) * inner));  // (1 + tanh(inner)) / 2
  }
  template <class A>
  static A value(A x) {
    return x * below(x);
  }
  template <class A>
  static A times_value(A g, A x) {
    return g * value(x);
  }
  template <class A>
  static A times_slope(A g, A x) {
    const A share = below(x);
    const A inner_slope = A(0.79788456080286535588) * (A(1) + A(0.134145) * x * x);
    return g * (share + A(2) * x * share * (A(1) - share) * inner_slope);
  }
};

struct Relu {
  template <class A>
  static A value(A x) {
    return x > A(0) ? x : A(0);
  }
  template <class A>
  static A times_value(A g, A x) {
    return g * value(x);
  }
  template <class A>
  static A times_slope(A g, A x) {
    return x > A(0) ? g : A(0);
  }
};

struct ReluSquared {
  template <class A>
  static A value(A x) {
    const A rest = x > A(0) ? x : A(0);
    return rest * rest;
  }
  template <class A>
  static A times_value(A g, A x) {
    return g * value(x);
  }
  template <class A>
  static A times_slope(A g, A x) {
    return A(2) * g * (x > A(0) ? x : A(0));
  }
};

}  // namespace
}  // namespace headcount::models::HEADCOUNT_ARCH
