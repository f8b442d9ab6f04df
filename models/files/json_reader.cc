// Reading and typed access.
#include "models/files/json_reader.h"

#include <nlohmann/json.hpp>

#include "models/files/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxJsonBytes = 64u << 20;
constexpr int kMaxDepth = 16;
constexpr int64_t kMaxInteger = int64_t{1} << 53;

bool is_integer(const json& value) {
  if (value.is_number_unsigned()) return value.get<uint64_t>() <= kMaxInteger;
  return value.is_number_integer() && value.get<int64_t>() >= -kMaxInteger;
}

/// The value's text, cut, in plain ASCII.
std::string shown(const json& value) { return value.dump(-1, ' ', true).substr(0, 60); }

}  // namespace

struct JsonReader::Fields {
  std::string file;
  json object;
};

namespace {

std::string text_of(const std::string& file) {
  const uint64_t size = file_size(file);
  if (size > kMaxJsonBytes) throw Error(file + " is larger than any JSON file of a model (64 MiB)");
  return read_range(file, 0, size);
}

json parse(const std::string& file, const std::string& text) {
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) throw Error(file + " is nested too deeply");
    return true;
  };
  try {
    json value = json::parse(text, shallow);
    if (!value.is_object()) throw Error(file + " is not a JSON object");
    return value;
  } catch (const json::exception&) {
    throw Error(file + " is not valid JSON; it may be truncated");
  }
}

}  // namespace

JsonReader::JsonReader(Fields fields)
    : fields_(std::make_shared<const Fields>(std::move(fields))) {}
JsonReader::JsonReader(const std::string& file) : JsonReader(file, text_of(file)) {}
JsonReader::JsonReader(const std::string& file, const std::string& text)
    : JsonReader(Fields{file, parse(file, text)}) {}

const std::string& JsonReader::file() const { return fields_->file; }

bool JsonReader::is_object(const std::string& key) const {
  return has(key) && fields_->object[key].is_object();
}

bool JsonReader::same(const std::string& key, const std::string& other) const {
  return has(key) && has(other) && fields_->object[key] == fields_->object[other];
}

std::vector<std::string> JsonReader::keys() const {
  std::vector<std::string> all;
  for (const auto& [key, value] : fields_->object.items()) all.push_back(key);
  return all;
}

bool JsonReader::has(const std::string& key) const {
  return fields_->object.contains(key) && !fields_->object[key].is_null();
}

bool JsonReader::is_null(const std::string& key) const {
  return fields_->object.contains(key) && fields_->object[key].is_null();
}

int64_t JsonReader::integer(const std::string& key) const {
  if (!has(key)) throw Error(fields_->file + " lacks \"" + key + "\"");
  return integer_or(key, 0);
}

int64_t JsonReader::integer_or(const std::string& key, int64_t otherwise) const {
  if (!has(key)) return otherwise;
  if (!is_integer(fields_->object[key])) wrong(key, "an integer");
  return fields_->object[key].get<int64_t>();
}

double JsonReader::number_or(const std::string& key, double otherwise) const {
  if (!has(key)) return otherwise;
  if (!fields_->object[key].is_number()) wrong(key, "a number");
  return fields_->object[key].get<double>();
}

bool JsonReader::flag_or(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!fields_->object[key].is_boolean()) wrong(key, "true or false");
  return fields_->object[key].get<bool>();
}

std::string JsonReader::text_or(const std::string& key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  if (!fields_->object[key].is_string()) wrong(key, "a string");
  return fields_->object[key].get<std::string>();
}

std::vector<int64_t> JsonReader::ids(const std::string& key) const {
  if (!has(key)) return {};
  if (!fields_->object[key].is_array()) return {integer(key)};
  std::vector<int64_t> all;
  for (const json& id : fields_->object[key]) {
    if (!is_integer(id)) wrong(key, "a token id or a list of them");
    all.push_back(id.get<int64_t>());
  }
  return all;
}

std::vector<std::string> JsonReader::texts(const std::string& key) const {
  if (!has(key)) return {};
  if (!fields_->object[key].is_array()) wrong(key, "a list of strings");
  std::vector<std::string> all;
  for (const json& text : fields_->object[key]) {
    if (!text.is_string()) wrong(key, "a list of strings");
    all.push_back(text.get<std::string>());
  }
  return all;
}

JsonReader JsonReader::object(const std::string& key) const {
  if (has(key) && !is_object(key)) wrong(key, "an object");
  return JsonReader(Fields{file() + ": " + key, has(key) ? fields_->object[key] : json::object()});
}

void JsonReader::need(const std::string& key, bool holds) const {
  if (holds) return;
  const std::string found = has(key) ? shown(fields_->object[key]) : "missing";
  throw Error(fields_->file + ": \"" + key + "\" is " + found +
              ", which this program does not compute");
}

void JsonReader::wrong(const std::string& key, const char* expected) const {
  throw Error(fields_->file + ": \"" + key + "\" must be " + expected + ", found " +
              shown(fields_->object[key]));
}

}  // namespace headcount::models
