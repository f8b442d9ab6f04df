// The outer shape of a spec, and what is looked at before a TOML parser sees the text.
#include "schemas/spec_shape.h"

#include <algorithm>
#include <array>
#include <set>

#include "schemas/params.h"

namespace headcount {

namespace {

// ---- before the parser

/// Bytes of the UTF-8 character at `i` (RFC 3629: shortest form, no surrogates, at most U+10FFFF);
/// 0: there is none.
size_t utf8_size(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) {
    return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u;
  };
  const auto tail = [&](size_t k) { return (byte(k) & 0xC0u) == 0x80u; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned least = first == 0xE0 ? 0xA0 : 0x80, most = first == 0xED ? 0x9F : 0xBF;
    return byte(1) >= least && byte(1) <= most && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned least = first == 0xF0 ? 0x90 : 0x80, most = first == 0xF4 ? 0x8F : 0xBF;
    return byte(1) >= least && byte(1) <= most && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// Walks TOML text far enough to tell strings and comments from the rest, and counts open brackets
/// and dots in a key.
class Nesting {
 public:
  /// False once `kMaxSpecNesting` is passed. `rest` starts at the next character.
  bool step(std::string_view rest) {
    const char c = rest.front();
    if (skip_ > 0) {
      --skip_;
    } else if (in_comment_) {
      in_comment_ = c != '\n';
      if (c == '\n') dots_ = 0;
    } else if (!quote_.empty()) {
      inside_string(rest);
    } else {
      outside_string(rest);
    }
    return depth_ <= kMaxSpecNesting && dots_ <= kMaxSpecNesting;
  }

 private:
  void inside_string(std::string_view rest) {
    if (rest.front() == '\\' && quote_.front() == '"') {
      skip_ = 1;
    } else if (rest.starts_with(quote_)) {
      skip_ = quote_.size() - 1;
      quote_ = {};
    } else if (rest.front() == '\n' && quote_.size() == 1) {
      quote_ = {};  // unterminated: the parser will say so
    }
  }

  void outside_string(std::string_view rest) {
    switch (rest.front()) {
      case '#':
        in_comment_ = true;
        break;
      case '"':
      case '\'':
        quote_ = rest.starts_with("\"\"\"") || rest.starts_with("'''") ? rest.substr(0, 3)
                                                                       : rest.substr(0, 1);
        skip_ = quote_.size() - 1;
        break;
      case '[':
      case '{':
        ++depth_;
        dots_ = 0;
        break;
      case ']':
      case '}':
        depth_ = std::max(0, depth_ - 1);
        dots_ = 0;
        break;
      case '=':
      case ',':
      case '\n':
        dots_ = 0;
        break;
      case '.':
        ++dots_;
        break;
      default:
        break;
    }
  }

  int depth_ = 0, dots_ = 0;
  bool in_comment_ = false;
  std::string_view quote_;  // of the string we are in
  size_t skip_ = 0;
};

// ---- after the parser

bool is_name(std::string_view name) {
  const auto is_alnum = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  return !name.empty() && name.size() <= 64 && is_alnum(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_alnum(c) || c == '_' || c == '-' || c == '.'; });
}

constexpr const char* kNameRule =
    "1 to 64 letters, digits, '_', '-' or '.', the first a letter or digit";

class Shape {
 public:
  Shape(const std::string& file, std::vector<Problem>& problems)
      : file_(file), problems_(problems) {}

  Spec read(const Value::Table& root) {
    Spec spec;
    spec.name = required_name(root, "", {1, 1});
    if (spec.name == "last") {
      complain(find_member(root, "name")->at, "name",
               "\"last\" already means the newest sweep; choose another name");
    }
    spec.seed = static_cast<uint64_t>(integer(root, top_params()[1]));
    spec.priority = integer(root, top_params()[2]);
    for (const auto& member : root) {
      if (member.key == "models") {
        read_models(member, spec);
      } else if (member.key == "datasets") {
        read_datasets(member, spec);
      } else if (member.key == "stage") {
        read_stages(member, spec);
      } else if (member.key != "name" && member.key != "seed" && member.key != "priority") {
        complain(
            member.at, key_text(member.key),
            unknown_key(member.key, {"name", "seed", "priority", "models", "datasets", "stage"}));
      }
    }
    if (find(root, "stage") == nullptr) {
      complain({1, 1}, "stage", "required key is missing; a spec has at least one [[stage]]");
    }
    return spec;
  }

