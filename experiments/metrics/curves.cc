// The area is linear in the metric, so each row has its own area and a resample only averages
// those.
#include "experiments/metrics/curves.h"

#include <limits>

#include "schemas/error.h"

namespace headcount::metrics {

namespace {

std::vector<double> row_areas(const Curve& upper, const Curve& lower) {
  HC_CHECK(upper.kappa == lower.kappa && upper.values.size() == lower.values.size());
  HC_CHECK(upper.kappa.size() >= 2 && upper.values.size() % upper.kappa.size() == 0);
  const size_t n_points = upper.kappa.size();
  std::vector<double> areas(upper.n_rows()), gap(n_points);
  for (size_t row = 0; row < areas.size(); ++row) {
    for (size_t i = 0; i < n_points; ++i)
      gap[i] = upper.values[row * n_points + i] - lower.values[row * n_points + i];
    areas[row] = trapezoid(upper.kappa, gap);
  }
  return areas;
}

}  // namespace

double trapezoid(std::span<const double> x, std::span<const double> y) {
  HC_CHECK(x.size() == y.size() && x.size() >= 2);
  double area = 0;
  for (size_t i = 1; i < x.size(); ++i) {
    HC_CHECK(x[i] > x[i - 1]);
    area += (x[i] - x[i - 1]) * (y[i] + y[i - 1]) / 2;
  }
  return area;
}

std::optional<std::vector<double>> normalised(std::span<const double> metric, double none,
                                              double all) {
  if (none == all) return std::nullopt;
  std::vector<double> result(metric.size());
  for (size_t i = 0; i < metric.size(); ++i) result[i] = (metric[i] - all) / (none - all);
  return result;
}

Bootstrapped area_between(const Curve& upper, const Curve& lower, const Bootstrap& options) {
  const std::vector<double> areas = row_areas(upper, lower);
  return bootstrap(options, areas.size(), [&](std::span<const uint32_t> rows) {
    double sum = 0;
    for (const uint32_t row : rows) sum += areas[row];
    return sum / static_cast<double>(rows.size());
  });
}

Bootstrapped normalised_area_between(const Curve& upper, const Curve& lower,
                                     std::span<const double> none, std::span<const double> all,
                                     const Bootstrap& options) {
  const std::vector<double> areas = row_areas(upper, lower);
  HC_CHECK(none.size() == areas.size() && all.size() == areas.size());
  return bootstrap(options, areas.size(), [&](std::span<const uint32_t> rows) {
    double area = 0, range = 0;
    for (const uint32_t row : rows) {
      area += areas[row];
      range += none[row] - all[row];
    }
    return range == 0 ? std::numeric_limits<double>::quiet_NaN() : area / range;
  });
}

}  // namespace headcount::metrics
