// Quadrature rules for path integrals of gate gradients (docs/methods.md 3). An
// integral over a path gamma: [0, 1] -> gates is a sum over nodes: the gradient at gamma(t), times
// an exact increment of the gates. Weights are increments, never slopes: ramps have kinks and
// unbounded slopes.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/rule.h"

namespace headcount::experiments {

/// One node: the gradient at gamma(t) has the weight scale * (gamma(hi) - gamma(lo)), one number a
/// head.
struct Node {
  double t = 0;
  double scale = 1;
  double lo = 0, hi = 1;
};

/// The nodes of a fixed rule (adaptive has none before it has seen the integrand) with `steps`
/// intervals (Gauss-Legendre: nodes), ascending in t. Over a rule the weights of each head sum to
/// gamma(1) - gamma(0). right, left, midpoint: the gradient at that end or the middle of each
/// interval; trapezoid: the mean of an interval's two end gradients, steps + 1 nodes;
/// Gauss-Legendre: its own weights, for straight paths only.
std::vector<Node> nodes(Rule rule, int64_t steps);

/// Gauss-Legendre on [0, 1] (Newton on the Legendre recurrence): exact for polynomials of degree 2n
/// - 1.
struct GaussLegendre {
  std::vector<double> x, weight;  // ascending; weights sum to one
};
GaussLegendre gauss_legendre(int64_t n);

}  // namespace headcount::experiments
