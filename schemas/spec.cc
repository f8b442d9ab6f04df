// From TOML text to values that know their place. The only file that sees toml++, whose own asserts
// are off: text that could make it recurse deeply, or that is no UTF-8, is refused before it sees
// it.
#define TOML_ASSERT(condition) static_cast<void>(0)
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0

#include "schemas/spec.h"

#include <toml++/toml.h>

#include <algorithm>

#include "schemas/spec_shape.h"

namespace headcount {

namespace {

Position position(const toml::source_region& region) {
  return {static_cast<int>(region.begin.line), static_cast<int>(region.begin.column)};
}

bool before(Position a, Position b) {
  return a.line != b.line ? a.line < b.line : a.column < b.column;
}

/// toml++ nodes as Values. The first date or time met is remembered: no key takes one.
class Reader {
 public:
  Value::Table table(const toml::table& node) {
    Value::Table members;
    for (const auto& [key, child] : node) {
      members.push_back({std::string(key.str()), position(key.source()), value(child)});
    }
    std::stable_sort(members.begin(), members.end(),
                     [](const auto& a, const auto& b) { return before(a.at, b.at); });
    return members;
  }

  const std::optional<Position>& date() const { return date_; }

 private:
  Value value(const toml::node& node) {
    Value read{.data = false, .at = position(node.source())};
    if (const auto* text = node.as_string()) {
      read.data = text->get();
    } else if (const auto* integer = node.as_integer()) {
      read.data = integer->get();
    } else if (const auto* number = node.as_floating_point()) {
      read.data = number->get();
    } else if (const auto* truth = node.as_boolean()) {
      read.data = truth->get();
    } else if (const auto* list = node.as_array()) {
      Value::List elements;
      for (const auto& element : *list) elements.push_back(value(element));
      read.data = std::move(elements);
    } else if (const auto* inner = node.as_table()) {
      read.data = table(*inner);
    } else if (!date_ || before(read.at, *date_)) {
      date_ = read.at;
    }
    return read;
  }

  std::optional<Position> date_;
};

/// toml++ says "Error while parsing key-value pair: expected ..."; users need no "Error while".
std::string syntax_message(std::string_view description) {
  constexpr std::string_view prefix = "Error while ";
  std::string text(description.starts_with(prefix) ? description.substr(prefix.size())
                                                   : description);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  if (text.find("could not determine value type") != std::string::npos) {
    text += "; a text needs quotes";
  } else if (text.find("unescaped control characters") != std::string::npos) {
    text =
        "parsing string: found the end of the line or a control character; is the closing quote "
        "missing?";
  }
  return "TOML syntax error " + text;
}

}  // namespace

ParsedSpec parse_spec(std::string_view text, const std::string& file) {
  ParsedSpec parsed;
  const auto refuse = [&](Position at, const std::string& message) {
    parsed.problems = {{.file = file, .at = at, .key = "", .message = message}};
    return parsed;
  };
  if (const auto problem = unreadable(text)) return refuse(problem->at, problem->message);

  const toml::parse_result result = toml::parse(text);
  if (!result) {
    return refuse(position(result.error().source()), syntax_message(result.error().description()));
  }
  Reader reader;
  const Value::Table root = reader.table(result.table());
  if (reader.date()) {
    return refuse(*reader.date(), "found a date or time, which no key takes; write it in quotes");
  }
  parsed.spec = read_shape(root, file, parsed.problems);
  parsed.spec->file = file;
  parsed.spec->text = text;
  return parsed;
}

}  // namespace headcount
