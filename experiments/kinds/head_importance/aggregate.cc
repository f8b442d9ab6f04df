// From shards to the table of head scores: row values, then means over rows with their standard
// errors, then what tells how far to trust them (completeness residual, step difference).
#include <algorithm>
#include <cmath>
#include <string>

#include "experiments/kinds/blocks.h"
#include "experiments/kinds/head_importance/plan.h"
#include "experiments/kinds/table_rows.h"
#include "experiments/metrics/moments.h"
#include "experiments/metrics/statistics.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using Numbers = std::vector<double>;
using Estimates = std::vector<std::optional<metrics::Estimate>>;

/// A row at one mask probability, or over all of them. While shards are added the numbers are sums
/// over `n_added` of them.
struct RowValue {
  Numbers ig, half;         // by selected head; half empty where the rule has none
  double score_change = 0;  // J(one) - J(baseline)
  bool unconverged = false;
  int64_t n_added = 0;
  bool complete = false;
};
using Rows = std::vector<RowValue>;

void add(Numbers& sum, std::span<const double> terms) {
  if (sum.empty()) sum.resize(terms.size());
  for (size_t i = 0; i < terms.size(); ++i) sum[i] += terms[i];
}

std::span<const double> row_of(const NamedArray& array, size_t row) {
  const auto width = static_cast<size_t>(array.shape.at(1));
  return std::span(array.data).subspan(row * width, width);
}

void add_shard(std::span<RowValue> rows, const Result& result, const Params& params) {
  for (size_t row = 0; row < rows.size(); ++row) {
    RowValue& value = rows[row];
    add(value.ig, row_of(array(result, "ig"), row));
    if (params.has_half()) add(value.half, row_of(array(result, "ig_half"), row));
    value.score_change +=
        array(result, "score_one").data[row] - array(result, "score_base").data[row];
    if (params.quadrature == Quadrature::kAdaptive) {
      value.unconverged = value.unconverged || array(result, "unconverged").data[row] > 0;
    }
    ++value.n_added;
  }
}

/// From sums to means, where nothing is missing.
void finish(RowValue& value, int64_t n_expected) {
  value.complete = value.n_added == n_expected;
  const auto n = static_cast<double>(value.n_added);
  for (double& x : value.ig) x /= n;
  for (double& x : value.half) x /= n;
  if (value.n_added > 0) value.score_change /= n;
}

/// The rows of one point, per mask probability (one of them where rows bring their labels).
std::vector<Rows> gather(const Point& point, size_t p, const ResultOf& result) {
  const Loops n = loops(point);
  const size_t n_rows = point.dataset->rows.size();
  std::vector<Rows> probs(static_cast<size_t>(n.n_probs), Rows(n_rows));
  const std::vector<int64_t> sizes = {n.n_blocks, n.n_probs, n.n_draws, n.n_path_blocks};
  const int64_t n_shards = n.n_blocks * n.n_probs * n.n_draws * n.n_path_blocks;
  for (int64_t i = 0; i < n_shards; ++i) {
    const auto found = result(p, i);
    if (!found) continue;
    const auto at = unravel(i, sizes);
    const auto first = static_cast<size_t>(at[0] * kBlockRows);
    const size_t size = std::min(n_rows - first, static_cast<size_t>(kBlockRows));
    add_shard(std::span(probs[static_cast<size_t>(at[1])]).subspan(first, size), *found,
              params_at(point, at[1], at[2], at[3]));
  }
  for (Rows& rows : probs) {
    for (RowValue& row : rows) finish(row, n.n_draws * n.n_path_blocks);
  }
  return probs;
}

/// The equal-weight mean over probabilities, of rows complete at all of them.
Rows over_probs(const std::vector<Rows>& probs) {
  Rows rows(probs.front().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const Rows& prob : probs) {
      if (!prob[i].complete) continue;
      add(rows[i].ig, prob[i].ig);
      if (!prob[i].half.empty()) add(rows[i].half, prob[i].half);
      rows[i].score_change += prob[i].score_change;
      rows[i].unconverged = rows[i].unconverged || prob[i].unconverged;
      ++rows[i].n_added;
    }
    finish(rows[i], static_cast<int64_t>(probs.size()));
  }
  return rows;
}

