// Parameters of kinds and datasets as data: one table of ParamInfo per kind says name, type, range, default and meaning, and the
// reader below checks a TOML table against it and expands its axes. docs/spec.md is tested against the same tables.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/fields.h"
#include "schemas/problem.h"
#include "schemas/spec.h"

namespace headcount {

enum class ParamType { kBool, kInteger, kNumber, kText, kIntegers, kNumbers, kTexts };

/// One key. Scalar types become an axis when written as a list; list types (kIntegers, kNumbers, kTexts) are lists by nature and
/// become an axis as a list of lists.
struct ParamInfo {
  std::string_view name;
  ParamType type = ParamType::kInteger;
  std::optional<Field> otherwise;         // the default; nullopt: no default (absent, or required where the kind says so)
  bool required = false;
  double at_least = -1e308, at_most = 1e308;  // of numbers, or of each element
  bool above_least = false;               // at_least itself is refused
  std::vector<std::string_view> choices;  // of texts, or of each element
  std::string_view unit;                  // "nats", "heads", "" ...
  std::string_view meaning;               // one sentence, as docs/spec.md prints it
  std::string_view example;               // TOML
  bool axis = true;                       // false: may not be written as an axis
};

/// One combination of a stage's axes.
struct Choice {
  Fields values;                   // every parameter with a value: written or by default
  std::vector<std::string> axes;   // names written as a list, in the order of `infos`
};

/// Checks `table` against `infos`; unknown keys get "did you mean". Keys in `handled_elsewhere` are skipped.
/// Returns the product of all axes: the first name of `infos` written as a list varies slowest. An axis with equal elements or no
/// element is a problem. `path` prefixes key paths ("stage[0]").
std::vector<Choice> read_params(const Value::Table& table, std::span<const ParamInfo> infos,
                                std::span<const std::string_view> handled_elsewhere,
                                const std::string& path, const std::string& file, Position table_at,
                                std::vector<Problem>& problems);

}  // namespace headcount
