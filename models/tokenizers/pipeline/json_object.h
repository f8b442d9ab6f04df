// JSON written by others: objects whose fields are asked for by name, with the file and the field
// in every refusal. (nlohmann/json stands in .cc files only, so this header hides it.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headcount::models {

/// One value inside a parsed file; copies share the file. Every function throws Error naming file
/// and field for a value of another type.
class JsonValue {
 public:
  /// Throws Error for text that is no JSON, nests deeper than 64 levels, or names a key twice in an
  /// object at most three levels deep (deeper ones: the last counts).
  static JsonValue parse(std::string_view text, const std::string& file);

  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  bool is_string() const;
  bool is_zero() const;  // null, or a number equal to 0
  bool has(const std::string& key) const;

  /// A field; a null value where the key is absent.
  JsonValue operator[](const std::string& key) const;
  /// Items of an array, none of null.
  std::vector<JsonValue> items() const;
  size_t size() const;
  /// visit(key, value) of an object's entries.
  void each(const std::function<void(const std::string&, const JsonValue&)>& visit) const;

  bool boolean(bool otherwise) const;  // `otherwise` where null
  int64_t integer() const;
  const std::string& string() const;
  std::string string_or(const std::string& otherwise) const;

  /// Throws Error: "FILE: FIELD " + what.
  [[noreturn]] void refuse(const std::string& what) const;
  const std::string& file() const;

 private:
  struct Document;
  JsonValue(std::shared_ptr<const Document> document, const void* value, std::string field);
  std::shared_ptr<const Document> document_;
  const void* value_ = nullptr;  // nlohmann::json
  std::string field_;            // "model.vocab"
};

}  // namespace headcount::models
