// Parameters of kinds and datasets as data: one table of ParamInfo per kind says name, type, range,
// default and meaning, and the reader below checks a TOML table against it and expands its axes.
// docs/spec.md is tested against the same tables.
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

/// One key. Scalar types become an axis when written as a list; list types (kIntegers, kNumbers,
/// kTexts) are lists by nature and become an axis as a list of lists.
struct ParamInfo {
  std::string_view name = {};
  ParamType type = ParamType::kInteger;
  std::optional<Field> otherwise = {};  // the default; nullopt: absent where not written
  bool required = false;
  double at_least = -1e308, at_most = 1e308;   // of numbers, or of each element
  bool above_least = false;                    // at_least itself is refused
  std::vector<std::string_view> choices = {};  // of texts, or of each element
  std::string_view unit = {};                  // "nats", "heads", "" ...
  std::string_view meaning = {};               // one sentence, as docs/spec.md prints it
  std::string_view example = {};               // TOML
  bool axis = true;                            // false: may not be written as an axis
  bool distinct = true;                        // of a list by nature: equal elements are refused
  bool may_be_empty = false;                   // of a list by nature
};

/// Combinations one stage may expand to; more is a problem, found before expanding.
constexpr size_t kMaxPoints = 10'000;

/// One combination of a table's axes.
struct Choice {
  Fields values;                  // every parameter with a value: written or by default
  std::vector<std::string> axes;  // names written as a list, in the order of `infos`
};

/// Checks `table` against `infos`; unknown keys get "did you mean". Keys in `handled_elsewhere` are
/// known and skipped. Returns the product of all axes: the first name of `infos` written as a list
/// varies slowest. An axis with equal elements or no element is a problem. `path` prefixes key
/// paths ("stage[0]"). Integers are taken where a number is asked for. Where a value is refused the
/// parameter keeps its default, so that what depends on it can still be checked; never returns an
/// empty vector.
std::vector<Choice> read_params(const Value::Table& table, std::span<const ParamInfo> infos,
                                std::span<const std::string_view> handled_elsewhere,
                                const std::string& path, const std::string& file, Position table_at,
                                std::vector<Problem>& problems);

/// One value against one ParamInfo, no axis: what the field becomes, or nullopt after adding
/// problems under `key` at `at` (those of list elements at the element).
std::optional<Field> read_param(const Value& value, const ParamInfo& info, Position at,
                                const std::string& key, const std::string& file,
                                std::vector<Problem>& problems);

/// The elements of `value` where it is written as an axis of `info` (a list; a list of lists for
/// lists by nature), else nullptr.
const Value::List* as_axis(const Value& value, const ParamInfo& info);

/// "unknown key; did you mean "ig_steps"?", or the known keys where they are few and none is close.
std::string unknown_key(const std::string& key, const std::vector<std::string>& known);

/// The keys before the first table, name and seed; the keys of [models.NAME].
std::span<const ParamInfo> top_params();
std::span<const ParamInfo> model_params();

/// What a parameter takes, in words: "an integer from 1 to 4096", "a list of numbers above 0 and at
/// most 1".
std::string expected(const ParamInfo& info);

/// The table docs/spec.md prints for `infos`: Markdown, one row a key: type, axis or list by
/// nature, default, unit, meaning, example.
std::string describe(std::span<const ParamInfo> infos);

}  // namespace headcount
