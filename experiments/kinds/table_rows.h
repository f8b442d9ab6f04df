// What the tables of all kinds share: a point's own cells, estimates as cells, and the sentence
// about missing rows.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "experiments/kind.h"
#include "experiments/metrics/moments.h"

namespace headcount::experiments {

using Cells = std::vector<Cell>;

/// An empty table: `columns`, `measured` (which ends with n), then the points' columns;
/// diagnostics: the points' columns, then `diagnostics`.
Table blank_table(const std::string& stage, std::string_view kind, std::span<const Point> points,
                  const std::vector<std::string>& columns,
                  const std::vector<std::string>& diagnostics,
                  const std::vector<std::string>& measured = {"value", "se", "n"});

/// value, se and n; an estimate of no rows is null, null, 0.
Cells cells_of(const std::optional<metrics::Estimate>& estimate);
/// value, and low and high of the interval; nulls where there is none.
Cells interval_cells(const std::optional<metrics::Estimate>& estimate);
Cell cell_of(const std::optional<double>& value);

/// Appends a row: front, estimate, the point's cells.
void add_row(Table& table, const Point& point, Cells front,
             const std::optional<metrics::Estimate>& estimate);
/// Appends a row: front with all that is measured, the point's cells.
void add_row(Table& table, const Point& point, Cells front);
/// Appends a diagnostics row: the point's cells, then `cells`.
void add_diagnostics(Table& table, const Point& point, const Cells& cells);

/// "model = mha, ig_steps = 8": how warnings name a point.
std::string describe(const Point& point);
/// Adds the warning that rows are missing, where any is.
void warn_missing(Table& table, const Point& point, int64_t n_missing);

/// Repeats what speaks against the scores the point reads.
void warn_distrust(Table& table, const Point& point);

/// Adds the warning that the stage the point reads has too few scores for what it prunes.
void warn_unscored(Table& table, const Point& point);

/// Adds the warnings that rows of the point were also scored by the stage it reads, where any was:
/// the whole row, or (windows of a text) part of it.
void warn_overlap(Table& table, const Point& point);

/// Adds the warning that the point's windows of a text are few, where they are.
void warn_few_windows(Table& table, const Point& point);

}  // namespace headcount::experiments
