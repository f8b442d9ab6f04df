// Scores in closed form with exact gradients, in place of a model: for the tests of integrators.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <vector>

#include "experiments/run/integrate.h"

namespace headcount::experiments {

/// A closed-form score of one sample: its value, and its gradient written to the second argument.
using Closed = std::function<double(std::span<const double> a, std::span<double> gradient)>;

/// `seen`, where given, gets the gates of every sample, in order.
inline ScoreFunction batched(const Closed& closed,
                             std::vector<std::vector<double>>* seen = nullptr) {
  return [=](const Samples& samples, bool with_gradient) {
    Scored out;
    const size_t n = samples.row.size(), n_gates = samples.gates.size() / n;
    std::vector<double> gradient(n_gates);
    for (size_t i = 0; i < n; ++i) {
      const auto gates = samples.gates.subspan(i * n_gates, n_gates);
      out.score.push_back(closed(gates, gradient));
      if (with_gradient) out.gradient.insert(out.gradient.end(), gradient.begin(), gradient.end());
      if (seen) seen->emplace_back(gates.begin(), gates.end());
    }
    return out;
  };
}

/// 3a - b + 2c.
inline double linear(std::span<const double> a, std::span<double> g) {
  g[0] = 3;
  g[1] = -1;
  g[2] = 2;
  return 3 * a[0] - a[1] + 2 * a[2];
}

/// tanh(3a + b) e^b: smooth and far from polynomial.
inline double curved(std::span<const double> a, std::span<double> g) {
  const double t = std::tanh(3 * a[0] + a[1]), e = std::exp(a[1]);
  g[0] = 3 * (1 - t * t) * e;
  g[1] = (1 - t * t) * e + t * e;
  return t * e;
}

/// From zero at `begin` to one at `end`, x^2 (3 - 2x); the slope is zero before, after and at both.
inline double step(double a, double begin, double end, double& slope) {
  const double x = std::clamp((a - begin) / (end - begin), 0.0, 1.0);
  slope = 6 * x * (1 - x) / (end - begin);
  return x * x * (3 - 2 * x);
}

/// What the built-in models do: head 0 takes nine nats away until gate 0.004, head 1 brings them
/// back until 0.016. Every path gives (-9, 9).
inline double dip(std::span<const double> a, std::span<double> g) {
  double fall = 0, rise = 0;
  const double j = -9 * step(a[0], 0, 0.004, fall) + 9 * step(a[1], 0.004, 0.016, rise);
  g[0] = -9 * fall;
  g[1] = 9 * rise;
  return j;
}

}  // namespace headcount::experiments
