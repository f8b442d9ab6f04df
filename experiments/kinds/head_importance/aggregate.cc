// From shards to the table of head scores: row values, then means over rows with their standard
// errors, then what tells how far to trust them (gap and residual of completeness, and how
// the means move: by halved intervals or doubled steps).
#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "experiments/kinds/blocks.h"
#include "experiments/kinds/head_importance/plan.h"
#include "experiments/kinds/table_rows.h"
#include "experiments/metrics/moments.h"
#include "experiments/metrics/statistics.h"
#include "experiments/trust.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using Numbers = std::vector<double>;
/// Changes of J below one nat are no measure of a gap: what tol_floor is by default.
constexpr double kLeastChange = 1;
const std::vector<std::string> kDiagnostics = {
    "audit",       "step_difference",  "moving",          "gap_p95",  "residual_p95",
    "unconverged", "evaluations_mean", "evaluations_max", "n_missing"};
using Estimates = std::vector<std::optional<metrics::Estimate>>;

/// A row at one mask probability, or over all of them. While shards are added the numbers are sums
/// over `n_added` of them.
struct RowValue {
  Numbers ig, half;  // by selected head; half empty where the rule has none
  bool unconverged = false;
  int64_t n_added = 0;
  bool complete = false;
};
using Rows = std::vector<RowValue>;

/// One row under one mask, summed over its blocks of paths.
struct MaskedRow {
  Numbers ig, refined;  // refined: half the steps (fixed rules), every interval halved (audited)
  double score_change = 0;  // J(one) - J(baseline)
  double evaluations = 0;
};

/// What no mean over rows hides, one number a row and mask; and the audited rows' sums.
struct Trust {
  Numbers moving;          // sum |change| / sum |ig|
  Numbers gaps, shares;    // |sum ig - change of J|: nats, and over max(|change of J|, 1 nat)
  Numbers evaluations;     // a path
  Numbers audited, audit;  // by selected head
};

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
    if (params.adaptive()) {
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
}

/// The sum of |change| over that of |reference|; null where the reference is zero.
std::optional<double> moving_share(const Numbers& from, const Numbers& to) {
  double change = 0, size = 0;
  for (size_t i = 0; i < to.size(); ++i) {
    change += std::abs(to[i] - from[i]);
    size += std::abs(to[i]);
  }
  if (size == 0) return std::nullopt;
  return change / size;
}

/// The rows of one block under one mask, from its shards in path order; nothing where one is
/// missing.
void add_masked_rows(Trust& trust, std::span<const std::optional<Result>> shards,
                     const Params& params, size_t audited) {
  if (!std::all_of(shards.begin(), shards.end(), [](const auto& one) { return one.has_value(); }))
    return;
  const auto n_rows = array(*shards.front(), "score_one").data.size();
  for (size_t row = 0; row < n_rows; ++row) {
    MaskedRow sum;
    const bool is_audited = params.adaptive() && row == audited;
    for (const auto& shard : shards) {
      add(sum.ig, row_of(array(*shard, "ig"), row));
      if (params.has_half()) add(sum.refined, row_of(array(*shard, "ig_half"), row));
      if (is_audited) add(sum.refined, row_of(array(*shard, "audit"), 0));
      sum.score_change +=
          array(*shard, "score_one").data[row] - array(*shard, "score_base").data[row];
      if (params.adaptive()) sum.evaluations += array(*shard, "evaluations").data[row];
    }
    const auto n = static_cast<double>(shards.size());
    const double gap = std::abs(metrics::exact_sum(sum.ig) - sum.score_change) / n;
    trust.gaps.push_back(gap);
    trust.shares.push_back(gap / std::max(std::abs(sum.score_change) / n, kLeastChange));
    if (params.adaptive())
      trust.evaluations.push_back(sum.evaluations / (n * static_cast<double>(params.path_count)));
    if (is_audited) {
      add(trust.audited, sum.ig);
      add(trust.audit, sum.refined);
    }
    // Fixed rules: from half the steps to all; adaptive: from what it gave to twice as fine.
    const Numbers& from = is_audited ? sum.ig : sum.refined;
    const Numbers& to = is_audited ? sum.refined : sum.ig;
    if (from.empty()) continue;
    if (const auto share = moving_share(from, to)) trust.moving.push_back(*share);
  }
}

/// The rows of one point, per mask probability (one of them where rows bring their labels), and
/// how far they can be trusted.
std::pair<std::vector<Rows>, Trust> gather(const Point& point, size_t p, const ResultOf& result) {
  const Loops n = loops(point);
  const auto& dataset_rows = point.dataset->rows;
  const size_t n_rows = dataset_rows.size();
  std::vector<Rows> probs(static_cast<size_t>(n.n_probs), Rows(n_rows));
  Trust trust;
  const std::vector<int64_t> sizes = {n.n_blocks, n.n_probs, n.n_draws, n.n_path_blocks};
  const int64_t n_masks = n.n_blocks * n.n_probs * n.n_draws;
  for (int64_t mask = 0; mask < n_masks; ++mask) {
    const auto at = unravel(mask * n.n_path_blocks, sizes);
    const auto first = static_cast<size_t>(at[0] * kBlockRows);
    const size_t size = std::min(n_rows - first, static_cast<size_t>(kBlockRows));
    const Params params = params_at(point, at[1], at[2], 0);
    std::vector<std::optional<Result>> shards;
    for (int64_t path = 0; path < n.n_path_blocks; ++path) {
      shards.push_back(result(p, mask * n.n_path_blocks + path));
      if (shards.back())
        add_shard(std::span(probs[static_cast<size_t>(at[1])]).subspan(first, size), *shards.back(),
                  params);
    }
    add_masked_rows(trust, shards, params,
                    audited_row(std::span(dataset_rows).subspan(first, size)));
  }
  for (Rows& rows : probs) {
    for (RowValue& row : rows) finish(row, n.n_draws * n.n_path_blocks);
  }
  return {std::move(probs), std::move(trust)};
}

