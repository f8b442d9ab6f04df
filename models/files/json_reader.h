// JSON files of a model directory, read with limits, and typed access to config.json's fields.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace headcount::models {

/// Fields of one JSON object; null counts as absent. Integers are at most 2^53, beyond any size, so
/// that sums and small multiples of them cannot overflow. Every accessor throws Error naming file,
/// field, what was found and what was expected. Copies share the object.
class JsonReader {
 public:
  /// Throws Error naming the file when it is missing, larger than 64 MiB, not valid JSON, nested
  /// deeper than 16, or no object.
  explicit JsonReader(const std::string& file);
  /// The same of a text; `file` stands in messages.
  JsonReader(const std::string& file, const std::string& text);

  const std::string& file() const;
  bool has(const std::string& key) const;
  bool is_null(const std::string& key) const;                         // written, as null
  bool is_object(const std::string& key) const;                       // another object
  bool same(const std::string& key, const std::string& other) const;  // both have one value
  std::vector<std::string> keys() const;
  int64_t integer(const std::string& key) const;  // required
  int64_t integer_or(const std::string& key, int64_t otherwise) const;
  double number_or(const std::string& key, double otherwise) const;
  bool flag_or(const std::string& key, bool otherwise) const;
  std::string text_or(const std::string& key, const std::string& otherwise) const;
  /// An id or a list of ids.
  std::vector<int64_t> ids(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  /// The object under `key`, an empty one where absent.
  JsonReader object(const std::string& key) const;
  /// Refuses a variant of the architecture this program does not compute.
  void need(const std::string& key, bool holds) const;

 private:
  struct Fields;
  explicit JsonReader(Fields fields);
  [[noreturn]] void wrong(const std::string& key, const char* expected) const;
  std::shared_ptr<const Fields> fields_;
};

}  // namespace headcount::models
