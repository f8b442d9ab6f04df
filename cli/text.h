// Text for people and from people: aligned columns, durations, times.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headcount::cli {

/// Rows as columns two spaces apart, the first row being the heads; numbers are aligned to the
/// right.
std::string aligned(const std::vector<std::vector<std::string>>& rows);

/// "45 s", "3 min 20 s", "2 h 05 min", "3 d 4 h"; below ten seconds with one decimal: "1.5 s".
std::string duration_text(double seconds);

/// "500ms", "90s", "10m", "2h", "1d", or a bare number of seconds, as milliseconds. Throws BadInput
/// naming `flag`.
int64_t parse_duration_ms(const std::string& text, const std::string& flag);

/// "18:30" (its next occurrence, local time), "2026-11-21 07:00[:00]" or with 'T' (local; with a
/// final 'Z' UTC), or "+90m" (from now): milliseconds since 1970. `now_s`: seconds since 1970.
/// Throws BadInput naming `flag`.
int64_t parse_time_ms(const std::string& text, const std::string& flag, int64_t now_s);

/// "1,234,567".
std::string grouped(int64_t number);

}  // namespace headcount::cli
