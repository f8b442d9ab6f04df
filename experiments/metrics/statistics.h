// Small statistics of vectors: distance, quantiles.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "experiments/metrics/moments.h"

namespace headcount::metrics {

/// |a - reference|_2 / |reference|_2; null where the reference is zero. Sizes must be equal.
std::optional<double> relative_l2(std::span<const double> a, std::span<const double> reference);

/// The q-quantile, 0 <= q <= 1, by linear interpolation between order statistics: position q * (n -
/// 1) of the sorted values (type 7 of Hyndman and Fan 1996, numpy's default). Needs at least one
/// value, none NaN.
double quantile(std::span<const double> values, double q);

/// The quantiles between which the middle kConfidence of the values lie: 2.5 % and 97.5 %.
Interval central_range(std::span<const double> values);

}  // namespace headcount::metrics
