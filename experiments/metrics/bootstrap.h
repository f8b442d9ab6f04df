// The bootstrap over rows (Efron 1979) with counter-based resamples: index i of resample r depends
// on (seed, stream, r, i) alone, so two statistics bootstrapped with the same seed and row count
// see the same rows: that is the paired bootstrap.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "experiments/metrics/moments.h"

namespace headcount::metrics {

/// How to resample. `stream` keeps independent levels apart (rows: 0; prune seeds of a two-level
/// bootstrap: 1).
struct Bootstrap {
  uint64_t seed = 0;
  uint64_t stream = 0;
  uint32_t n_resamples = 10000;
  double confidence = 0.95;
};

/// Fills `rows` with rows.size() indices below rows.size(), drawn with replacement: resample `r`.
void resample(const Bootstrap& options, uint32_t r, std::span<uint32_t> rows);

/// Percentile interval.
struct Interval {
  double low = 0, high = 0;
  bool operator==(const Interval&) const = default;
};

struct Bootstrapped {
  double value = 0;   // of the rows themselves
  double se = 0;      // standard deviation of the resampled values, n - 1
  Interval interval;  // percentiles (1 -+ confidence) / 2, linear interpolation
  uint32_t n_undefined =
      0;  // resamples whose statistic was not finite; left out of se and interval
};

/// A number made of a multiset of row indices; may be NaN where those rows leave it undefined.
using Statistic = std::function<double(std::span<const uint32_t> rows)>;

/// `statistic` of all rows 0 .. n_rows - 1 and its spread over resamples. n_rows >= 1; with one
/// row, or when fewer than two resamples are defined, se is 0 and the interval is the value.
Bootstrapped bootstrap(const Bootstrap& options, size_t n_rows, const Statistic& statistic);

/// The mean of a[i] - b[i] over rows, paired by row. Sizes must be equal and at least 1.
Bootstrapped paired_difference(const Bootstrap& options, std::span<const double> a,
                               std::span<const double> b);

}  // namespace headcount::metrics
