// Resamples are made one at a time: memory is one index a row and one value a resample.
#include "experiments/metrics/bootstrap.h"

#include <cmath>
#include <numeric>

#include "experiments/metrics/statistics.h"
#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::metrics {

void resample(const Bootstrap& options, uint32_t r, std::span<uint32_t> rows) {
  const uint64_t n = rows.size();
  for (uint32_t i = 0; i < n; ++i) {
    const uint64_t bits = random_bits(options.seed, Purpose::kBootstrap, options.stream, r, i);
    // The high half of bits * n / 2^32, from 32 of the bits: off from uniform by less than n /
    // 2^32.
    rows[i] = static_cast<uint32_t>(((bits >> 32) * n) >> 32);
  }
}

Bootstrapped bootstrap(const Bootstrap& options, size_t n_rows, const Statistic& statistic) {
  HC_CHECK(n_rows >= 1 && n_rows <= UINT32_MAX);
  std::vector<uint32_t> rows(n_rows);
  std::iota(rows.begin(), rows.end(), 0u);
  Bootstrapped result;
  result.value = statistic(rows);
  result.interval = {result.value, result.value};
  if (n_rows == 1) return result;

  std::vector<double> values;
  values.reserve(options.n_resamples);
  for (uint32_t r = 0; r < options.n_resamples; ++r) {
    resample(options, r, rows);
    const double value = statistic(rows);
    if (std::isfinite(value))
      values.push_back(value);
    else
      ++result.n_undefined;
  }
  if (values.size() < 2) return result;
  result.se = standard_deviation(values);
  const double tail = (1 - options.confidence) / 2;
  result.interval = {quantile(values, tail), quantile(values, 1 - tail)};
  return result;
}

Bootstrapped paired_difference(const Bootstrap& options, std::span<const double> a,
                               std::span<const double> b) {
  HC_CHECK(a.size() == b.size());
  std::vector<double> difference(a.size());
  for (size_t i = 0; i < a.size(); ++i) difference[i] = a[i] - b[i];
  return bootstrap(options, a.size(), [&](std::span<const uint32_t> rows) {
    double sum = 0;
    for (const uint32_t row : rows) sum += difference[row];
    return sum / static_cast<double>(rows.size());
  });
}

}  // namespace headcount::metrics
