// Areas under pruning curves and between them (docs/methods.md 6; the axis is that of RISE, arXiv
// 1806.07421): k / D, the share of heads removed; integrals are by trapezoid on the actual shares.
#pragma once

#include <span>
#include <vector>

#include "experiments/metrics/moments.h"

namespace headcount::metrics {

/// The integral of y over x by the trapezoid rule; x ascending, at least two points, sizes equal.
double trapezoid(std::span<const double> x, std::span<const double> y);

/// mean(upper) - mean(lower) of areas under every row's own curve, in the metric's unit times the
/// axis's: mean_estimate() of the differences row by row, and order by order where both arms have
/// several. For ABC upper = least, lower = most important removed first. One arm has one order or
/// both have equally many; all have the same rows, at least one.
Estimate area_between(const ByOrder& upper, const ByOrder& lower);

}  // namespace headcount::metrics
