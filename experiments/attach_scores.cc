// Part of experiments/sweep.h.
// An earlier stage's table becomes the scores of the points that read it.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "experiments/kinds/table_rows.h"
#include "experiments/sweep.h"
#include "experiments/trust.h"
#include "schemas/error.h"

namespace headcount::experiments {

namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

/// One head's value, by point.
struct HeadValue {
  int64_t layer, head;
  double value, signed_mean;  // NaN where missing
};
using PointKey = std::vector<Cell>;

double number_of(const Cell& cell) {
  const auto* number = std::get_if<double>(&cell);
  return number == nullptr ? kMissing : *number;
}

/// Where a view made the values, their signed means may stand beside them.
bool has_signed_mean(const Table& table) {
  return std::find(table.columns.begin(), table.columns.end(), "signed_mean") !=
         table.columns.end();
}

/// The cell as keys compare it: tables stored before database version 3 hold lists as texts.
Cell key_cell(const Cell& cell) {
  const auto* list = std::get_if<JsonList>(&cell);
  return list != nullptr ? Cell(list->json) : cell;
}

/// The rows of `table` that are means over mask probabilities, by the values of the columns
/// `names`.
std::map<PointKey, std::vector<HeadValue>> by_point(const Table& table,
                                                    const std::vector<std::string>& names) {
  std::vector<size_t> key_columns;
  key_columns.reserve(names.size());
  for (const auto& name : names) key_columns.push_back(column(table.columns, name));
  const size_t layer = column(table.columns, "layer"), head = column(table.columns, "head");
  const size_t mask_prob = column(table.columns, "mask_prob");
  const size_t value = column(table.columns, "value");
  const size_t signed_mean = has_signed_mean(table) ? column(table.columns, "signed_mean") : value;
  std::map<PointKey, std::vector<HeadValue>> points;
  for (const auto& row : table.rows) {
    if (!std::holds_alternative<std::monostate>(row[mask_prob])) continue;
    PointKey key;
    for (const size_t i : key_columns) key.push_back(key_cell(row[i]));
    points[key].push_back({std::get<int64_t>(row[layer]), std::get<int64_t>(row[head]),
                           number_of(row[value]), number_of(row[signed_mean])});
  }
  return points;
}

std::vector<double> layer_major(const std::vector<HeadValue>& heads, const models::Config& config,
                                double HeadValue::*member) {
  std::vector<double> values(static_cast<size_t>(config.n_layers * config.n_heads), kMissing);
  for (const auto& head : heads) {
    HC_CHECK(head.layer >= 0 && head.layer < config.n_layers);
    HC_CHECK(head.head >= 0 && head.head < config.n_heads);
    values[static_cast<size_t>(head.layer * config.n_heads + head.head)] = head.*member;
  }
  return values;
}

/// What the table holds against the scores of one of its points, and which point that is.
std::string distrust_of(const Table& table, const Point& point, const PointKey& key) {
  for (const auto& row : table.diagnostics) {
    PointKey its_key;
    for (const auto& name : point.column_order)
      its_key.push_back(key_cell(row[column(table.diagnostic_columns, name)]));
    if (its_key != key) continue;
    const std::string reasons = distrust(table, row);
    return reasons.empty() ? "" : describe(point) + " are not settled: " + reasons;
  }
  return "";
}

}  // namespace

void attach_scores(Sweep& sweep, int stage, const Table& input) {
  Stage& reader = sweep.stages[static_cast<size_t>(stage)];
  HC_CHECK(reader.input >= 0);
  const Stage& from = sweep.stages[static_cast<size_t>(reader.input)];
  if (from.points.empty()) return;
  const auto& names = from.points.front().column_order;
  const auto heads = by_point(input, names);
  for (size_t i = 0; i < reader.points.size(); ++i) {
    const Point& read = from.points[static_cast<size_t>(reader.input_point[i])];
    PointKey key;
    for (const auto& name : names) key.push_back(key_cell(to_cell(read.columns.at(name))));
    const auto found = heads.find(key);
    Point& point = reader.points[i];
    HC_CHECK(point.scores.has_value());
    const auto of_point = found == heads.end() ? std::vector<HeadValue>{} : found->second;
    point.scores->distrust = distrust_of(input, read, key);
    point.scores->value = layer_major(of_point, read.model->config, &HeadValue::value);
    if (has_signed_mean(input)) {
      point.scores->signed_mean =
          layer_major(of_point, read.model->config, &HeadValue::signed_mean);
    }
  }
}

}  // namespace headcount::experiments
