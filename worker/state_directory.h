// A worker's own directory: held by one daemon at a time, with its log.
#pragma once

#include <spdlog/logger.h>

#include <memory>
#include <string>

namespace headcount::worker {

/// Holds DIRECTORY (made where absent; mode 0700) for one worker, as long as it lives and its
/// process does.
class StateLock {
 public:
  /// Throws Error: not writable, or held by another worker.
  explicit StateLock(const std::string& directory);
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;
  ~StateLock();

 private:
  int fd_ = -1;
};

/// A log in `file` (at most 3 files of 8 MiB), warnings and errors on stderr too. Throws Error
/// naming the file.
std::shared_ptr<spdlog::logger> open_log(const std::string& file);

}  // namespace headcount::worker
