// Node lists of the rules.
#include "experiments/run/quadrature.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "schemas/error.h"

namespace headcount::experiments {
namespace {

/// P_n(x) and its derivative by the three-term recurrence.
std::pair<double, double> legendre(int64_t n, double x) {
  double previous = 1, value = x;
  for (int64_t k = 2; k <= n; ++k) {
    const auto order = static_cast<double>(k);
    const double next = ((2 * order - 1) * x * value - (order - 1) * previous) / order;
    previous = value;
    value = next;
  }
  return {value, static_cast<double>(n) * (x * value - previous) / (x * x - 1)};
}

}  // namespace

GaussLegendre gauss_legendre(int64_t n) {
  HC_CHECK(n >= 1);
  GaussLegendre rule;
  rule.x.resize(static_cast<size_t>(n));
  rule.weight.resize(static_cast<size_t>(n));
  for (int64_t i = 0; i < (n + 1) / 2; ++i) {
    // Root i from the right on [-1, 1]; the first guess is good to O(1 / n^2), so Newton needs four
    // steps or so.
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) /
                        (static_cast<double>(n) + 0.5));
    if (n % 2 == 1 && i == n / 2) x = 0;
    double slope = legendre(n, x).second;
    for (int step = 0; step < 100; ++step) {
      const auto [value, derivative] = legendre(n, x);
      slope = derivative;
      const double change = value / derivative;
      x -= change;
      if (std::abs(change) < 1e-16) break;
    }
    const double weight = 1 / ((1 - x * x) * slope * slope);  // of [0, 1]: half of that of [-1, 1]
    const auto low = static_cast<size_t>(i), high = static_cast<size_t>(n - 1 - i);
    rule.x[low] = (1 - x) / 2;
    rule.x[high] = (1 + x) / 2;
    rule.weight[low] = rule.weight[high] = weight;
  }
  return rule;
}

std::vector<Node> nodes(Rule rule, int64_t steps) {
  HC_CHECK(steps >= 1 && rule != Rule::kAdaptive);
  const auto n = static_cast<double>(steps);
  // k / n is correctly rounded, so the times of a rule with half the steps are bit-equal to every
  // second one.
  const auto time = [n](int64_t k) { return static_cast<double>(k) / n; };
  std::vector<Node> list;
  if (rule == Rule::kGaussLegendre) {
    const GaussLegendre gauss = gauss_legendre(steps);
    for (size_t i = 0; i < gauss.x.size(); ++i)
      list.push_back({.t = gauss.x[i], .scale = gauss.weight[i], .lo = 0, .hi = 1});
    return list;
  }
  if (rule == Rule::kTrapezoid) {
    for (int64_t k = 0; k <= steps; ++k) {
      const int64_t before = k == 0 ? 0 : k - 1, after = k == steps ? steps : k + 1;
      list.push_back({.t = time(k), .scale = 0.5, .lo = time(before), .hi = time(after)});
    }
    return list;
  }
  for (int64_t k = 1; k <= steps; ++k) {
    Node node{.t = time(k), .scale = 1, .lo = time(k - 1), .hi = time(k)};
    if (rule == Rule::kLeft) node.t = node.lo;
    if (rule == Rule::kMidpoint) node.t = (static_cast<double>(k) - 0.5) / n;
    list.push_back(node);
  }
  return list;
}

}  // namespace headcount::experiments