/// The equal-weight mean over probabilities, of rows complete at all of them.
Rows over_probs(const std::vector<Rows>& probs) {
  Rows rows(probs.front().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    for (const Rows& prob : probs) {
      if (!prob[i].complete) continue;
      add(rows[i].ig, prob[i].ig);
      if (!prob[i].half.empty()) add(rows[i].half, prob[i].half);
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

Numbers mean_vector(const std::vector<const RowValue*>& rows, Numbers RowValue::*member) {
  Numbers mean(((*rows.front()).*member).size());
  for (const RowValue* row : rows) add(mean, row->*member);
  for (double& x : mean) x /= static_cast<double>(rows.size());
  return mean;
}

std::optional<double> p95(const Numbers& values) {
  if (values.empty()) return std::nullopt;
  return metrics::quantile(values, 0.95);
}

std::optional<double> mean_of(const Numbers& values) {
  if (values.empty()) return std::nullopt;
  return metrics::mean(values);
}

std::optional<double> root_mean_square(const Numbers& values) {
  if (values.empty()) return std::nullopt;
  double sum = 0;
  for (const double x : values) sum += x * x;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

/// In the order of kDiagnostics.
Cells diagnose(const Rows& all, const Trust& trust) {
  const auto rows = complete(all);
  const auto n_missing = static_cast<int64_t>(all.size() - rows.size());
  const auto n_unconverged =
      std::count_if(rows.begin(), rows.end(), [](const RowValue* row) { return row->unconverged; });
  std::optional<double> step_difference, audit, most;
  if (!rows.empty() && !rows.front()->half.empty()) {
    step_difference =
        metrics::relative_l2(mean_vector(rows, &RowValue::half), mean_vector(rows, &RowValue::ig));
  }
  if (!trust.audit.empty()) audit = metrics::relative_l2(trust.audited, trust.audit);
  if (!trust.evaluations.empty())
    most = *std::max_element(trust.evaluations.begin(), trust.evaluations.end());
  return {cell_of(audit),
          cell_of(step_difference),
          cell_of(root_mean_square(trust.moving)),
          cell_of(p95(trust.gaps)),
          cell_of(p95(trust.shares)),
          static_cast<int64_t>(n_unconverged),
          cell_of(mean_of(trust.evaluations)),
          cell_of(most),
          n_missing};
}

/// A row a head. Where the view is not the signed mean itself, that stands beside the value: it
/// tells equal values apart.
void add_heads(Table& table, const Point& point, const Cell& mask_prob, const Rows& rows,
               bool with_signed) {
  const Params params = params_at(point, 0, 0, 0);
  const auto n_selected = static_cast<size_t>(params.n_selected());
  const Estimates heads = estimates(rows, n_selected, get<std::string>(point.values, "view"));
  const Estimates means = estimates(rows, n_selected, "signed");
  for (size_t i = 0; i < n_selected; ++i) {
    const auto at = static_cast<int64_t>(i);
    Cells front = {params.layer_first + at / params.n_heads, at % params.n_heads, mask_prob};
    if (with_signed) front.push_back(means[i] ? Cell(means[i]->value) : Cell());
    add_row(table, point, std::move(front), heads[i]);
  }
}

bool any_view(std::span<const Point> points) {
  return std::any_of(points.begin(), points.end(), [](const Point& point) {
    return get<std::string>(point.values, "view") != "signed";
  });
}

}  // namespace

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result) {
  const bool with_signed = any_view(points);
  std::vector<std::string> front = {"layer", "head", "mask_prob"};
  if (with_signed) front.emplace_back("signed_mean");
  Table table = blank_table(stage, "head_importance", points, front, kDiagnostics);
  for (size_t p = 0; p < points.size(); ++p) {
    const Point& point = points[p];
    const auto [probs, trust] = gather(point, p, result);
    const Rows mean = over_probs(probs);
    add_heads(table, point, Cell(), mean, with_signed);
    if (masked(point)) {
      const auto values = get<Numbers>(point.values, "mask_probs");
      for (size_t i = 0; i < probs.size(); ++i)
        add_heads(table, point, values[i], probs[i], with_signed);
    }
    const Cells found = diagnose(mean, trust);
    add_diagnostics(table, point, found);
    warn_missing(table, point, std::get<int64_t>(found.back()));
    if (const std::string warning = distrust(table, table.diagnostics.back()); !warning.empty())
      table.warnings.push_back("the scores where " + describe(point) +
                               " are not settled: " + warning);
  }
  return table;
}

}  // namespace headcount::experiments::head_importance