 private:
  int64_t integer(const Value::Table& root, const ParamInfo& info) {
    const auto* member = find_member(root, info.name);
    if (member == nullptr) return 0;
    const auto value =
        read_param(member->value, info, member->at, std::string(info.name), file_, problems_);
    return value ? std::get<int64_t>(*value) : 0;
  }

  void complain(Position at, const std::string& key, const std::string& message) {
    problems_.push_back({file_, at, key, message});
  }

  /// A required text; "" after a problem.
  std::string required_text(const Value::Table& table, const std::string& key,
                            const std::string& path, Position at) {
    const auto* member = find_member(table, key);
    if (member == nullptr) {
      complain(at, path + key, "required key is missing");
      return "";
    }
    if (const auto* text = std::get_if<std::string>(&member->value.data)) return *text;
    const ParamInfo info{.name = key, .type = ParamType::kText};
    read_param(member->value, info, member->at, path + key, file_, problems_);
    return "";
  }

  std::string required_name(const Value::Table& table, const std::string& path, Position at) {
    const size_t before = problems_.size();
    std::string name = required_text(table, "name", path, at);
    if (problems_.size() > before || is_name(name)) return name;
    const auto* member = find_member(table, "name");
    complain(member->at, path + "name",
             std::string("expected ") + kNameRule + ", found " + to_text(member->value));
    return "";
  }

  bool few_enough(const Value::Member& group, size_t n) {
    if (n > kMaxTables) {
      complain(
          group.at, group.key,
          "expected at most " + std::to_string(kMaxTables) + " tables, found " + std::to_string(n));
    }
    return n <= kMaxTables;
  }

  /// Calls `read(member, table, path)` for each [group.NAME].
  template <class Read>
  void each_named(const Value::Member& group, const Read& read) {
    const std::string form = "[" + group.key + ".NAME]";
    const auto* tables = std::get_if<Value::Table>(&group.value.data);
    if (tables == nullptr) {
      complain(group.at, group.key, "expected tables " + form + ", found " + to_text(group.value));
      return;
    }
    if (!few_enough(group, tables->size())) return;
    for (const auto& member : *tables) {
      const std::string path = group.key + "." + key_text(member.key);
      const auto* table = std::get_if<Value::Table>(&member.value.data);
      if (table == nullptr) {
        complain(member.at, path, "expected a table " + form + ", found " + to_text(member.value));
        continue;
      }
      if (!is_name(member.key)) {
        complain(member.at, path, std::string("expected as a name ") + kNameRule);
      }
      read(member, *table, path);
    }
  }

  void read_models(const Value::Member& group, Spec& spec) {
    each_named(group, [&](const Value::Member& member, const Value::Table& table,
                          const std::string& path) {
      const auto choices =
          read_params(table, model_params(), {}, path, file_, member.at, problems_);
      const Fields& values = choices.front().values;
      ModelSpec model{.name = member.key, .at = member.at};
      const auto text = [&](const char* key) {
        const auto found = values.find(key);
        return found == values.end() ? std::string() : std::get<std::string>(found->second);
      };
      model.path = text("path");
      if (const auto* path_key = find_member(table, "path")) model.path_at = path_key->at;
      model.dtype = text("dtype");
      model.numerics = text("numerics");
      spec.models.push_back(std::move(model));
    });
  }

  void read_datasets(const Value::Member& group, Spec& spec) {
    each_named(group, [&](const Value::Member& member, const Value::Table& table,
                          const std::string& path) {
      spec.datasets.push_back({.name = member.key,
                               .at = member.at,
                               .task = required_text(table, "task", path + ".", member.at),
                               .keys = table});
    });
  }

  void read_stages(const Value::Member& group, Spec& spec) {
    const auto* list = std::get_if<Value::List>(&group.value.data);
    if (list == nullptr) {
      const bool is_table = std::holds_alternative<Value::Table>(group.value.data);
      complain(group.at, "stage",
               is_table ? "expected a list of tables; write [[stage]] with two brackets"
                        : "expected tables [[stage]], found " + to_text(group.value));
      return;
    }
    if (list->empty()) complain(group.at, "stage", "expected at least one [[stage]], found none");
    if (!few_enough(group, list->size())) return;
    std::set<std::string> names;
    for (size_t i = 0; i < list->size(); ++i) {
      spec.stages.push_back(read_stage((*list)[i], "stage[" + std::to_string(i) + "]", names));
    }
  }

