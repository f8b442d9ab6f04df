// Reading files a user named: regular ones, up to a limit, in whole or line by line.
#pragma once

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace headcount::datasets {

/// The file's bytes. Throws Error naming it where it is absent, no regular file, unreadable or
/// larger than `max_bytes`.
std::string read_file(const std::string& path, uint64_t max_bytes);

/// A file's lines, none longer than `max_bytes`: memory stays bounded whatever the file holds.
class Lines {
 public:
  /// Throws Error as read_file does; any size is taken.
  Lines(const std::string& path, size_t max_bytes);
  /// The next line without its end ("\n" or "\r\n"); nullopt after the last. Throws Error naming
  /// file and line for one too long.
  std::optional<std::string> next();
  /// "rows.jsonl:7": of the line `next` gave last, counted from 1.
  std::string place() const;

 private:
  std::string path_;
  std::ifstream file_;
  size_t max_bytes_;
  int64_t number_ = 0;
};

}  // namespace headcount::datasets
