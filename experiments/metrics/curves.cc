// The area is linear in the metric, so each row has its own area, and the area between two curves
// is a mean over rows like any other.
#include "experiments/metrics/curves.h"

#include <algorithm>

#include "experiments/metrics/intervals.h"
#include "schemas/error.h"

namespace headcount::metrics {

double trapezoid(std::span<const double> x, std::span<const double> y) {
  HC_CHECK(x.size() == y.size() && x.size() >= 2);
  double area = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    HC_CHECK(x[i] > x[i - 1]);
    area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
  }
  return area;
}

Estimate area_between(const ByOrder& upper, const ByOrder& lower) {
  HC_CHECK(!upper.empty() && !lower.empty());
  const size_t n_orders = std::max(upper.size(), lower.size());
  HC_CHECK(std::min(upper.size(), lower.size()) == 1 || upper.size() == lower.size());
  ByOrder differences = upper;
  differences.resize(n_orders, upper.front());
  for (size_t i = 0; i < n_orders; ++i) {
    const auto& subtracted = lower[lower.size() == 1 ? 0 : i];
    HC_CHECK(subtracted.size() == differences[i].size());
    for (size_t row = 0; row < subtracted.size(); ++row) differences[i][row] -= subtracted[row];
  }
  return mean_estimate(differences);
}

}  // namespace headcount::metrics
