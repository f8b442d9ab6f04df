// STATE/coordinator.log: one line an event, with its time. What a user must know is also printed or
// answered; this is for afterwards.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

namespace headcount::coordinator {

class Log {
 public:
  /// Appends to the file; one that has grown to `max_bytes` is put aside as PATH.1, in place of the
  /// one before. A log that cannot be opened is none (the state directory's own errors say why).
  explicit Log(std::string path, int64_t max_bytes = 4 << 20);
  Log(const Log&) = delete;
  ~Log();
  /// One line, whatever the text holds: what peers said is in it.
  void line(const std::string& text);
  const std::string& path() const { return path_; }

 private:
  void open();
  std::string path_;
  int64_t max_bytes_;
  std::FILE* file_ = nullptr;
};

}  // namespace headcount::coordinator
