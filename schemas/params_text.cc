// ParamInfo as text: what a parameter takes, and the tables of docs/spec.md.
#include "schemas/params_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace headcount {

namespace {

constexpr double kUnbounded = 1e308;

/// " from 0 to 1", " above 0 and at most 1", " of at least 1", "".
std::string range(const ParamInfo& info) {
  const bool least = info.at_least > -kUnbounded, most = info.at_most < kUnbounded;
  if (least && info.above_least) {
    return " above " + bound(info.at_least) + (most ? " and at most " + bound(info.at_most) : "");
  }
  if (least && most) return " from " + bound(info.at_least) + " to " + bound(info.at_most);
  if (least) return " of at least " + bound(info.at_least);
  if (most) return " of at most " + bound(info.at_most);
  return "";
}

std::string one_of(const ParamInfo& info) {
  std::string text = "one of ";
  for (size_t i = 0; i < info.choices.size(); ++i) {
    text += (i > 0 ? ", \"" : "\"") + std::string(info.choices[i]) + "\"";
  }
  return text;
}

/// "rows = 512", whether the table writes the key or its value alone.
std::string example(const ParamInfo& info) {
  const std::string assigned = std::string(info.name) + " = ";
  return (info.example.starts_with(assigned) ? "" : assigned) + std::string(info.example);
}

/// A bar would end the cell.
std::string in_cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string in_code(const Field& field) {
  const std::string text = to_json(field);
  return text == "\"\"" ? "(empty)" : "`" + text + "`";
}

}  // namespace

bool is_list(ParamType type) {
  return type == ParamType::kIntegers || type == ParamType::kNumbers || type == ParamType::kTexts;
}

std::string bound(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) {
    return std::to_string(static_cast<int64_t>(value));
  }
  std::array<char, 32> buffer;
  return {buffer.data(), std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr};
}

std::string expected(const ParamInfo& info) {
  switch (info.type) {
    case ParamType::kBool:
      return "true or false";
    case ParamType::kInteger:
      return "an integer" + range(info);
    case ParamType::kNumber:
      return "a number" + range(info);
    case ParamType::kText:
      return info.choices.empty() ? "a text" : one_of(info);
    case ParamType::kIntegers:
      return "a list of integers" + range(info);
    case ParamType::kNumbers:
      return "a list of numbers" + range(info);
    case ParamType::kTexts:
      return info.choices.empty() ? "a list of texts" : "a list of texts, each " + one_of(info);
  }
  return "";
}

std::string describe(std::span<const ParamInfo> infos) {
  std::string text =
      "| key | takes | list | default | unit | meaning | example |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const auto& info : infos) {
    const std::string list = is_list(info.type)
                                 ? (info.axis ? "by nature; list of lists: axis" : "by nature")
                                 : (info.axis ? "axis" : "no");
    const std::string otherwise = info.required    ? "required"
                                  : info.otherwise ? in_code(*info.otherwise)
                                                   : "none";
    const std::string unit(info.unit.empty() ? "-" : info.unit);
    for (const auto& cell : {"`" + std::string(info.name) + "`", in_cell(expected(info)), list,
                             otherwise, unit, in_cell(info.meaning), "`" + example(info) + "`"}) {
      text.append("| ").append(cell).append(" ");
    }
    text.append("|\n");
  }
  return text;
}

}  // namespace headcount
