#include "worker/state_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "schemas/error.h"

namespace headcount::worker {

StateLock::StateLock(const std::string& directory) {
  std::error_code failed;
  std::filesystem::create_directories(directory, failed);
  if (failed) throw Error("cannot create " + directory + ": " + failed.message());
  ::chmod(directory.c_str(), 0700);  // of an earlier version it may be open to all
  const std::string file = directory + "/lock";
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ < 0) throw Error("cannot write " + file + ": " + strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    ::close(fd_);
    throw Error("a worker already runs in " + directory +
                "; give every worker a key of its own: headcount key create worker NAME -o FILE");
  }
}

StateLock::~StateLock() { ::close(fd_); }

std::shared_ptr<spdlog::logger> open_log(const std::string& file) {
  try {
    auto to_file = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(file, 8 << 20, 2);
    auto to_terminal = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    to_terminal->set_level(spdlog::level::warn);
    auto log =
        std::make_shared<spdlog::logger>("worker", spdlog::sinks_init_list{to_file, to_terminal});
    log->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    log->flush_on(spdlog::level::info);
    return log;
  } catch (const spdlog::spdlog_ex& error) {
    throw Error("cannot write the log " + file + ": " + error.what());
  }
}

}  // namespace headcount::worker
