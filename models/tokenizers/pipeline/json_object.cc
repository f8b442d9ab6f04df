#include "models/tokenizers/pipeline/json_object.h"

#include <nlohmann/json.hpp>
#include <unordered_set>

#include "schemas/error.h"

namespace headcount::models {
namespace {

using Json = nlohmann::json;

constexpr int kDeepest = 64;
constexpr int kDeepestUnique = 3;

/// Refuses nesting before a recursive reader or destructor sees it.
void check_depth(std::string_view text, const std::string& file) {
  int depth = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\';
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest)
        throw Error(file + " nests JSON deeper than " + std::to_string(kDeepest) + " levels");
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

const Json& json(const void* value) { return *static_cast<const Json*>(value); }

}  // namespace

struct JsonValue::Document {
  std::string file;
  Json root;
  Json null;
};

JsonValue::JsonValue(std::shared_ptr<const Document> document, const void* value, std::string field)
    : document_(std::move(document)), value_(value), field_(std::move(field)) {}

JsonValue JsonValue::parse(std::string_view text, const std::string& file) {
  check_depth(text, file);
  auto document = std::make_shared<Document>();
  document->file = file;
  std::vector<std::unordered_set<std::string>> keys;
  const auto unique_keys = [&](int depth, Json::parse_event_t event, Json& parsed) {
    const auto level = static_cast<size_t>(depth);
    if (event == Json::parse_event_t::object_start && depth < kDeepestUnique) {
      keys.resize(std::max(keys.size(), level + 1));
      keys[level].clear();
    } else if (event == Json::parse_event_t::key && depth <= kDeepestUnique) {
      if (!keys[level - 1].insert(parsed.get<std::string>()).second)
        throw Error(file + " has the key \"" + parsed.get<std::string>() +
                    "\" twice in one object");
    }
    return true;
  };
  try {
    document->root = Json::parse(text, unique_keys);
  } catch (const Json::exception& error) {
    const std::string why = error.what();  // "[json.exception...] parse error at line 1, ...: ..."
    const size_t at = why.find("] ");
    throw Error(file + " is no valid JSON; it may be truncated: " +
                (at == std::string::npos ? why : why.substr(at + 2)));
  }
  const void* root = &document->root;
  return JsonValue(std::move(document), root, "");
}

bool JsonValue::is_null() const { return json(value_).is_null(); }
bool JsonValue::is_object() const { return json(value_).is_object(); }
bool JsonValue::is_array() const { return json(value_).is_array(); }
bool JsonValue::is_string() const { return json(value_).is_string(); }
bool JsonValue::is_zero() const {
  return is_null() || (json(value_).is_number() && json(value_).get<double>() == 0);
}
bool JsonValue::has(const std::string& key) const {
  return is_object() && json(value_).contains(key);
}

void JsonValue::refuse(const std::string& what) const {
  throw Error(document_->file + ": " + (field_.empty() ? "the file" : field_) + " " + what);
}

const std::string& JsonValue::file() const { return document_->file; }

JsonValue JsonValue::operator[](const std::string& key) const {
  const std::string field = field_.empty() ? key : field_ + "." + key;
  if (is_null()) return JsonValue(document_, &document_->null, field);
  if (!is_object()) refuse("is no JSON object");
  const auto found = json(value_).find(key);
  const void* value = found == json(value_).end() ? &document_->null : &*found;
  return JsonValue(document_, value, field);
}

std::vector<JsonValue> JsonValue::items() const {
  std::vector<JsonValue> items;
  if (is_null()) return items;
  if (!is_array()) refuse("is no JSON array");
  for (const Json& item : json(value_)) items.push_back(JsonValue(document_, &item, field_));
  return items;
}

size_t JsonValue::size() const { return json(value_).size(); }

void JsonValue::each(const std::function<void(const std::string&, const JsonValue&)>& visit) const {
  if (!is_object()) refuse("is no JSON object");
  for (const auto& [key, value] : json(value_).items())
    visit(key, JsonValue(document_, &value, field_));
}

bool JsonValue::boolean(bool otherwise) const {
  if (is_null()) return otherwise;
  if (!json(value_).is_boolean()) refuse("is neither true nor false");
  return json(value_).get<bool>();
}

int64_t JsonValue::integer() const {
  const Json& value = json(value_);
  if (!value.is_number_integer()) refuse("is no integer");
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{1} << 62)
    refuse("is too large a number");
  return value.get<int64_t>();
}

const std::string& JsonValue::string() const {
  if (!is_string()) refuse(is_null() ? "is missing" : "is no string");
  return json(value_).get_ref<const std::string&>();
}

std::string JsonValue::string_or(const std::string& otherwise) const {
  return is_null() ? otherwise : string();
}

}  // namespace headcount::models
