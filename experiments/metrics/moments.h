// Means and their standard errors in float64. Sums are exact (Shewchuk 1997, "Adaptive precision
// floating-point arithmetic"): rounded once, so the order of the rows and how they were split into
// shards cannot show.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace headcount::metrics {

constexpr double kConfidence = 0.95;  // of every interval

struct Interval {
  double low = 0, high = 0;
  bool operator==(const Interval&) const = default;
};

/// A value with its standard error over n rows. se is null where n = 1 (a sample of one has no
/// spread) and where the caller has none to give; it is 0, not null, for n >= 2 equal rows.
/// `interval`: what the functions of intervals.h and the bootstrap add; null from all others.
struct Estimate {
  double value = 0;
  std::optional<double> se;
  int64_t n = 0;
  std::optional<Interval> interval = {};
  bool operator==(const Estimate&) const = default;
};

/// The correctly rounded sum of `values`: the same for every order. Empty: 0. Values must be
/// finite.
double exact_sum(std::span<const double> values);

/// exact_sum / n. Needs at least one value.
double mean(std::span<const double> values);

/// Sample standard deviation, n - 1 in the denominator. Needs at least two values.
double standard_deviation(std::span<const double> values);

/// mean with se = standard_deviation / sqrt(n); se null where n = 1. Needs at least one value.
Estimate estimate(std::span<const double> values);

/// Values of random orders (or of one order that is not random) crossed with rows: [order][row],
/// every order with the same rows.
using ByOrder = std::vector<std::vector<double>>;

/// The means of its orders, and of its rows over all orders.
std::vector<double> order_means(const ByOrder& values);
std::vector<double> row_means(const ByOrder& values);

/// The mean over orders and rows: its se is that of drawing both anew, sqrt(var(order means) /
/// orders + var(row means) / rows), each with n - 1 in its variance; it counts their interaction
/// twice and so errs upwards. n = rows. One order: estimate().
Estimate crossed_estimate(const ByOrder& values);

/// estimate() of every column of `rows` (row-major, n_columns values a row): the table of a vector
/// measured per row.
std::vector<Estimate> column_estimates(std::span<const double> rows, size_t n_columns);

}  // namespace headcount::metrics
