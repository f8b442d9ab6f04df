#include "coordinator/log.h"

#include <chrono>
#include <ctime>

namespace headcount::coordinator {

Log::Log(std::string path) : path_(std::move(path)), file_(std::fopen(path_.c_str(), "ae")) {}

Log::~Log() {
  if (file_ != nullptr) std::fclose(file_);
}

void Log::line(const std::string& text) {
  if (file_ == nullptr) return;
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
  const time_t seconds = ms / 1000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char time[32];
  std::strftime(time, sizeof time, "%Y-%m-%dT%H:%M:%S", &utc);
  std::fprintf(file_, "%s.%03dZ %s\n", time, static_cast<int>(ms % 1000), text.c_str());
  std::fflush(file_);
}

}  // namespace headcount::coordinator
