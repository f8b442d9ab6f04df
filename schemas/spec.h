// The spec: what a researcher writes. Parsed from TOML into values that know their place in the
// file; what the keys mean is the business of experiments/sweep.h and docs/spec.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "schemas/problem.h"
#include "schemas/sha256.h"

namespace headcount {

/// One TOML value with its place. Dates and times are refused by the parser: no key takes one.
struct Value {
  struct Member;
  using List = std::vector<Value>;
  using Table = std::vector<Member>;  // in the order of the file
  std::variant<bool, int64_t, double, std::string, List, Table> data;
  Position at;
};
struct Value::Member {
  std::string key;
  Position at;  // of the key
  Value value;
};

/// "an integer", "a list", ...: for messages.
std::string type_name(const Value& value);
/// As TOML would write it, cut to about 40 characters: for messages ("found 0.5").
std::string to_text(const Value& value);
/// A key as TOML would write it: bare where it can be, else quoted, control characters escaped;
/// long ones cut.
std::string key_text(std::string_view key);
const Value* find(const Value::Table& table, std::string_view key);
const Value::Member* find_member(const Value::Table& table, std::string_view key);

/// [models.NAME]
struct ModelSpec {
  std::string name = {};
  Position at = {};
  std::string path = {};          // builtin:NAME or a directory
  Position path_at = {};          // of that key
  std::string dtype = "float32";  // float64 | float32 | bfloat16
  std::string numerics = {};      // "" = the able tag of most capacity, "any", or a tag
};

/// [datasets.NAME]: `task` and the task's own keys, checked by experiments/datasets.
struct DatasetSpec {
  std::string name = {};
  Position at = {};
  std::string task = {};
  Value::Table keys = {};  // all of them, task included
};

/// [[stage]]: `name`, `kind` and the kind's own keys, checked and expanded by experiments/sweep.h.
struct StageSpec {
  std::string name = {};
  Position at = {};
  std::string kind = {};
  Value::Table keys = {};  // all of them but name and kind
};

struct Spec {
  std::string name = {};
  uint64_t seed = 0;
  int64_t priority = 0;  // of the runners' time, higher first; in no digest and no shard's key
  std::vector<ModelSpec> models;  // in the order of the file
  std::vector<DatasetSpec> datasets;
  std::vector<StageSpec> stages;
  std::string file;  // for messages
  std::string text;  // as read
};

struct ParsedSpec {
  std::optional<Spec> spec;       // absent only after a syntax error
  std::vector<Problem> problems;  // a syntax error alone, or all that is wrong with the shape
};

constexpr size_t kMaxSpecBytes = 1 << 20;
constexpr size_t kMaxTables = 256;   // of models, of datasets, of stages
constexpr int kMaxSpecNesting = 16;  // of brackets, of braces and of dots in one key

/// Reads TOML text (at most kMaxSpecBytes, kMaxSpecNesting). `file` is only for messages. Names of
/// sweeps, models, datasets and stages are 1 to 64 letters, digits, '_', '-', '.', the first a
/// letter or digit.
ParsedSpec parse_spec(std::string_view text, const std::string& file);

/// The text all equal specs share: keys sorted, comments and layout gone; and its SHA-256.
std::string canonical(const Spec& spec);
Digest digest(const Spec& spec);

}  // namespace headcount
