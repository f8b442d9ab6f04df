// From evaluations of pruned models to curves over k, and the areas between them
// (methods/numerics-and-validation.md 3.2): the axis is the share of heads removed, the sign such
// that a good ranking is positive, the interval a bootstrap paired by row.
#include <algorithm>
#include <map>
#include <string>

#include "experiments/kinds/evaluate/answers.h"
#include "experiments/kinds/head_pruning/head_pruning.h"
#include "experiments/kinds/table_rows.h"
#include "experiments/metrics/curves.h"
#include "experiments/metrics/moments.h"
#include "schemas/error.h"

namespace headcount::experiments::head_pruning {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using Numbers = std::vector<double>;
/// One value a row, nullopt where missing.
using Column = std::vector<std::optional<double>>;

/// The rows' values under every arm, for one metric.
struct Measured {
  std::vector<Arm> arms = {};
  std::vector<Column> columns = {};  // one an arm
  bool more_is_better = true;
};

double value_of(const evaluate::Answer& answer, const Row& row, const std::string& metric) {
  if (metric == "loss") return answer.loss;
  if (metric == "exact_match") return answer.match;
  return answer.predicted == row.label ? 1 : 0;
}

Measured measure(const Point& point, size_t p, const std::string& metric, const ResultOf& result) {
  const auto questions = evaluate::questions(point, metrics(point));
  const auto wanted = evaluate::question_of(point, metric);
  const auto at = std::find_if(questions.begin(), questions.end(),
                               [&](const evaluate::Asked& one) { return one.question == wanted; });
  HC_CHECK(at != questions.end());
  const auto question = static_cast<size_t>(at - questions.begin());
  const bool mean_choices = get<std::string>(point.values, "choice_normalize") == "mean";
  Measured measured{.arms = arms(point), .more_is_better = metric != "loss"};
  for (size_t arm = 0; arm < measured.arms.size(); ++arm) {
    const bool scored = evaluate::is_scored(point, measured.arms[arm]);
    const auto result_of = [&](int64_t block, int64_t repeat) {
      return scored ? result(p, shard_index(point, questions, question, block, arm, repeat))
                    : std::nullopt;
    };
    const auto answers = evaluate::answers(point, *at, mean_choices, result_of);
    Column column(answers.size());
    for (size_t row = 0; row < answers.size(); ++row) {
      if (answers[row]) column[row] = value_of(*answers[row], point.dataset->rows[row], metric);
    }
    measured.columns.push_back(std::move(column));
  }
  return measured;
}

std::optional<metrics::Estimate> estimate(const Column& column) {
  Numbers values;
  for (const auto& value : column) {
    if (value) values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  return metrics::estimate(values);
}

/// The mean over random orders, of rows present under all of them.
std::optional<metrics::Estimate> random_estimate(const Measured& measured,
                                                 const std::vector<size_t>& arms) {
  std::vector<Numbers> values(arms.size());
  for (size_t row = 0; row < measured.columns.front().size(); ++row) {
    const auto has_row = [&](size_t arm) { return measured.columns[arm][row].has_value(); };
    if (!std::all_of(arms.begin(), arms.end(), has_row)) continue;
    for (size_t i = 0; i < arms.size(); ++i) values[i].push_back(*measured.columns[arms[i]][row]);
  }
  if (values.front().empty()) return std::nullopt;
  return metrics::crossed_estimate(values);
}

/// Arms of one kind and k: one, or one a prune seed.
std::vector<size_t> arms_of(const Measured& measured, const std::string& which, int64_t k) {
  std::vector<size_t> found;
  for (size_t i = 0; i < measured.arms.size(); ++i) {
    if (measured.arms[i].which == which && measured.arms[i].k == k) found.push_back(i);
  }
  return found;
}

void add_rows(Table& table, const Point& point, const std::string& metric,
              const Measured& measured) {
  for (size_t i = 0; i < measured.arms.size(); ++i) {
    const Arm& arm = measured.arms[i];
    if (arm.which == "random" && arm.prune_seed == 0) {
      add_row(table, point, {metric, arm.which, arm.k, Cell()},
              random_estimate(measured, arms_of(measured, "random", arm.k)));
    }
  }
  for (size_t i = 0; i < measured.arms.size(); ++i) {
    const Arm& arm = measured.arms[i];
    add_row(table, point,
            {metric, arm.which, arm.k, arm.which == "random" ? Cell(arm.prune_seed) : Cell()},
            estimate(measured.columns[i]));
  }
}

/// Rows present under every arm.
std::vector<size_t> whole_rows(const Measured& measured) {
  std::vector<size_t> rows;
  for (size_t row = 0; row < measured.columns.front().size(); ++row) {
    if (std::all_of(measured.columns.begin(), measured.columns.end(),
                    [&](const Column& column) { return column[row].has_value(); })) {
      rows.push_back(row);
    }
  }
  return rows;
}

/// The area under each row's curve of one kind of arm, [prune seed][row]; signed so that more is
/// better.
metrics::RowAreas row_areas(const Point& point, const Measured& measured, const std::string& which,
                            const std::vector<size_t>& rows) {
  const models::Config& config = point.model->config;
  const bool each_layer = get<std::string>(point.values, "scope") == "layer";
  const auto n_heads =
      static_cast<double>(each_layer ? config.n_heads : config.n_layers * config.n_heads);
  std::map<int64_t, std::vector<size_t>> by_seed;
  for (size_t i = 0; i < measured.arms.size(); ++i) {
    if (measured.arms[i].which == which) by_seed[measured.arms[i].prune_seed].push_back(i);
  }
  metrics::RowAreas areas;
  for (const auto& [seed, arms] : by_seed) {
    Numbers kappa = {0};
    for (const size_t arm : arms)
      kappa.push_back(static_cast<double>(measured.arms[arm].k) / n_heads);
    Numbers seed_areas;
    for (const size_t row : rows) {
      Numbers curve = {*measured.columns.front()[row]};
      for (const size_t arm : arms) curve.push_back(*measured.columns[arm][row]);
      const double area = metrics::trapezoid(kappa, curve);
      seed_areas.push_back(measured.more_is_better ? area : -area);
    }
    areas.push_back(std::move(seed_areas));
  }
  return areas;
}

/// Value, low and high of the area between two kinds of arm; nulls where one was not asked for or
/// no row is whole.
Cells gap(const Point& point, const metrics::RowAreas& upper, const metrics::RowAreas& lower) {
  if (upper.empty() || lower.empty() || upper.front().empty()) return {Cell(), Cell(), Cell()};
  const auto n_resamples = static_cast<uint32_t>(get<int64_t>(point.values, "bootstrap"));
  const auto between =
      metrics::area_between(upper, lower, {.seed = point.seed, .n_resamples = n_resamples});
  if (!between.interval) return {between.value, Cell(), Cell()};
  return {between.value, between.interval->low, between.interval->high};
}

void append(Cells& to, const Cells& from) { to.insert(to.end(), from.begin(), from.end()); }

Cells diagnose(const Point& point, const std::string& metric, const Measured& measured) {
  const auto rows = whole_rows(measured);
  const auto most = row_areas(point, measured, "most", rows);
  const auto least = row_areas(point, measured, "least", rows);
  const auto random = row_areas(point, measured, "random", rows);
  Cells cells = {metric};
  append(cells, gap(point, least, most));
  append(cells, gap(point, random, most));
  append(cells, gap(point, least, random));
  cells.emplace_back(static_cast<int64_t>(point.dataset->rows.size() - rows.size()));
  return cells;
}

}  // namespace

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result) {
  Table table = blank_table(
      stage, "head_pruning", points, {"metric", "which", "k", "prune_seed"},
      {"metric", "abc", "abc_low", "abc_high", "random_most", "random_most_low", "random_most_high",
       "least_random", "least_random_low", "least_random_high", "n_missing"});
  for (size_t p = 0; p < points.size(); ++p) {
    const Point& point = points[p];
    int64_t n_missing = 0;
    for (const auto& metric : metrics(point)) {
      const Measured measured = measure(point, p, metric, result);
      add_rows(table, point, metric, measured);
      const Cells cells = diagnose(point, metric, measured);
      add_diagnostics(table, point, cells);
      n_missing = std::max(n_missing, std::get<int64_t>(cells.back()));
    }
    const auto all = arms(point);
    if (!std::all_of(all.begin(), all.end(),
                     [&](const Arm& arm) { return evaluate::is_scored(point, arm); })) {
      warn_unscored(table, point);
    }
    warn_missing(table, point, n_missing);
    warn_overlap(table, point);
  }
  return table;
}

}  // namespace headcount::experiments::head_pruning
