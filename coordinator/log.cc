#include "coordinator/log.h"

#include <fcntl.h>

#include <chrono>
#include <ctime>

#include "schemas/printable.h"

namespace headcount::coordinator {
namespace {

constexpr size_t kMaxLineBytes = 4096;

}  // namespace

Log::Log(std::string path, int64_t max_bytes) : path_(std::move(path)), max_bytes_(max_bytes) {
  open();
}

Log::~Log() {
  if (file_ != nullptr) std::fclose(file_);
}

void Log::open() {
  const int fd = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  file_ = fd < 0 ? nullptr : ::fdopen(fd, "a");
}

void Log::line(const std::string& text) {
  if (file_ == nullptr) return;
  if (std::ftell(file_) >= max_bytes_) {
    std::fclose(file_);
    std::rename(path_.c_str(), (path_ + ".1").c_str());
    open();
    if (file_ == nullptr) return;
  }
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  const time_t seconds = ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
  std::fprintf(file_, "%s.%03dZ %s\n", time, static_cast<int>(ms % 1000),
               printable(text, kMaxLineBytes).c_str());
  std::fflush(file_);
}

}  // namespace headcount::coordinator
