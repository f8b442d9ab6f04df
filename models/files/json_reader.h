// JSON files of a model directory, read with limits, and typed access to config.json's fields.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace headcount::models {

/// The file's object. Throws Error naming the file when it is missing, larger than 64 MiB, not
/// valid JSON, nested deeper than 16, or no object.
nlohmann::json read_json(const std::string& file);

/// Fields of one object; null counts as absent. Integers are at most 2^53, beyond any size, so that
/// sums and small multiples of them cannot overflow. Every accessor throws Error naming file,
/// field, what was found and what was expected. The object must outlive the reader.
class JsonReader {
 public:
  JsonReader(const std::string& file, const nlohmann::json& object)
      : file_(file), object_(object) {}

  const std::string& file() const { return file_; }
  bool has(const std::string& key) const;
  bool is_null(const std::string& key) const;     // written, as null
  int64_t integer(const std::string& key) const;  // required
  int64_t integer_or(const std::string& key, int64_t otherwise) const;
  double number_or(const std::string& key, double otherwise) const;
  bool flag_or(const std::string& key, bool otherwise) const;
  std::string text_or(const std::string& key, const std::string& otherwise) const;
  /// An id or a list of ids.
  std::vector<int64_t> ids(const std::string& key) const;
  std::vector<std::string> texts(const std::string& key) const;
  /// The object under `key`, {} where absent.
  nlohmann::json object(const std::string& key) const;
  /// Refuses a variant of the architecture this program does not compute.
  void need(const std::string& key, bool holds) const;

 private:
  [[noreturn]] void wrong(const std::string& key, const char* expected) const;
  std::string file_;
  const nlohmann::json& object_;
};

}  // namespace headcount::models