std::vector<const RowValue*> complete(const Rows& rows) {
  std::vector<const RowValue*> found;
  for (const RowValue& row : rows) {
    if (row.complete) found.push_back(&row);
  }
  return found;
}

double viewed(double value, const std::string& view) {
  if (view == "abs" || view == "abs_per_row") return std::abs(value);
  if (view == "relu" || view == "relu_per_row") return std::max(value, 0.0);
  return value;
}

/// Mean and standard error per head over the complete rows.
Estimates estimates(const Rows& rows, size_t n_selected, const std::string& view) {
  const bool per_row = view.ends_with("_per_row");
  Numbers values;
  for (const RowValue* row : complete(rows)) {
    for (const double x : row->ig) values.push_back(per_row ? viewed(x, view) : x);
  }
  if (values.empty()) return Estimates(n_selected);
  Estimates found;
  for (metrics::Estimate estimate : metrics::column_estimates(values, n_selected)) {
    estimate.value = viewed(estimate.value, view);
    found.emplace_back(estimate);
  }
  return found;
}

std::optional<double> residual(double sum, double score_change) {
  if (score_change == 0) return std::nullopt;
  return std::abs(sum - score_change) / std::abs(score_change);
}

Numbers mean_vector(const std::vector<const RowValue*>& rows, Numbers RowValue::*member) {
  Numbers mean(((*rows.front()).*member).size());
  for (const RowValue* row : rows) add(mean, row->*member);
  for (double& x : mean) x /= static_cast<double>(rows.size());
  return mean;
}

/// residual_mean, residual_p95, step_difference, unconverged, n_missing.
Cells diagnose(const Rows& all) {
  const auto rows = complete(all);
  const auto n_missing = static_cast<int64_t>(all.size() - rows.size());
  if (rows.empty()) return {Cell(), Cell(), Cell(), int64_t{0}, n_missing};
  Numbers sums, changes, residuals;
  int64_t n_unconverged = 0;
  for (const RowValue* row : rows) {
    sums.push_back(metrics::exact_sum(row->ig));
    changes.push_back(row->score_change);
    if (const auto one = residual(sums.back(), changes.back())) residuals.push_back(*one);
    n_unconverged += row->unconverged ? 1 : 0;
  }
  std::optional<double> p95, step_difference;
  if (!residuals.empty()) p95 = metrics::quantile(residuals, 0.95);
  if (!rows.front()->half.empty()) {
    step_difference =
        metrics::relative_l2(mean_vector(rows, &RowValue::half), mean_vector(rows, &RowValue::ig));
  }
  return {cell_of(residual(metrics::mean(sums), metrics::mean(changes))), cell_of(p95),
          cell_of(step_difference), n_unconverged, n_missing};
}

void add_heads(Table& table, const Point& point, const Cell& mask_prob, const Rows& rows) {
  const Params params = params_at(point, 0, 0, 0);
  const auto n_selected = static_cast<size_t>(params.n_selected());
  const Estimates heads = estimates(rows, n_selected, get<std::string>(point.values, "view"));
  for (size_t i = 0; i < n_selected; ++i) {
    const auto at = static_cast<int64_t>(i);
    add_row(table, point,
            {params.layer_first + at / params.n_heads, at % params.n_heads, mask_prob}, heads[i]);
  }
}

}  // namespace

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result) {
  Table table =
      blank_table(stage, "head_importance", points, {"layer", "head", "mask_prob"},
                  {"residual_mean", "residual_p95", "step_difference", "unconverged", "n_missing"});
  for (size_t p = 0; p < points.size(); ++p) {
    const Point& point = points[p];
    const auto probs = gather(point, p, result);
    const Rows mean = over_probs(probs);
    add_heads(table, point, Cell(), mean);
    if (masked(point)) {
      const auto values = get<Numbers>(point.values, "mask_probs");
      for (size_t i = 0; i < probs.size(); ++i) add_heads(table, point, values[i], probs[i]);
    }
    const Cells found = diagnose(mean);
    add_diagnostics(table, point, found);
    warn_missing(table, point, std::get<int64_t>(found.back()));
  }
  return table;
}

}  // namespace headcount::experiments::head_importance
