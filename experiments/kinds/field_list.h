// One list of what a shard's parameters are called, for writing and for reading them: a function
// template list(to, params) names every member once, under the condition on which it is present;
// with a FieldWriter it makes a shard's fields, with a FieldReader it takes them back. What is
// present and not in the list is refused: it would make equal computations unequal.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "schemas/error.h"
#include "schemas/fields.h"

namespace headcount::experiments {

class FieldWriter {
 public:
  template <class T>
  void operator()(const char* name, const T& value) {
    fields_[name] = value;
  }
  /// Present where it has a value; returns whether it is.
  template <class T>
  bool operator()(const char* name, const std::optional<T>& value) {
    if (value) fields_[name] = *value;
    return value.has_value();
  }
  /// Present unless it is `absent`.
  template <class T>
  void unless(const T& absent, const char* name, const T& value) {
    if (value != absent) fields_[name] = value;
  }
  /// By its name in `words`, pairs of (value, name).
  template <class T, class Words>
  void word(const char* name, const T& value, const Words& words) {
    for (const auto& [known, text] : words) {
      if (known == value) fields_[name] = std::string(text);
    }
  }

  const Fields& fields() const { return fields_; }

 private:
  Fields fields_;
};

/// Throws Error: "WHAT with ...".
class FieldReader {
 public:
  FieldReader(const Fields& fields, std::string what) : fields_(fields), what_(std::move(what)) {}

  template <class T>
  void operator()(const char* name, T& value) {
    value = get<T>(fields_, name);
    read_.insert(name);
  }
  template <class T>
  bool operator()(const char* name, std::optional<T>& value) {
    if (fields_.count(name) > 0) (*this)(name, value.emplace());
    return value.has_value();
  }
  template <class T>
  void unless(const T& absent, const char* name, T& value) {
    if (fields_.count(name) == 0) return;
    (*this)(name, value);
    if (value == absent) refuse("the unused parameter \"" + std::string(name) + "\"");
  }
  template <class T, class Words>
  void word(const char* name, T& value, const Words& words) {
    std::string written;
    (*this)(name, written);
    for (const auto& [known, text] : words) {
      if (written != text) continue;
      value = known;
      return;
    }
    refuse("unknown " + std::string(name) + " \"" + written + "\"");
  }

  /// To be called at the end: refuses what is there and was not in the list.
  void end() const {
    for (const auto& [name, value] : fields_) {
      if (!read_.contains(name)) refuse("the unused parameter \"" + name + "\"");
    }
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const { throw Error(what_ + " with " + why); }

  const Fields& fields_;
  std::string what_;
  std::set<std::string> read_;
};

}  // namespace headcount::experiments
