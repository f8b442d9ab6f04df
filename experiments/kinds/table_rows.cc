#include "experiments/kinds/table_rows.h"

#include <algorithm>
#include <set>
#include <utility>

#include "experiments/kinds/windows.h"

namespace headcount::experiments {
namespace {

Cells point_cells(const Point& point) {
  Cells cells;
  for (const auto& name : point.column_order) cells.push_back(to_cell(point.columns.at(name)));
  return cells;
}

void append(Cells& to, const Cells& from) { to.insert(to.end(), from.begin(), from.end()); }

/// Several points may have the same to say.
void warn_once(Table& table, const std::string& warning) {
  if (std::find(table.warnings.begin(), table.warnings.end(), warning) == table.warnings.end()) {
    table.warnings.push_back(warning);
  }
}

bool has_windows(const datasets::Dataset& dataset) { return dataset.task == "text"; }

}  // namespace

Table blank_table(const std::string& stage, std::string_view kind, std::span<const Point> points,
                  const std::vector<std::string>& columns,
                  const std::vector<std::string>& diagnostics,
                  const std::vector<std::string>& measured) {
  Table table;
  table.stage = stage;
  table.kind = kind;
  table.numerics_version = find_kind(kind)->computation.numerics_version;
  table.columns = columns;
  table.columns.insert(table.columns.end(), measured.begin(), measured.end());
  if (!points.empty()) {
    const auto& order = points.front().column_order;
    table.columns.insert(table.columns.end(), order.begin(), order.end());
    table.diagnostic_columns = order;
  }
  table.diagnostic_columns.insert(table.diagnostic_columns.end(), diagnostics.begin(),
                                  diagnostics.end());
  return table;
}

Cell cell_of(const std::optional<double>& value) { return value ? Cell(*value) : Cell(); }

Cells cells_of(const std::optional<metrics::Estimate>& estimate) {
  if (!estimate) return {Cell(), Cell(), int64_t{0}};
  return {estimate->value, cell_of(estimate->se), estimate->n};
}

Cells interval_cells(const std::optional<metrics::Estimate>& estimate) {
  if (!estimate) return {Cell(), Cell(), Cell()};
  if (!estimate->interval) return {estimate->value, Cell(), Cell()};
  return {estimate->value, estimate->interval->low, estimate->interval->high};
}

void add_row(Table& table, const Point& point, Cells front,
             const std::optional<metrics::Estimate>& estimate) {
  append(front, cells_of(estimate));
  add_row(table, point, std::move(front));
}

void add_row(Table& table, const Point& point, Cells front) {
  append(front, point_cells(point));
  table.rows.push_back(std::move(front));
}

void add_diagnostics(Table& table, const Point& point, const Cells& cells) {
  Cells row = point_cells(point);
  append(row, cells);
  table.diagnostics.push_back(std::move(row));
}

std::string describe(const Point& point) {
  std::string text;
  for (const auto& name : point.column_order) {
    const auto* words = std::get_if<std::string>(&point.columns.at(name));
    text += (text.empty() ? "" : ", ") + name + " = " +
            (words != nullptr ? *words : to_json(point.columns.at(name)));
  }
  return text;
}

void warn_missing(Table& table, const Point& point, int64_t n_missing) {
  if (n_missing == 0) return;
  table.warnings.push_back(std::to_string(n_missing) + " of " +
                           std::to_string(point.dataset->rows.size()) +
                           " rows are missing and left out where " + describe(point));
}

void warn_distrust(Table& table, const Point& point) {
  if (!point.scores || point.scores->distrust.empty()) return;
  warn_once(table,
            "the scores of stage \"" + point.scores->stage + "\" where " + point.scores->distrust);
}

void warn_unscored(Table& table, const Point& point) {
  table.warnings.push_back("stage \"" + point.scores->stage +
                           "\" has scores of too few heads where " + describe(point) +
                           ": the pruned model has no numbers there");
}

void warn_overlap(Table& table, const Point& point) {
  if (!point.scores || point.scores->dataset == nullptr) return;
  const auto& scored = *point.scores->dataset;
  std::set<uint64_t> contents;
  for (const Row& row : scored.rows) contents.insert(datasets::content_hash(row));
  const auto& rows = point.dataset->rows;
  const auto n_equal = std::count_if(rows.begin(), rows.end(), [&](const Row& row) {
    return contents.count(datasets::content_hash(row)) > 0;
  });
  const auto of_all = [&](int64_t n, const std::string& what) {
    return std::to_string(n) + " of the " + std::to_string(rows.size()) + " " + what +
           " of dataset \"" + point.dataset->name + "\"";
  };
  if (n_equal > 0) {
    warn_once(table, of_all(n_equal, "rows") + " were also scored by stage \"" +
                         point.scores->stage +
                         "\": the curves flatter the scores; take another split or other rows");
  }
  if (!has_windows(*point.dataset) || !has_windows(scored)) return;
  const int64_t n = n_overlapping(point.dataset->windows, scored.windows);
  if (n > 0) {
    warn_once(table, of_all(n, "windows") + " overlap with windows scored by stage \"" +
                         point.scores->stage +
                         "\": the curves flatter the scores; take a stride of at least the window, "
                         "or a larger offset");
  }
}

void warn_few_windows(Table& table, const Point& point) {
  const auto n = static_cast<int64_t>(point.dataset->rows.size());
  if (!has_windows(*point.dataset) || n >= kFewWindows) return;
  warn_once(table, "n = " + std::to_string(n) + " windows of dataset \"" + point.dataset->name +
                       "\" is small, and neighbours in one text are alike: intervals over them are "
                       "rough");
}

}  // namespace headcount::experiments
