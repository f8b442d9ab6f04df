// Whether head scores may be read as they are: the one place that knows what is too much.
#pragma once

#include <string>
#include <vector>

#include "schemas/table.h"

namespace headcount::experiments {

/// A tenth: above it a share of a head_importance table's diagnostics is warned of.
constexpr double kTooMuch = 0.1;

/// "computed by version 2 of head_importance, now 3"; empty where the table is of today's version,
/// or of a kind this program does not know.
std::string outdated(const Table& table);

/// What a diagnostics row of a head_importance table holds against its point's scores, and what
/// would settle it: "step difference 379 %, 3 rows unconverged; ...". A table of another version
/// says that first. Empty where nothing does.
std::string distrust(const Table& scores, const std::vector<Cell>& diagnostics);

}  // namespace headcount::experiments
