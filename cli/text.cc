#include "cli/text.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "cli/command.h"

namespace headcount::cli {
namespace {

/// Characters, not bytes: UTF-8 continuation bytes take no room.
size_t width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool is_number(const std::string& text) {
  if (text.empty()) return true;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || std::strchr("+-.,e%", c) != nullptr;
  });
}

std::string two_digits(int64_t value) { return (value < 10 ? "0" : "") + std::to_string(value); }

}  // namespace

std::string aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<bool> right;
  for (size_t r = 0; r < rows.size(); ++r) {
    widths.resize(std::max(widths.size(), rows[r].size()), 0);
    right.resize(widths.size(), true);
    for (size_t c = 0; c < rows[r].size(); ++c) {
      widths[c] = std::max(widths[c], width(rows[r][c]));
      if (r > 0 && !is_number(rows[r][c])) right[c] = false;
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string padding(widths[c] - width(row[c]), ' ');
      line += (c == 0 ? "" : "  ") + (right[c] ? padding + row[c] : row[c] + padding);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string duration_text(double seconds) {
  if (seconds < 9.95) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.1f s", std::max(0.0, seconds));
    return buffer;
  }
  const auto s = static_cast<int64_t>(seconds + 0.5);
  if (s < 60) return std::to_string(s) + " s";
  if (s < 3600) return std::to_string(s / 60) + " min " + two_digits(s % 60) + " s";
  if (s < 86400) return std::to_string(s / 3600) + " h " + two_digits(s / 60 % 60) + " min";
  return std::to_string(s / 86400) + " d " + std::to_string(s / 3600 % 24) + " h";
}

int64_t parse_duration_ms(const std::string& text, const std::string& flag) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  double scale = -1;
  if (unit == "ms") scale = 1;
  if (unit.empty() || unit == "s") scale = 1e3;
  if (unit == "m" || unit == "min") scale = 60e3;
  if (unit == "h") scale = 3600e3;
  if (unit == "d") scale = 86400e3;
  if (error != std::errc() || scale < 0 || !(value >= 0) || value * scale > 1e15) {
    throw BadInput(flag + " " + text + ": expected a duration such as 90s, 10m or 2h");
  }
  return static_cast<int64_t>(value * scale);
}

int64_t parse_time_ms(const std::string& text, const std::string& flag, int64_t now_s) {
  if (!text.empty() && text[0] == '+') {
    return now_s * 1000 + parse_duration_ms(text.substr(1), flag);
  }
  std::tm parts{};
  const time_t now = now_s;
  for (const char* format : {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                             "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"}) {
    parts = {};
    const char* end = ::strptime(text.c_str(), format, &parts);
    if (end == nullptr || *end != '\0') continue;
    parts.tm_isdst = -1;
    const bool utc = format[std::strlen(format) - 1] == 'Z';
    return static_cast<int64_t>(utc ? ::timegm(&parts) : std::mktime(&parts)) * 1000;
  }
  ::localtime_r(&now, &parts);
  const char* end = ::strptime(text.c_str(), "%H:%M", &parts);
  if (end == nullptr || *end != '\0') {
    throw BadInput(flag + " " + text + ": expected a time such as 18:30, 2026-11-21 07:00 or +90m");
  }
  parts.tm_sec = 0;
  parts.tm_isdst = -1;
  if (std::mktime(&parts) <= now) {
    ++parts.tm_mday;
    parts.tm_isdst = -1;
  }
  return static_cast<int64_t>(std::mktime(&parts)) * 1000;
}

std::string grouped(int64_t number) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
  return (number < 0 ? "-" : "") + digits;
}

}  // namespace headcount::cli
