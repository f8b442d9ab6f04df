// A TOML table against a table of ParamInfo: types, ranges, choices, axes.
#include "schemas/params.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "schemas/params_text.h"

namespace headcount {

namespace {

constexpr size_t kFewKeys = 8;    // so many are listed where none is close
constexpr int kMaxGuesses = 100;  // a table of strangers is no list of slips

/// The type of one element of a list by nature.
ParamType element_type(ParamType type) {
  switch (type) {
    case ParamType::kIntegers:
      return ParamType::kInteger;
    case ParamType::kNumbers:
      return ParamType::kNumber;
    case ParamType::kTexts:
      return ParamType::kText;
    default:
      return type;
  }
}

bool in_range(double value, const ParamInfo& info) {
  return std::isfinite(value) && value >= info.at_least && value <= info.at_most &&
         !(info.above_least && value == info.at_least);
}

/// One scalar as a field of the (element) type, when it is right in every respect.
std::optional<Field> scalar(const Value& value, const ParamInfo& info) {
  const auto* integer = std::get_if<int64_t>(&value.data);
  const auto* number = std::get_if<double>(&value.data);
  const auto* text = std::get_if<std::string>(&value.data);
  const auto* truth = std::get_if<bool>(&value.data);
  switch (element_type(info.type)) {
    case ParamType::kBool:
      if (truth != nullptr) return *truth;
      break;
    case ParamType::kInteger:
      if (integer != nullptr && in_range(static_cast<double>(*integer), info)) return *integer;
      break;
    case ParamType::kNumber:
      if (integer != nullptr && in_range(static_cast<double>(*integer), info)) {
        return static_cast<double>(*integer);
      }
      if (number != nullptr && in_range(*number, info)) return *number + 0.0;  // -0.0 is 0.0
      break;
    default:
      if (text != nullptr &&
          (info.choices.empty() ||
           std::find(info.choices.begin(), info.choices.end(), *text) != info.choices.end())) {
        return *text;
      }
  }
  return std::nullopt;
}

bool has_type(const Value& value, ParamType type) {
  switch (type) {
    case ParamType::kBool:
      return std::holds_alternative<bool>(value.data);
    case ParamType::kInteger:
      return std::holds_alternative<int64_t>(value.data);
    case ParamType::kNumber:
      return std::holds_alternative<double>(value.data) ||
             std::holds_alternative<int64_t>(value.data);
    default:
      return std::holds_alternative<std::string>(value.data);
  }
}

/// "0", or "8.5 (a number)" where the type is the trouble; then the fix where it is plain.
std::string found(const Value& value, const ParamInfo& info) {
  const ParamType type = element_type(info.type);
  std::string text = "found " + to_text(value);
  if (!has_type(value, type)) text += " (" + type_name(value) + ")";
  const auto* word = std::get_if<std::string>(&value.data);
  if (const auto* number = std::get_if<double>(&value.data);
      number != nullptr && type == ParamType::kInteger && *number == std::floor(*number) &&
      in_range(*number, info) && std::abs(*number) < 1e15) {
    text += "; write " + bound(*number);
  } else if (word != nullptr && (type == ParamType::kInteger || type == ParamType::kNumber)) {
    double parsed = 0;
    const auto* end = word->data() + word->size();
    if (!word->empty() && std::from_chars(word->data(), end, parsed).ptr == end) {
      text += "; write it without quotes";
    }
  } else if (word != nullptr && !info.choices.empty()) {
    const std::string near =
        closest(*word, std::vector<std::string>(info.choices.begin(), info.choices.end()));
    if (!near.empty()) text += "; did you mean \"" + near + "\"?";
  }
  return text;
}

ParamInfo element_info(const ParamInfo& info) {
  ParamInfo element = info;
  element.type = element_type(info.type);
  element.axis = false;
  return element;
}

template <class T>
Field list_of(const std::vector<Field>& elements) {
  std::vector<T> list;
  list.reserve(elements.size());
  for (const auto& element : elements) list.push_back(std::get<T>(element));
  return list;
}

/// A list by nature; every wrong element is a problem of its own.
std::optional<Field> read_list(const Value& value, const ParamInfo& info, Position at,
                               const std::string& key, const std::string& file,
                               std::vector<Problem>& problems) {
  const auto complain = [&](Position where_at, const std::string& where,
                            const std::string& message) {
    problems.push_back({file, where_at, where, message});
  };
  const auto* list = std::get_if<Value::List>(&value.data);
  if (list == nullptr) {
    const bool one = scalar(value, info).has_value();
    complain(at, key,
             "expected " + expected(info) + ", " +
                 (one ? "found one value; write [" + to_text(value) + "]" : found(value, info)));
    return std::nullopt;
  }
  if (list->empty() && !info.may_be_empty) {
    complain(at, key, "expected " + expected(info) + ", found an empty list");
    return std::nullopt;
  }
  const ParamInfo element = element_info(info);
  std::vector<Field> elements;
  std::set<Field> seen;
  bool good = true;
  for (size_t i = 0; i < list->size(); ++i) {
    const Value& one = (*list)[i];
    const std::string where = key + "[" + std::to_string(i) + "]";
    auto field = read_param(one, element, one.at, where, file, problems);
    if (!field) {
      good = false;
    } else if (info.distinct && !seen.insert(*field).second) {
      complain(one.at, where, to_text(one) + " is in the list twice");
      good = false;
    } else {
      elements.push_back(std::move(*field));
    }
  }
  if (!good) return std::nullopt;
  if (info.type == ParamType::kIntegers) return list_of<int64_t>(elements);
  if (info.type == ParamType::kNumbers) return list_of<double>(elements);
  return list_of<std::string>(elements);
}

/// What one key of the table may be: one value, or those of its axis.
struct Values {
  const ParamInfo* info = nullptr;
  std::vector<Field> values;
  bool axis = false;
};

std::vector<Field> read_axis(const Value::List& list, const Value::Member& member,
                             const ParamInfo& info, const std::string& key, const std::string& file,
                             std::vector<Problem>& problems) {
  std::vector<Field> values;
  if (list.empty()) {
    problems.push_back({file, member.at, key,
                        "expected " + expected(info) +
                            ", or a list of such as an axis; found an "
                            "empty list"});
  }
  std::set<Field> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string where = key + "[" + std::to_string(i) + "]";
    auto field = read_param(list[i], info, list[i].at, where, file, problems);
    if (!field) continue;
    if (!seen.insert(*field).second) {
      problems.push_back({file, list[i].at, where, to_text(list[i]) + " is on the axis twice"});
    } else {
      values.push_back(std::move(*field));
    }
  }
  return values;
}

/// The combinations of all axes, the first slowest.
std::vector<Choice> product(const std::vector<Values>& all) {
  std::vector<Choice> choices(1);
  for (const auto& one : all) {
    if (one.values.empty()) continue;
    std::vector<Choice> next;
    next.reserve(choices.size() * one.values.size());
    for (const auto& choice : choices) {
      for (const auto& value : one.values) {
        next.push_back(choice);
        next.back().values.emplace(one.info->name, value);
        if (one.axis) next.back().axes.emplace_back(one.info->name);
      }
    }
    choices = std::move(next);
  }
  return choices;
}

/// "ig_steps (3) x baseline (40)", and whether their product stays within kMaxPoints.
bool too_many(const std::vector<Values>& all, std::string& axes) {
  size_t points = 1;
  bool beyond = false;
  for (const auto& one : all) {
    if (one.values.size() < 2) continue;
    axes += (axes.empty() ? "" : " x ") + std::string(one.info->name) + " (" +
            std::to_string(one.values.size()) + ")";
    beyond = beyond || one.values.size() > kMaxPoints / points;
    if (!beyond) points *= one.values.size();
  }
  return beyond;
}

}  // namespace

