// The table a stage yields: long format, one row a measured value, with its standard error, n and
// point.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "schemas/fields.h"

namespace headcount {

/// A list of integers, numbers or texts, as its JSON text.
struct JsonList {
  std::string json;
  auto operator<=>(const JsonList&) const = default;
};

/// A cell: null, integer, number, text or list.
using Cell = std::variant<std::monostate, int64_t, double, std::string, JsonList>;

/// Columns in fixed order, rows in fixed order. For head_importance: layer, head, mask_prob (where
/// `view` is not the signed mean: signed_mean), value, se, n, then the point's columns; other
/// kinds: metric (head_pruning also which, k, prune_seed), value, se, low, high (the 95 % interval;
/// head_pruning also n_orders), n, then the point's columns. `diagnostics` holds one row a point:
/// its columns, then the kind's own (docs/numbers.md), among them n_missing.
struct Table {
  std::string stage;
  std::string kind;
  int64_t numerics_version = 0;  // of the kind, when it was made; 0: unknown, so an older one
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
  std::vector<std::string> diagnostic_columns;
  std::vector<std::vector<Cell>> diagnostics;
  std::vector<std::string>
      warnings;  // plain sentences: overlap of scored and evaluated rows, missing shards
};

/// The index of a column; throws Error naming it when absent.
size_t column(const std::vector<std::string>& columns, const std::string& name);

/// A cell as JSON; a list as the list it is.
std::string json_of(const Cell& cell);
/// {"stages": [{"name", "columns", "rows": [{...}], "diagnostics": [{...}], "warnings": [...]}]}:
/// only what the spec determines, shortest round-trip numbers, fixed order, no ids, times, workers
/// or paths.
std::string to_json(const std::vector<Table>& tables);

}  // namespace headcount
