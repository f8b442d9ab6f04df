// The partial sums of exact_sum never overlap: together they are the exact sum of all values seen
// so far, smallest first.
#include "experiments/metrics/moments.h"

#include <cmath>
#include <utility>

#include "schemas/error.h"

namespace headcount::metrics {

namespace {

/// Adds `value` to the non-overlapping `partials` without losing a bit.
void add_exactly(std::vector<double>& partials, double value) {
  size_t kept = 0;
  for (double partial : partials) {
    if (std::abs(value) < std::abs(partial)) std::swap(value, partial);
    const double sum = value + partial;
    const double lost = partial - (sum - value);
    if (lost != 0) partials[kept++] = lost;
    value = sum;
  }
  partials.resize(kept);
  partials.push_back(value);
}

/// Rounds the exact sum of the partials once, half to even.
double rounded(const std::vector<double>& partials) {
  if (partials.empty()) return 0;
  size_t i = partials.size() - 1;
  double sum = partials[i];
  double lost = 0;
  while (i > 0 && lost == 0) {
    const double high = sum;
    const double low = partials[--i];
    sum = high + low;
    lost = low - (sum - high);
  }
  // A tie that a still smaller partial breaks: move one unit the way that partial points.
  if (i > 0 && ((lost < 0 && partials[i - 1] < 0) || (lost > 0 && partials[i - 1] > 0))) {
    const double twice = lost * 2;
    const double moved = sum + twice;
    if (twice == moved - sum) sum = moved;
  }
  return sum;
}

}  // namespace

double exact_sum(std::span<const double> values) {
  std::vector<double> partials;
  for (const double value : values) {
    HC_CHECK(std::isfinite(value));
    add_exactly(partials, value);
  }
  return rounded(partials);
}

double mean(std::span<const double> values) {
  HC_CHECK(!values.empty());
  return exact_sum(values) / static_cast<double>(values.size());
}

double standard_deviation(std::span<const double> values) {
  HC_CHECK(values.size() >= 2);
  const double center = mean(values);
  std::vector<double> squares(values.size());
  for (size_t i = 0; i < values.size(); ++i)
    squares[i] = (values[i] - center) * (values[i] - center);
  return std::sqrt(exact_sum(squares) / static_cast<double>(values.size() - 1));
}

Estimate estimate(std::span<const double> values) {
  Estimate result{.value = mean(values), .se = {}, .n = static_cast<int64_t>(values.size())};
  if (values.size() >= 2)
    result.se = standard_deviation(values) / std::sqrt(static_cast<double>(values.size()));
  return result;
}

std::vector<double> order_means(const ByOrder& values) {
  std::vector<double> means;
  for (const auto& order : values) means.push_back(mean(order));
  return means;
}

std::vector<double> row_means(const ByOrder& values) {
  HC_CHECK(!values.empty());
  std::vector<double> means, of_row(values.size());
  for (size_t row = 0; row < values.front().size(); ++row) {
    for (size_t i = 0; i < values.size(); ++i) of_row[i] = values[i].at(row);
    means.push_back(mean(of_row));
  }
  return means;
}

Estimate crossed_estimate(const ByOrder& values) {
  Estimate result = estimate(row_means(values));
  if (result.se && values.size() >= 2)
    result.se = std::hypot(*result.se, *estimate(order_means(values)).se);
  return result;
}

std::vector<Estimate> column_estimates(std::span<const double> rows, size_t n_columns) {
  HC_CHECK(n_columns > 0 && rows.size() % n_columns == 0);
  const size_t n_rows = rows.size() / n_columns;
  std::vector<Estimate> estimates(n_columns);
  std::vector<double> values(n_rows);
  for (size_t column = 0; column < n_columns; ++column) {
    for (size_t row = 0; row < n_rows; ++row) values[row] = rows[row * n_columns + column];
    estimates[column] = estimate(values);
  }
  return estimates;
}

}  // namespace headcount::metrics
