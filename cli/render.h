// Tables as a reader wants them: text for a terminal (head scores as a shaded layer x head map with
// the strongest heads, pruning as curves, the rest as aligned columns), Markdown, LaTeX, CSV, and
// the JSON of schemas/table.h. Pure: the same tables, the same bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/table.h"

namespace headcount::cli {

enum class Format { kText, kMarkdown, kLatex, kCsv, kJson };

/// "text", "markdown", "latex", "csv", "json"; nullopt for any other.
std::optional<Format> format_of(std::string_view name);

/// All tables, in their order. Markdown, LaTeX and CSV hold every row of the table; CSV puts a
/// `stage` column first and one header line per stage, an empty line between stages, and no
/// warnings (warn_aside has them). Text ends every table with its diagnostics and warnings,
/// Markdown and LaTeX end it with visible lines of them.
std::string render(const std::vector<Table>& tables, Format format);

/// A number as people read it: `digits` significant digits, no exponent between 1e-4 and 1e6.
std::string readable(double value, int digits = 4);

}  // namespace headcount::cli
