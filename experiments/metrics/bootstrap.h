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

/// How to resample.
struct Bootstrap {
  uint64_t seed = 0;
  uint32_t n_resamples = 10000;
};

/// Fills `rows` with rows.size() indices below rows.size(), drawn with replacement: resample `r`.
void resample(const Bootstrap& options, uint32_t r, std::span<uint32_t> rows);

/// A number made of a multiset of row indices; may be NaN where those rows leave it undefined.
using Statistic = std::function<double(std::span<const uint32_t> rows)>;

/// `statistic` of all rows 0 .. n_rows - 1; se is the standard deviation (n - 1) of its resampled
/// values, the interval their 2.5 % and 97.5 % quantiles, those that are not finite left out.
/// At least one row; se is null with one row or when fewer than two resamples are finite, the
/// interval also where all of them are alike (an F1 of 1 on these rows is no proof of 1).
Estimate bootstrap(const Bootstrap& options, size_t n_rows, const Statistic& statistic);

}  // namespace headcount::metrics