std::optional<Field> read_param(const Value& value, const ParamInfo& info, Position at,
                                const std::string& key, const std::string& file,
                                std::vector<Problem>& problems) {
  if (is_list(info.type)) return read_list(value, info, at, key, file, problems);
  auto field = scalar(value, info);
  if (!field) {
    const bool listed = std::holds_alternative<Value::List>(value.data);
    problems.push_back({file, at, key,
                        "expected " + expected(info) + ", " +
                            (listed ? "found a list, " + to_text(value) : found(value, info))});
  }
  return field;
}

const Value::List* as_axis(const Value& value, const ParamInfo& info) {
  const auto* list = std::get_if<Value::List>(&value.data);
  if (list == nullptr || !is_list(info.type)) return list;
  const bool nested = std::any_of(list->begin(), list->end(), [](const Value& element) {
    return std::holds_alternative<Value::List>(element.data);
  });
  return nested ? list : nullptr;
}

std::string unknown_key(const std::string& key, const std::vector<std::string>& known) {
  const std::string near = closest(key, known);
  if (!near.empty()) return "unknown key; did you mean \"" + near + "\"?";
  std::string text = "unknown key";
  for (size_t i = 0; i < known.size() && known.size() <= kFewKeys; ++i) {
    text += (i == 0 ? "; known here: " : ", ") + known[i];
  }
  return known.size() > kFewKeys ? text + "; docs/spec.md lists the known ones" : text;
}

std::vector<Choice> read_params(const Value::Table& table, std::span<const ParamInfo> infos,
                                std::span<const std::string_view> handled_elsewhere,
                                const std::string& path, const std::string& file, Position table_at,
                                std::vector<Problem>& problems) {
  std::vector<std::string> known(handled_elsewhere.begin(), handled_elsewhere.end());
  for (const auto& info : infos) known.emplace_back(info.name);
  int n_unknown = 0;
  for (const auto& member : table) {
    if (std::find(known.begin(), known.end(), member.key) != known.end()) continue;
    const bool guess = ++n_unknown <= kMaxGuesses;
    problems.push_back({file, member.at, path + "." + key_text(member.key),
                        guess ? unknown_key(member.key, known) : "unknown key"});
  }
  std::vector<Values> all;
  for (const auto& info : infos) {
    Values values;
    values.info = &info;
    const std::string key = path + "." + std::string(info.name);
    const auto* member = find_member(table, info.name);
    const auto* axis = member == nullptr ? nullptr : as_axis(member->value, info);
    if (axis != nullptr && info.axis) {
      values.values = read_axis(*axis, *member, info, key, file, problems);
      values.axis = true;
    } else if (axis != nullptr) {
      problems.push_back({file, member->at, key,
                          "expected " + expected(info) + "; this key is no axis, found a list, " +
                              to_text(member->value)});
    } else if (member != nullptr) {
      auto field = read_param(member->value, info, member->at, key, file, problems);
      if (field) values.values.push_back(std::move(*field));
    } else if (info.required) {
      problems.push_back({file, table_at, key, "required key is missing"});
    }
    if (values.values.empty() && info.otherwise) values.values.push_back(*info.otherwise);
    all.push_back(std::move(values));
  }
  std::string axes;
  if (too_many(all, axes)) {
    problems.push_back({file, table_at, path,
                        "the axes " + axes + " make more than " + std::to_string(kMaxPoints) +
                            " points; split them over several specs"});
    for (auto& one : all) one.values.resize(std::min<size_t>(one.values.size(), 1));
  }
  return product(all);
}

}  // namespace headcount