  /// One [[stage]]; without a kind where there is none to check it by.
  StageSpec read_stage(const Value& value, const std::string& path, std::set<std::string>& names) {
    StageSpec stage{.at = value.at};
    const auto* table = std::get_if<Value::Table>(&value.data);
    if (table == nullptr) {
      complain(value.at, path, "expected a table [[stage]], found " + to_text(value));
      return stage;
    }
    stage.name = required_name(*table, path + ".", value.at);
    stage.kind = required_text(*table, "kind", path + ".", value.at);
    if (!stage.name.empty() && !names.insert(stage.name).second) {
      complain(find_member(*table, "name")->at, path + ".name",
               "an earlier stage has the name \"" + stage.name + "\"; names are unique");
    }
    for (const auto& member : *table) {
      if (member.key != "name" && member.key != "kind") stage.keys.push_back(member);
    }
    return stage;
  }

  const std::string& file_;
  std::vector<Problem>& problems_;
};

}  // namespace

std::optional<Unreadable> unreadable(std::string_view text) {
  if (text.size() > kMaxSpecBytes) {
    return Unreadable{{1, 1},
                      "the spec is " + std::to_string(text.size()) + " bytes; at most " +
                          std::to_string(kMaxSpecBytes) + " are read"};
  }
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return Unreadable{{1, 1}, "the spec is UTF-16; save it as UTF-8"};
  }
  Position at{1, 1};
  Nesting nesting;
  size_t size = 0;
  for (size_t i = 0; i < text.size(); i += size) {
    size = utf8_size(text, i);
    if (size == 0 || text[i] == '\0') {
      constexpr std::string_view digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(text[i]);
      return Unreadable{at, std::string("found the byte 0x") + digits[byte >> 4] +
                                digits[byte & 15] + ", which is not text; save the spec as UTF-8"};
    }
    // Continuation bytes are no TOML syntax: one step per character is enough.
    if (!nesting.step(text.substr(i))) {
      return Unreadable{at, "nested deeper than " + std::to_string(kMaxSpecNesting) + " levels"};
    }
    if (text[i] == '\n') {
      ++at.line;
      at.column = 1;
    } else {
      ++at.column;
    }
  }
  return std::nullopt;
}

Spec read_shape(const Value::Table& root, const std::string& file, std::vector<Problem>& problems) {
  return Shape(file, problems).read(root);
}

std::span<const ParamInfo> top_params() {
  static const std::array<ParamInfo, 3> infos = {
      ParamInfo{.name = "name",
                .type = ParamType::kText,
                .required = true,
                .meaning = "What commands call the sweep.",
                .example = "\"addition-heads\"",
                .axis = false},
      ParamInfo{.name = "seed",
                .type = ParamType::kInteger,
                .otherwise = Field(int64_t{0}),
                .at_least = 0,
                .meaning = "Every random number of the sweep is a function of it: masks, paths, "
                           "random prune orders, rows of synthetic tasks, bootstrap resamples.",
                .example = "20261120",
                .axis = false},
      ParamInfo{.name = "priority",
                .type = ParamType::kInteger,
                .otherwise = Field(int64_t{0}),
                .at_least = -1000,
                .at_most = 1000,
                .meaning = "Sweeps of a higher priority get runners first; a lower one keeps one "
                           "grant in twenty. Those of one priority get equal shares of the "
                           "runners' time. It changes no number: a spec that differs in nothing "
                           "else is the same spec.",
                .example = "10",
                .axis = false},
  };
  return infos;
}

std::span<const ParamInfo> model_params() {
  static const std::array<ParamInfo, 3> infos = {
      ParamInfo{.name = "path",
                .type = ParamType::kText,
                .required = true,
                .meaning =
                    "A model shipped with Headcount (`builtin:NAME`), or a directory with "
                    "`config.json` and `*.safetensors`, or with one llama2.c `*.bin`; relative "
                    "ones start at `--root`.",
                .example = "\"builtin:addition\"",
                .axis = false},
      ParamInfo{.name = "dtype",
                .type = ParamType::kText,
                .otherwise = Field(std::string("float32")),
                .choices = {"float64", "float32", "bfloat16", "float16"},
                .meaning = "What weights and activations are computed in.",
                .example = "\"bfloat16\"",
                .axis = false},
      ParamInfo{.name = "numerics",
                .type = ParamType::kText,
                .otherwise = Field(std::string()),
                .meaning = "The numerics tag results must come from (`headcount worker list` "
                           "prints them); empty: that of the workers of most capacity; \"any\": no "
                           "binding, and rows say so.",
                .example = "\"any\"",
                .axis = false},
  };
  return infos;
}

}  // namespace headcount
