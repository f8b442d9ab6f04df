// From evaluations of pruned models to curves over k, and the areas between them
// (docs/methods.md 6), the sign such that a good ranking is positive. An area
// is taken three ways: over the share of heads removed, in the metric's unit; the same with no
// curve worse than chance, for a loss beyond ln(vocabulary) says nothing about heads; over log2(1 +
// k), where the first heads count as much as the last half.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "experiments/kinds/evaluate/answers.h"
#include "experiments/kinds/head_pruning/head_pruning.h"
#include "experiments/kinds/table_rows.h"
#include "experiments/metrics/curves.h"
#include "experiments/metrics/intervals.h"
#include "schemas/error.h"

namespace headcount::experiments::head_pruning {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using Numbers = std::vector<double>;
/// One value a row, nullopt where missing.
using Column = std::vector<std::optional<double>>;

/// The rows' values under every arm, for one metric.
struct Measured {
  std::string metric = {};
  std::vector<Arm> arms = {};
  std::vector<Column> columns = {};  // one an arm
  bool more_is_better = true;
  bool is_share = true;  // a row is right (1) or wrong (0)
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
  const bool is_loss = metric == "loss";
  Measured measured{
      .metric = metric, .arms = arms(point), .more_is_better = !is_loss, .is_share = !is_loss};
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

/// Arms of one name and k: one, or one a prune seed.
std::vector<size_t> arms_of(const Measured& measured, const std::string& which, int64_t k) {
  std::vector<size_t> found;
  for (size_t i = 0; i < measured.arms.size(); ++i) {
    if (measured.arms[i].which == which && measured.arms[i].k == k) found.push_back(i);
  }
  return found;
}

/// The values of rows present under all of these arms, [arm][row].
metrics::ByOrder common_rows(const Measured& measured, const std::vector<size_t>& arms) {
  metrics::ByOrder values(arms.size());
  for (size_t row = 0; row < measured.columns.front().size(); ++row) {
    const auto has_row = [&](size_t arm) { return measured.columns[arm][row].has_value(); };
    if (!std::all_of(arms.begin(), arms.end(), has_row)) continue;
    for (size_t i = 0; i < arms.size(); ++i) values[i].push_back(*measured.columns[arms[i]][row]);
  }
  return values;
}

/// The mean over these arms (all orders of a random one), with what low and high mean for them.
std::optional<metrics::Estimate> estimate(const Measured& measured,
                                          const std::vector<size_t>& arms) {
  const auto values = common_rows(measured, arms);
  if (values.front().empty()) return std::nullopt;
  const bool lottery = arms.size() > 1 && measured.arms[arms.front()].k <= kLotteryK;
  if (lottery) return metrics::range_estimate(values);
  return measured.is_share ? metrics::share_estimate(values)
                           : metrics::not_negative(metrics::mean_estimate(values));
}

Cell n_orders(const Arm& arm, const std::vector<size_t>& arms) {
  if (!arm.is_random()) return {};
  return static_cast<int64_t>(arms.size());
}

void add_arm(Table& table, const Point& point, const Measured& measured, const Cell& seed,
             const std::vector<size_t>& arms) {
  const Arm& arm = measured.arms[arms.front()];
  const auto found = estimate(measured, arms);
  const Cells plain = cells_of(found), interval = interval_cells(found);
  add_row(table, point,
          {measured.metric, arm.which, arm.k, seed, plain[0], plain[1], interval[1], interval[2],
           n_orders(arm, arms), plain[2]});
}

Cell prune_seed(const Arm& arm) {
  if (!arm.is_random()) return {};
  return arm.prune_seed;
}

/// The means over random orders first, then every arm by itself.
void add_rows(Table& table, const Point& point, const Measured& measured) {
  for (const Arm& arm : measured.arms) {
    if (arm.prune_seed == 0)
      add_arm(table, point, measured, Cell(), arms_of(measured, arm.which, arm.k));
  }
  for (size_t i = 0; i < measured.arms.size(); ++i) {
    const Arm& arm = measured.arms[i];
    add_arm(table, point, measured, prune_seed(arm), {i});
  }
}

/// What a model that guesses gets: a loss of ln(vocabulary), an accuracy of one over the choices
/// (mean over the rows); an exact match by chance is as good as none.
std::optional<double> chance_of(const Point& point, const std::string& metric) {
  if (metric == "loss" && point.model->config.vocab_size > 0)
    return std::log(static_cast<double>(point.model->config.vocab_size));
  if (metric != "accuracy") return std::nullopt;
  Numbers shares;
  for (const Row& row : point.dataset->rows)
    shares.push_back(1 / static_cast<double>(row.choices.size()));
  return metrics::mean(shares);
}

/// Heads an area's axis counts: of the model, or of one layer where k is of every layer.
int64_t n_heads_of(const Point& point) {
  const models::Config& config = point.model->config;
  const bool each_layer = get<std::string>(point.values, "scope") == "layer";
  return each_layer ? config.n_heads : config.n_layers * config.n_heads;
}

/// How curves become areas.
struct Axis {
  bool log = false;                    // over log2(1 + k), else over k / heads
  std::optional<double> clip_at = {};  // no curve is worse than this
};

/// The area under each row's curve of one name of arm, [prune seed][row]; signed so that more is
/// better. Clipped: where the mean of an order's curve is worse than clip_at, all its rows have
/// clip_at, so that the area is that of the clipped mean curve and still a mean over rows.
metrics::ByOrder row_areas(const Point& point, const Measured& measured, const std::string& which,
                           const Axis& axis) {
  std::vector<size_t> all(measured.arms.size());
  std::iota(all.begin(), all.end(), size_t{0});
  auto values = common_rows(measured, all);
  if (values.front().empty()) return {};
  const auto worse = [&](double a, double b) { return measured.more_is_better ? a < b : a > b; };
  std::map<int64_t, std::vector<size_t>> by_seed;
  for (size_t i = 0; i < values.size(); ++i) {
    if (axis.clip_at && worse(metrics::mean(values[i]), *axis.clip_at))
      values[i].assign(values[i].size(), *axis.clip_at);
    if (measured.arms[i].which == which) by_seed[measured.arms[i].prune_seed].push_back(i);
  }
  const auto n_heads = static_cast<double>(n_heads_of(point));
  const auto place = [&](size_t arm) {
    const auto k = static_cast<double>(measured.arms[arm].k);
    return axis.log ? std::log2(1 + k) : k / n_heads;
  };
  metrics::ByOrder areas;
  for (auto& [seed, arms] : by_seed) {
    arms.insert(arms.begin(), 0);  // the unpruned model
    Numbers x;
    for (const size_t arm : arms) x.push_back(place(arm));
    Numbers& of_seed = areas.emplace_back();
    for (size_t row = 0; row < values.front().size(); ++row) {
      Numbers curve;
      for (const size_t arm : arms) curve.push_back(values[arm][row]);
      const double area = metrics::trapezoid(x, curve);
      of_seed.push_back(measured.more_is_better ? area : -area);
    }
  }
  return areas;
}

/// The name of the random arm to compare a ranked one with.
std::string random_of(const Point& point, const std::string& ranked) {
  return scope_of(get<std::string>(point.values, "scope")) == Scope::kLayerMatched
             ? "random_as_" + ranked
             : "random";
}

void append(Cells& to, const Cells& from) { to.insert(to.end(), from.begin(), from.end()); }

/// Value, low and high of abc, random_most and least_random along one axis; nulls where an arm was
/// not asked for or no row is whole.
Cells gaps(const Point& point, const Measured& measured, const Axis& axis) {
  Cells cells;
  for (const auto& [upper, lower] : {std::pair(std::string("least"), std::string("most")),
                                     std::pair(random_of(point, "most"), std::string("most")),
                                     std::pair(std::string("least"), random_of(point, "least"))}) {
    const auto above = row_areas(point, measured, upper, axis),
               below = row_areas(point, measured, lower, axis);
    std::optional<metrics::Estimate> between;
    if (!above.empty() && !below.empty()) between = metrics::area_between(above, below);
    append(cells, interval_cells(between));
  }
  return cells;
}

/// Rows missing under some arm.
int64_t n_missing_of(const Measured& measured) {
  int64_t n = 0;
  for (size_t row = 0; row < measured.columns.front().size(); ++row) {
    if (!std::all_of(measured.columns.begin(), measured.columns.end(),
                     [&](const Column& column) { return column[row].has_value(); }))
      ++n;
  }
  return n;
}

/// The areas three ways, then what they are read with.
Cells diagnose(const Point& point, const Measured& measured) {
  const auto chance = chance_of(point, measured.metric);
  Cells cells = {measured.metric};
  append(cells, gaps(point, measured, {}));
  append(cells, chance ? gaps(point, measured, {.clip_at = chance}) : Cells(9));
  append(cells, gaps(point, measured, {.log = true}));
  append(cells, {n_heads_of(point), cell_of(chance), n_missing_of(measured)});
  return cells;
}

std::vector<std::string> diagnostic_names() {
  std::vector<std::string> names = {"metric"};
  for (const char* way : {"", "_clipped", "_log"}) {
    for (const char* gap : {"abc", "random_most", "least_random"}) {
      for (const char* end : {"", "_low", "_high"}) names.push_back(std::string(gap) + way + end);
    }
  }
  names.insert(names.end(), {"n_heads", "chance", "n_missing"});
  return names;
}

bool overlap(const std::optional<metrics::Interval>& a, const std::optional<metrics::Interval>& b) {
  return !a || !b || (a->low <= b->high && b->low <= a->high);
}

/// Warns where removing the most important heads hurts less than removing as many random or least
/// important ones: an area over such a crossing hides it.
void warn_crossings(Table& table, const Point& point, const Measured& measured) {
  for (const auto& other : {random_of(point, "most"), std::string("least")}) {
    std::string ks;
    for (const Arm& arm : measured.arms) {
      if (arm.which != "most") continue;
      const auto of_most = estimate(measured, arms_of(measured, "most", arm.k));
      const auto arms = arms_of(measured, other, arm.k);
      const auto of_other = arms.empty() ? std::nullopt : estimate(measured, arms);
      if (!of_most || !of_other) continue;
      const double lost = of_most->value - of_other->value;
      if (measured.more_is_better ? lost <= 0 : lost >= 0) continue;
      ks += (ks.empty() ? "" : ", ") + std::to_string(arm.k);
      if (overlap(of_most->interval, of_other->interval)) ks += " (their intervals overlap)";
    }
    if (ks.empty()) continue;
    table.warnings.push_back("the curves of most and " + other + " cross: the " + measured.metric +
                             " suffers less from losing the most important heads at k = " + ks +
                             " where " + describe(point));
  }
}

}  // namespace

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result) {
  Table table = blank_table(stage, "head_pruning", points, {"metric", "which", "k", "prune_seed"},
                            diagnostic_names(), {"value", "se", "low", "high", "n_orders", "n"});
  for (size_t p = 0; p < points.size(); ++p) {
    const Point& point = points[p];
    int64_t n_missing = 0;
    for (const auto& metric : metrics(point)) {
      const Measured measured = measure(point, p, metric, result);
      add_rows(table, point, measured);
      add_diagnostics(table, point, diagnose(point, measured));
      warn_crossings(table, point, measured);
      n_missing = std::max(n_missing, n_missing_of(measured));
    }
    const auto all = arms(point);
    if (!std::all_of(all.begin(), all.end(),
                     [&](const Arm& arm) { return evaluate::is_scored(point, arm); })) {
      warn_unscored(table, point);
    }
    warn_missing(table, point, n_missing);
    warn_distrust(table, point);
    warn_overlap(table, point);
    warn_few_windows(table, point);
  }
  return table;
}

}  // namespace headcount::experiments::head_pruning
