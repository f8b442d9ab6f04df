// Part of schemas/spec.h.
// Values as text: for messages (cut, escaped) and as the canonical form two equal specs share.
#include <algorithm>
#include <array>
#include <charconv>

#include "schemas/spec.h"

namespace headcount {

namespace {

constexpr size_t kMaxShown = 40;  // characters of a value or key in a message

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

/// Shortest text that reads back the same, always with a point or an exponent: 3.0 is not the
/// integer 3.
std::string number_text(double value) {
  if (value != value) return "nan";
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string text(buffer.data(), end);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      constexpr std::string_view digits = "0123456789abcdef";
      out += "\\u00";
      out += digits[static_cast<size_t>(c) >> 4];
      out += digits[static_cast<size_t>(c) & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

bool is_bare(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

/// Cut between characters, never within one.
std::string cut(std::string text) {
  if (text.size() <= kMaxShown) return text;
  size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

/// `limit`: stop soon after so many bytes (messages need no more).
void append(std::string& out, const Value& value, size_t limit);

void append(std::string& out, const Value::List& list, size_t limit) {
  out += '[';
  for (size_t i = 0; i < list.size() && out.size() < limit; ++i) {
    if (i > 0) out += ", ";
    append(out, list[i], limit);
  }
  out += ']';
}

void append(std::string& out, const Value::Table& table, size_t limit) {
  std::vector<const Value::Member*> members;
  for (const auto& member : table) members.push_back(&member);
  std::sort(members.begin(), members.end(),
            [](const auto* a, const auto* b) { return a->key < b->key; });
  out += '{';
  for (size_t i = 0; i < members.size() && out.size() < limit; ++i) {
    if (i > 0) out += ", ";
    out += is_bare(members[i]->key) ? members[i]->key : quoted(members[i]->key);
    out += " = ";
    append(out, members[i]->value, limit);
  }
  out += '}';
}

void append(std::string& out, const Value& value, size_t limit) {
  std::visit(Overloaded{
                 [&](bool truth) { out += truth ? "true" : "false"; },
                 [&](int64_t integer) { out += std::to_string(integer); },
                 [&](double number) { out += number_text(number); },
                 [&](const std::string& text) { out += quoted(text); },
                 [&](const auto& nested) { append(out, nested, limit); },
             },
             value.data);
}

Value text_value(const std::string& text) { return {.data = text, .at = {}}; }

/// [{name}] of models, datasets: tables by name.
template <class Named, class Members>
Value::Table by_name(const std::vector<Named>& all, const Members& members) {
  Value::Table table;
  for (const auto& one : all) table.push_back({one.name, {}, {.data = members(one), .at = {}}});
  return table;
}

}  // namespace

std::string type_name(const Value& value) {
  constexpr std::array<const char*, 6> names = {"true or false", "an integer", "a number",
                                                "a text",        "a list",     "a table"};
  return names[value.data.index()];
}

std::string to_text(const Value& value) {
  std::string out;
  append(out, value, kMaxShown + 1);
  return cut(std::move(out));
}

std::string key_text(std::string_view key) {
  const std::string_view shown = key.substr(0, 4 * kMaxShown);
  return cut(is_bare(shown) ? std::string(shown) : quoted(shown));
}

const Value::Member* find_member(const Value::Table& table, std::string_view key) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const auto& member) { return member.key == key; });
  return found == table.end() ? nullptr : &*found;
}

const Value* find(const Value::Table& table, std::string_view key) {
  const auto* member = find_member(table, key);
  return member == nullptr ? nullptr : &member->value;
}

std::string canonical(const Spec& spec) {
  Value::List stages;
  for (const auto& stage : spec.stages) {
    Value::Table keys = stage.keys;
    keys.push_back({"name", {}, text_value(stage.name)});
    keys.push_back({"kind", {}, text_value(stage.kind)});
    stages.push_back({.data = std::move(keys), .at = {}});
  }
  const auto model_keys = [](const ModelSpec& model) {
    return Value::Table{{"path", {}, text_value(model.path)},
                        {"dtype", {}, text_value(model.dtype)},
                        {"numerics", {}, text_value(model.numerics)}};
  };
  const Value::Table root = {
      {"name", {}, text_value(spec.name)},
      {"seed", {}, {.data = static_cast<int64_t>(spec.seed), .at = {}}},
      {"models", {}, {.data = by_name(spec.models, model_keys), .at = {}}},
      {"datasets",
       {},
       {.data = by_name(spec.datasets, [](const auto& d) { return d.keys; }), .at = {}}},
      {"stage", {}, {.data = std::move(stages), .at = {}}},
  };
  std::string out;
  append(out, root, std::string::npos);
  return out + "\n";
}

Digest digest(const Spec& spec) { return sha256(canonical(spec)); }

}  // namespace headcount
