// A table as text for a terminal.
#pragma once

#include <string>

#include "schemas/table.h"

namespace headcount::cli {

/// The table drawn as its kind says (experiments/kind.h). kHeadMap: a shaded layer x head map of
/// the means over mask probabilities, the strongest heads, how far to trust each point. kArms: a
/// chart of each metric by k with the areas between arms. kMetricGrid: a line a point, a column a
/// metric. kColumns, and a kind this program does not know: every row in aligned columns. Ends with
/// warnings.
std::string text_of(const Table& table);

/// A cell in four significant digits; "" for null.
std::string cell_text(const Cell& cell);

}  // namespace headcount::cli
