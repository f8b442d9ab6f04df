#include "experiments/trust.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "experiments/kind.h"

namespace headcount::experiments {
namespace {

/// The cell of that column, or null where the table has none (it is of an older version).
Cell cell_at(const Table& table, const std::vector<Cell>& row, const std::string& name) {
  const auto& columns = table.diagnostic_columns;
  const auto found = std::find(columns.begin(), columns.end(), name);
  return found == columns.end() ? Cell() : row[static_cast<size_t>(found - columns.begin())];
}

std::string percent(double share) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g %%", 100 * share);
  return text;
}

}  // namespace

std::string outdated(const Table& table) {
  const Kind* kind = find_kind(table.kind);
  const int64_t version = table.numerics_version;
  if (kind == nullptr || version == kind->computation.numerics_version) return "";
  return "computed by " +
         (version == 0 ? "an older version" : "version " + std::to_string(version)) + " of " +
         table.kind + ", now " + std::to_string(kind->computation.numerics_version);
}

std::string distrust(const Table& scores, const std::vector<Cell>& diagnostics) {
  constexpr std::pair<const char*, const char*> kShares[] = {
      {"audit", "halving every interval moves the mean vector by"},
      {"step_difference", "from half the steps to all, the mean vector moves by"},
      {"moving", "they move so much of a row's |IG|:"},
      {"residual_p95", "sum minus change of J, at the 95th percentile,"}};
  const std::string age = outdated(scores);
  std::string text = age;
  const auto add = [&](const std::string& reason) { text += (text.empty() ? "" : ", ") + reason; };
  for (const auto& [name, words] : kShares) {
    const Cell cell = cell_at(scores, diagnostics, name);
    const auto* share = std::get_if<double>(&cell);
    if (share != nullptr && *share > kTooMuch) add(std::string(words) + " " + percent(*share));
  }
  const Cell cell = cell_at(scores, diagnostics, "unconverged");
  if (const auto* rows = std::get_if<int64_t>(&cell); rows != nullptr && *rows > 0)
    add(std::to_string(*rows) + (*rows == 1 ? " row" : " rows") + " unconverged");
  if (text.empty()) return text;
  if (!age.empty()) return text + "; submit the spec again";
  const bool adaptive =
      !std::holds_alternative<std::monostate>(cell_at(scores, diagnostics, "evaluations_mean"));
  return text +
         (adaptive ? "; take a smaller tol, or a larger max_evaluations where rows are unconverged"
                   : "; quadrature = \"adaptive\", the default, settles them");
}

}  // namespace headcount::experiments
