// A table as text for a terminal.
#pragma once

#include <string>

#include "schemas/table.h"

namespace headcount::cli {

/// The table by its kind; a kind without a picture of its own as aligned columns. Ends with
/// diagnostics and warnings.
std::string text_of(const Table& table);

/// A cell in four significant digits; "" for null.
std::string cell_text(const Cell& cell);

}  // namespace headcount::cli
