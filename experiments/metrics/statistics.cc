// Sums here are exact for the same reason as in moments.cc: no order shows.
#include "experiments/metrics/statistics.h"

#include <algorithm>
#include <cmath>

#include "schemas/error.h"

namespace headcount::metrics {

std::optional<double> relative_l2(std::span<const double> a, std::span<const double> reference) {
  HC_CHECK(a.size() == reference.size());
  std::vector<double> difference(a.size()), norm(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    difference[i] = (a[i] - reference[i]) * (a[i] - reference[i]);
    norm[i] = reference[i] * reference[i];
  }
  const double below = exact_sum(norm);
  if (below == 0) return std::nullopt;
  return std::sqrt(exact_sum(difference) / below);
}

double quantile(std::span<const double> values, double q) {
  HC_CHECK(!values.empty() && q >= 0 && q <= 1);
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double position = q * static_cast<double>(sorted.size() - 1);
  const size_t below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const double share = position - static_cast<double>(below);
  return sorted[below] + share * (sorted[above] - sorted[below]);
}

Interval central_range(std::span<const double> values) {
  // In percent: (1 - 0.95) / 2 is not the double nearest to 0.025, (100 - 95) / 200 is.
  const double tail = (100 - 100 * kConfidence) / 200;
  return {quantile(values, tail), quantile(values, 1 - tail)};
}

}  // namespace headcount::metrics
