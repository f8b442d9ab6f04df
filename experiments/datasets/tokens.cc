// Every refusal is built by `refuse`: place, what is wrong. Depth is checked while parsing, before
// anything deep is kept.
#include "experiments/datasets/tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experiments/datasets/dataset.h"
#include "experiments/datasets/files.h"
#include "schemas/error.h"

namespace headcount::datasets {

namespace {

using Json = nlohmann::json;

constexpr size_t kMaxLineBytes = size_t{4} << 20;
constexpr int kMaxDepth = 3;  // {"choices": [[1]]}

struct LineReader {
  const models::Config& config;
  std::string place;

  [[noreturn]] void refuse(const std::string& what) const { throw Error(place + ": " + what); }

  Json parse(const std::string& line) const {
    const auto shallow = [this](int depth, Json::parse_event_t, const Json&) {
      if (depth > kMaxDepth) refuse("nested deeper than a row is");
      return true;
    };
    Json json;
    try {
      json = Json::parse(line, shallow);
    } catch (const Json::parse_error& error) {
      if (error.byte > line.size()) refuse("not a JSON object: it ends in the middle of a value");
      refuse("not a JSON object: it breaks at byte " + std::to_string(error.byte) + " of " +
             std::to_string(line.size()));
    }
    if (!json.is_object())
      refuse("expected a JSON object such as {\"ids\": [...], \"labels\": [...]}, found " +
             std::string(json.type_name()));
    return json;
  }

  /// The number of token `name` in 0 .. vocab_size - 1, or kIgnore where `or_ignore`.
  int32_t token(const Json& value, const std::string& name, bool or_ignore) const {
    if (!value.is_number_integer())
      refuse(name + " must be an integer, found " + std::string(value.type_name()));
    const bool too_big = value.is_number_unsigned() &&
                         value.get<uint64_t>() >= static_cast<uint64_t>(config.vocab_size);
    const int64_t id = too_big ? 0 : value.get<int64_t>();
    if (or_ignore && id == kIgnore) return kIgnore;
    if (too_big || id < 0)
      refuse(name + " is " + value.dump() + "; the model's tokens are 0 to " +
             std::to_string(config.vocab_size - 1) + (or_ignore ? ", and -100 for none" : ""));
    return static_cast<int32_t>(id);
  }

  std::vector<int32_t> tokens(const Json& value, const std::string& name, bool or_ignore) const {
    if (!value.is_array())
      refuse(name + " must be a list of integers, found " + std::string(value.type_name()));
    if (value.empty()) refuse(name + " is empty");
    std::vector<int32_t> ids;
    for (size_t i = 0; i < value.size(); ++i)
      ids.push_back(token(value[i], name + "[" + std::to_string(i) + "]", or_ignore));
    return ids;
  }

  const Json& member(const Json& object, const char* name) const {
    const auto it = object.find(name);
    if (it == object.end()) refuse("the key \"" + std::string(name) + "\" is missing");
    return *it;
  }

  void known_keys(const Json& object) const {
    for (const auto& [name, value] : object.items())
      if (name != "ids" && name != "labels" && name != "choices" && name != "label")
        refuse("unknown key \"" + name.substr(0, 40) +
               "\"; a row has ids and labels, or ids, choices and label");
  }

  void fits(size_t n_tokens) const {
    if (n_tokens > static_cast<uint64_t>(config.max_positions))
      refuse(std::to_string(n_tokens) + " tokens; the model has " +
             std::to_string(config.max_positions) + " positions");
  }

  void read_labels(const Json& object, Row& row) const {
    row.labels = tokens(member(object, "labels"), "labels", true);
    if (row.labels.size() != row.ids.size())
      refuse(std::to_string(row.ids.size()) + " ids but " + std::to_string(row.labels.size()) +
             " labels");
    if (std::ranges::all_of(row.labels, [](int32_t label) { return label == kIgnore; }))
      refuse("nothing is supervised: every label is -100");
    fits(row.ids.size());
  }

  void read_choices(const Json& object, Row& row) const {
    const Json& choices = member(object, "choices");
    if (!choices.is_array())
      refuse("choices must be a list of lists, found " + std::string(choices.type_name()));
    if (choices.size() < 2)
      refuse("choices must be at least two, found " + std::to_string(choices.size()));
    for (size_t i = 0; i < choices.size(); ++i) {
      row.choices.push_back(tokens(choices[i], "choices[" + std::to_string(i) + "]", false));
      fits(row.ids.size() + row.choices.back().size());
    }
    row.choice_at = static_cast<int32_t>(row.ids.size());
    const Json& label = member(object, "label");
    if (!label.is_number_integer() || label < 0 || label >= choices.size())
      refuse("label is " + label.dump().substr(0, 40) +
             "; it must be the index of a choice, 0 to " + std::to_string(choices.size() - 1));
    row.label = label.get<int32_t>();
  }

  Row read(const std::string& line) const {
    const Json object = parse(line);
    known_keys(object);
    Row row;
    row.ids = tokens(member(object, "ids"), "ids", false);
    const bool has_choices = object.contains("choices") || object.contains("label");
    if (has_choices && object.contains("labels"))
      refuse("a row has either labels, or choices and label; found both");
    if (has_choices)
      read_choices(object, row);
    else
      read_labels(object, row);
    return row;
  }
};

int64_t size_of(const Row& row) {
  int64_t n = std::ssize(row.ids);
  for (const auto& choice : row.choices) n += std::ssize(choice);
  return n;
}

}  // namespace

std::vector<Row> read_tokens(const std::string& path, const models::Config& config) {
  Lines lines(path, kMaxLineBytes);
  std::vector<Row> rows;
  std::string first_place;
  int64_t n_tokens = 0;
  while (const std::optional<std::string> line = lines.next()) {
    if (line->find_first_not_of(" \t") == std::string::npos) continue;
    const LineReader reader{config, lines.place()};
    rows.push_back(reader.read(*line));
    n_tokens += size_of(rows.back());
    if (std::ssize(rows) > kMaxRows || n_tokens > kMaxTokens)
      reader.refuse("a dataset may have " + std::to_string(kMaxRows) + " rows and " +
                    std::to_string(kMaxTokens) + " tokens; this file has more: cut it");
    if (first_place.empty()) first_place = lines.place();
    if (rows.front().choices.empty() != rows.back().choices.empty())
      reader.refuse("rows with labels and rows with choices in one file; " + first_place + " has " +
                    (rows.front().choices.empty() ? "labels" : "choices"));
  }
  if (rows.empty()) throw Error(path + " has no rows");
  return rows;
}

}  // namespace headcount::datasets
