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

json read_json(const std::string& file) {
  const uint64_t size = file_size(file);
  if (size > kMaxJsonBytes) throw Error(file + " is larger than any JSON file of a model (64 MiB)");
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) throw Error(file + " is nested too deeply");
    return true;
  };
  try {
    json value = json::parse(read_range(file, 0, size), shallow);
    if (!value.is_object()) throw Error(file + " is not a JSON object");
    return value;
  } catch (const json::exception&) {
    throw Error(file + " is not valid JSON; it may be truncated");
  }
}

bool JsonReader::has(const std::string& key) const {
  return object_.contains(key) && !object_[key].is_null();
}

bool JsonReader::is_null(const std::string& key) const {
  return object_.contains(key) && object_[key].is_null();
}

int64_t JsonReader::integer(const std::string& key) const {
  if (!has(key)) throw Error(file_ + " lacks \"" + key + "\"");
  return integer_or(key, 0);
}

int64_t JsonReader::integer_or(const std::string& key, int64_t otherwise) const {
  if (!has(key)) return otherwise;
  if (!is_integer(object_[key])) wrong(key, "an integer");
  return object_[key].get<int64_t>();
}

double JsonReader::number_or(const std::string& key, double otherwise) const {
  if (!has(key)) return otherwise;
  if (!object_[key].is_number()) wrong(key, "a number");
  return object_[key].get<double>();
}

bool JsonReader::flag_or(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!object_[key].is_boolean()) wrong(key, "true or false");
  return object_[key].get<bool>();
}

std::string JsonReader::text_or(const std::string& key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  if (!object_[key].is_string()) wrong(key, "a string");
  return object_[key].get<std::string>();
}

std::vector<int64_t> JsonReader::ids(const std::string& key) const {
  if (!has(key)) return {};
  if (!object_[key].is_array()) return {integer(key)};
  std::vector<int64_t> all;
  for (const json& id : object_[key]) {
    if (!is_integer(id)) wrong(key, "a token id or a list of them");
    all.push_back(id.get<int64_t>());
  }
  return all;
}

std::vector<std::string> JsonReader::texts(const std::string& key) const {
  if (!has(key)) return {};
  if (!object_[key].is_array()) wrong(key, "a list of strings");
  std::vector<std::string> all;
  for (const json& text : object_[key]) {
    if (!text.is_string()) wrong(key, "a list of strings");
    all.push_back(text.get<std::string>());
  }
  return all;
}

json JsonReader::object(const std::string& key) const {
  if (!has(key)) return json::object();
  if (!object_[key].is_object()) wrong(key, "an object");
  return object_[key];
}

void JsonReader::need(const std::string& key, bool holds) const {
  if (holds) return;
  const std::string found = has(key) ? shown(object_[key]) : "missing";
  throw Error(file_ + ": \"" + key + "\" is " + found + ", which this program does not compute");
}

void JsonReader::wrong(const std::string& key, const char* expected) const {
  throw Error(file_ + ": \"" + key + "\" must be " + expected + ", found " + shown(object_[key]));
}

}  // namespace headcount::models
