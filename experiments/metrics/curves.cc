// The area is linear in the metric, so each row has its own area and a resample only averages
// those.
#include "experiments/metrics/curves.h"

#include <algorithm>
#include <numeric>

#include "experiments/metrics/statistics.h"
#include "schemas/error.h"

namespace headcount::metrics {

namespace {

using Indices = std::vector<uint32_t>;

Indices all_of(size_t n) {
  Indices indices(n);
  std::iota(indices.begin(), indices.end(), 0u);
  return indices;
}

double mean_area(const RowAreas& areas, const Indices& seeds, const Indices& rows) {
  double sum = 0;
  for (const uint32_t seed : seeds) {
    for (const uint32_t row : rows) sum += areas[seed][row];
  }
  return sum / static_cast<double>(seeds.size() * rows.size());
}

bool each_has(const RowAreas& areas, size_t n_rows) {
  return !areas.empty() && std::all_of(areas.begin(), areas.end(), [&](const auto& of_seed) {
    return of_seed.size() == n_rows;
  });
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

AreaBetween area_between(const RowAreas& upper, const RowAreas& lower, const Bootstrap& options) {
  HC_CHECK(!upper.empty() && !upper.front().empty() && options.n_resamples >= 1);
  const size_t n_rows = upper.front().size();
  HC_CHECK(each_has(upper, n_rows) && each_has(lower, n_rows));
  Indices rows = all_of(n_rows), upper_seeds = all_of(upper.size()),
          lower_seeds = all_of(lower.size());
  const auto difference = [&] {
    return mean_area(upper, upper_seeds, rows) - mean_area(lower, lower_seeds, rows);
  };
  AreaBetween between{.value = difference(), .interval = {}};
  if (n_rows == 1) return between;

  Bootstrap over_seeds = options;
  ++over_seeds.stream;
  std::vector<double> resampled;
  resampled.reserve(options.n_resamples);
  for (uint32_t r = 0; r < options.n_resamples; ++r) {
    resample(options, r, rows);
    resample(over_seeds, r, upper_seeds);
    resample(over_seeds, r, lower_seeds);
    resampled.push_back(difference());
  }
  // In percent: (1 - 0.95) / 2 is not the double nearest to 0.025, (100 - 95) / 200 is.
  const double tail = (100 - 100 * options.confidence) / 200;
  between.interval = {quantile(resampled, tail), quantile(resampled, 1 - tail)};
  return between;
}

}  // namespace headcount::metrics
