// Areas under pruning curves and between them (numerics-and-validation.md 3.2; RISE, arXiv
// 1806.07421, for the axis): the axis is k / D, the share of heads removed; integrals are by
// trapezoid on the actual shares.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experiments/metrics/bootstrap.h"

namespace headcount::metrics {

/// The integral of y over x by the trapezoid rule; x ascending, at least two points, sizes equal.
double trapezoid(std::span<const double> x, std::span<const double> y);

/// The area under every row's own curve, one vector an order of removal (a prune seed; most and
/// least have one): [seed][row].
using RowAreas = std::vector<std::vector<double>>;

struct Interval {
  double low = 0, high = 0;
  bool operator==(const Interval&) const = default;
};

struct AreaBetween {
  double value = 0;
  std::optional<Interval> interval;
};

/// mean(upper) - mean(lower), each over its seeds and rows, in the metric's own unit; for ABC
/// upper = least, lower = most important removed first. The interval holds the percentiles (1 -+
/// confidence) / 2 of a two-level bootstrap: rows of options.stream, the same under every seed of
/// both arms (paired), and prune seeds of options.stream + 1, the same in both where they have
/// equally many. Null for one row. Every vector must have the same number of rows, at least one;
/// both arms at least one seed; at least one resample.
AreaBetween area_between(const RowAreas& upper, const RowAreas& lower, const Bootstrap& options);

}  // namespace headcount::metrics
