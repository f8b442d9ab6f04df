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
    const uint64_t bits = random_bits(options.seed, Purpose::kBootstrap, 0, r, i);
    // The high half of bits * n / 2^32, from 32 of the bits: off from uniform by less than n /
    // 2^32.
    rows[i] = static_cast<uint32_t>(((bits >> 32) * n) >> 32);
  }
}

Estimate bootstrap(const Bootstrap& options, size_t n_rows, const Statistic& statistic) {
  HC_CHECK(n_rows >= 1 && n_rows <= UINT32_MAX);
  std::vector<uint32_t> rows(n_rows);
  std::iota(rows.begin(), rows.end(), 0u);
  Estimate result{.value = statistic(rows), .se = {}, .n = static_cast<int64_t>(n_rows)};
  if (n_rows == 1) return result;

  std::vector<double> values;
  values.reserve(options.n_resamples);
  for (uint32_t r = 0; r < options.n_resamples; ++r) {
    resample(options, r, rows);
    const double value = statistic(rows);
    if (std::isfinite(value)) values.push_back(value);
  }
  if (values.size() < 2) return result;
  result.se = standard_deviation(values);
  if (*result.se > 0) result.interval = central_range(values);
  return result;
}

}  // namespace headcount::metrics
