// STATE/coordinator.log: one line an event, with its time. What a user must know is also printed or
// answered; this is for afterwards.
#pragma once

#include <cstdio>
#include <string>

namespace headcount::coordinator {

class Log {
 public:
  /// Appends to the file; a log that cannot be opened is none (the state directory's own errors say
  /// why).
  explicit Log(std::string path);
  Log(const Log&) = delete;
  ~Log();
  void line(const std::string& text);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::FILE* file_ = nullptr;
};

}  // namespace headcount::coordinator
