// Pruning curves and the areas between them (numerics-and-validation.md 3.2; RISE, arXiv
// 1806.07421, for the axis): kappa = k / D is the share of heads removed, integrals are by
// trapezoid on the actual fractions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experiments/metrics/bootstrap.h"

namespace headcount::metrics {

/// The integral of y over x by the trapezoid rule; x ascending, at least two points, sizes equal.
double trapezoid(std::span<const double> x, std::span<const double> y);

/// f(k) = (m(k) - m(all)) / (m(none) - m(all)): 1 with no head removed, 0 with all of them. Null
/// where the two ends are equal.
std::optional<std::vector<double>> normalised(std::span<const double> metric, double none,
                                              double all);

/// One pruning arm measured on rows: values[row * kappa.size() + i] is the row's metric with the
/// share kappa[i] removed. The metric is one where more is better (J, log-likelihood, a hit); give
/// -CE for a cross-entropy.
struct Curve {
  std::vector<double> kappa;
  std::vector<double> values;
  size_t n_rows() const { return kappa.empty() ? 0 : values.size() / kappa.size(); }
};

/// The area upper - lower over kappa of the row means, with its paired row bootstrap. In the
/// metric's own unit. Both curves must have the same kappa (two points or more, ascending) and
/// rows. For ABC upper = least, lower = most important removed first.
Bootstrapped area_between(const Curve& upper, const Curve& lower, const Bootstrap& options);

/// The same of the normalised curves: `none` and `all` are the rows' metric with no and with all
/// heads removed; every resample is normalised by its own ends. NaN where they are equal.
Bootstrapped normalised_area_between(const Curve& upper, const Curve& lower,
                                     std::span<const double> none, std::span<const double> all,
                                     const Bootstrap& options);

}  // namespace headcount::metrics
