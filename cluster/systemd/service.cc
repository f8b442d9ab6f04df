#include "cluster/systemd/service.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace headcount::systemd {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

Service::Service() : socket_(environment("NOTIFY_SOCKET")) {
  const std::string pid = environment("WATCHDOG_PID");
  const int64_t limit_us = std::atoll(environment("WATCHDOG_USEC").c_str());
  const bool ours = pid.empty() || pid == std::to_string(::getpid());
  if (ours && limit_us > 0) alive_every_ = std::chrono::microseconds(limit_us / 4);
}

void Service::status(const std::string& line) {
  if (line == status_) return;
  status_ = line;
  std::string flat = line;
  std::replace(flat.begin(), flat.end(), '\n', ' ');
  tell("STATUS=" + flat);
}

void Service::alive() {
  const auto now = std::chrono::steady_clock::now();
  if (!alive_every_ || now - alive_at_ < *alive_every_) return;
  alive_at_ = now;
  tell("WATCHDOG=1");
}

void Service::tell(const std::string& lines) const {
  sockaddr_un address{};
  if (socket_.empty() || socket_.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  size_t size = offsetof(sockaddr_un, sun_path) + socket_.size();
  if (socket_[0] == '@')
    address.sun_path[0] = '\0';  // an abstract name: its length ends it
  else
    ++size;
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;  // nothing depends on being heard
  (void)!::sendto(fd, lines.data(), lines.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                  reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size));
  ::close(fd);
}

}  // namespace headcount::systemd
