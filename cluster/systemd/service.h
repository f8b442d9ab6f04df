// What a daemon tells the service manager that started it: the protocol of sd_notify(3), datagrams
// of lines NAME=VALUE to the socket that $NOTIFY_SOCKET names, without libsystemd. Where nobody
// listens nothing is said. The units that listen stand beside this file.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace headcount::systemd {

/// Belongs to the daemon's loop.
class Service {
 public:
  /// Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID.
  Service();

  void ready() const { tell("READY=1"); }
  void stopping() const { tell("STOPPING=1"); }
  /// One line for `systemctl status`; sent when it is another than before.
  void status(const std::string& line);
  /// The loop turns: to be called in every turn, sent four times in the unit's WatchdogSec.
  void alive();

 private:
  void tell(const std::string& lines) const;

  std::string socket_;  // empty: nobody listens
  std::string status_;
  std::optional<std::chrono::microseconds> alive_every_;
  std::chrono::steady_clock::time_point alive_at_;
};

}  // namespace headcount::systemd
