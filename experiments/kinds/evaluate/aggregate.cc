// From answers to a table: one row a metric, with its standard error and interval over rows.
#include <algorithm>
#include <string>

#include "experiments/kinds/evaluate/answers.h"
#include "experiments/kinds/table_rows.h"
#include "experiments/metrics/classification.h"
#include "experiments/metrics/intervals.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using Answers = std::vector<std::optional<Answer>>;

metrics::F1 f1_of(const Point& point) {
  const auto name = get<std::string>(point.values, "f1");
  if (name == "micro") return metrics::F1::kMicro;
  return name == "positive" ? metrics::F1::kPositive : metrics::F1::kMacro;
}

/// Predicted and right classes of the answered rows.
struct Classes {
  std::vector<int32_t> truth, predicted;
  int32_t n_classes = 0;
};

Classes classes_of(const Point& point, const Answers& answers) {
  Classes classes;
  for (size_t i = 0; i < answers.size(); ++i) {
    const Row& row = point.dataset->rows[i];
    classes.n_classes = std::max(classes.n_classes, static_cast<int32_t>(row.choices.size()));
    if (!answers[i]) continue;
    classes.truth.push_back(row.label);
    classes.predicted.push_back(answers[i]->predicted);
  }
  return classes;
}

std::vector<double> values_of(const Answers& answers, double Answer::*member) {
  std::vector<double> values;
  for (const auto& answer : answers) {
    if (answer) values.push_back((*answer).*member);
  }
  return values;
}

std::optional<metrics::Estimate> measure(const Point& point, const std::string& metric,
                                         const Answers& answers) {
  if (std::none_of(answers.begin(), answers.end(),
                   [](const auto& answer) { return answer.has_value(); })) {
    return std::nullopt;
  }
  const metrics::Bootstrap bootstrap{
      .seed = point.seed,
      .n_resamples = static_cast<uint32_t>(get<int64_t>(point.values, "bootstrap"))};
  if (metric == "loss")
    return metrics::not_negative(metrics::mean_estimate({values_of(answers, &Answer::loss)}));
  if (metric == "exact_match") return metrics::share_estimate({values_of(answers, &Answer::match)});
  if (metric == "perplexity") {
    return metrics::perplexity(values_of(answers, &Answer::nll),
                               values_of(answers, &Answer::tokens), bootstrap);
  }
  const Classes classes = classes_of(point, answers);
  if (metric == "accuracy") return metrics::accuracy(classes.truth, classes.predicted);
  HC_CHECK(metric == "f1");
  const auto positive = static_cast<int32_t>(get_or<int64_t>(point.values, "positive", -1));
  return metrics::f1(classes.truth, classes.predicted, classes.n_classes, f1_of(point), positive,
                     bootstrap);
}

void add_metric(Table& table, const Point& point, const std::string& metric,
                const std::optional<metrics::Estimate>& estimate) {
  const Cells plain = cells_of(estimate), interval = interval_cells(estimate);
  add_row(table, point, {metric, plain[0], plain[1], interval[1], interval[2], plain[2]});
}

/// The answers to every question of the point, in the order of `asked`.
std::vector<Answers> gather(const Point& point, size_t p, const std::vector<Asked>& asked,
                            const ResultOf& result) {
  const bool mean_choices = get<std::string>(point.values, "choice_normalize") == "mean";
  const bool scored = is_scored(point, arm_of(point));
  std::vector<Answers> found;
  int64_t first = 0;
  for (const Asked& one : asked) {
    const auto result_of = [&](int64_t block, int64_t repeat) {
      return scored ? result(p, first + block * one.n_repeats() + repeat) : std::nullopt;
    };
    found.push_back(answers(point, one, mean_choices, result_of));
    first += n_blocks(point) * one.n_repeats();
  }
  return found;
}

/// Rows of which some answer is missing.
int64_t n_missing(const std::vector<Answers>& gathered, size_t n_rows) {
  int64_t n = 0;
  for (size_t row = 0; row < n_rows; ++row) {
    n +=
        std::any_of(gathered.begin(), gathered.end(), [&](const Answers& one) { return !one[row]; })
            ? 1
            : 0;
  }
  return n;
}

}  // namespace

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result) {
  Table table = blank_table(stage, "evaluate", points, {"metric"}, {"n_missing"},
                            {"value", "se", "low", "high", "n"});
  for (size_t p = 0; p < points.size(); ++p) {
    const Point& point = points[p];
    const auto asked = questions(point, metrics(point));
    const auto gathered = gather(point, p, asked, result);
    for (const auto& metric : metrics(point)) {
      const Question question = question_of(point, metric);
      for (size_t q = 0; q < asked.size(); ++q) {
        if (asked[q].question == question)
          add_metric(table, point, metric, measure(point, metric, gathered[q]));
      }
    }
    const int64_t missing = n_missing(gathered, point.dataset->rows.size());
    add_diagnostics(table, point, {missing});
    if (!is_scored(point, arm_of(point))) warn_unscored(table, point);
    warn_missing(table, point, missing);
    warn_distrust(table, point);
    warn_overlap(table, point);
    warn_few_windows(table, point);
  }
  return table;
}

}  // namespace headcount::experiments::evaluate
