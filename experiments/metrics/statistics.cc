// Sums here are exact for the same reason as in moments.cc: no order shows.
#include "experiments/metrics/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/metrics/moments.h"
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

std::vector<double> ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double shared = (static_cast<double>(begin + 1) + static_cast<double>(end)) / 2;
    for (size_t i = begin; i < end; ++i) result[order[i]] = shared;
  }
  return result;
}

std::optional<double> spearman(std::span<const double> a, std::span<const double> b) {
  HC_CHECK(a.size() == b.size());
  if (a.size() < 2) return std::nullopt;
  const std::vector<double> rank_a = ranks(a), rank_b = ranks(b);
  const double center = (static_cast<double>(a.size()) + 1) / 2;
  std::vector<double> ab(a.size()), aa(a.size()), bb(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ab[i] = (rank_a[i] - center) * (rank_b[i] - center);
    aa[i] = (rank_a[i] - center) * (rank_a[i] - center);
    bb[i] = (rank_b[i] - center) * (rank_b[i] - center);
  }
  const double below = std::sqrt(exact_sum(aa) * exact_sum(bb));
  if (below == 0) return std::nullopt;
  return exact_sum(ab) / below;
}

}  // namespace headcount::metrics
