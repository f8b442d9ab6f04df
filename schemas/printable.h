// Foreign text made fit for a log, an alarm or a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace headcount {

/// `text` with control characters, and bytes that are no UTF-8, written out ("\n", "\x1b"): it
/// cannot begin a line of its own or move a cursor. What would be longer than `max_bytes` is cut,
/// and says so.
std::string printable(std::string_view text, size_t max_bytes);
/// The same of each of its lines; tabs stay too.
std::string printable_lines(std::string_view text, size_t max_bytes);

}  // namespace headcount
