// Worker daemons that are nothing but their connection: real CURVE, Hello and heartbeats, no
// runner. For measuring what a thousand of them cost a coordinator.
#pragma once

#include <atomic>
#include <string>
#include <thread>

namespace headcount::cli {

class LightWorkers {
 public:
  /// Makes keys for `n` of them in the state directory and connects them all, over one thread.
  /// Throws Error where this process may not open enough descriptors.
  LightWorkers(const std::string& state, const std::string& address, int n);
  LightWorkers(const LightWorkers&) = delete;
  ~LightWorkers();

  /// How many were welcomed and not refused since.
  int n_welcomed() const { return n_welcomed_; }

 private:
  std::atomic<int> n_welcomed_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace headcount::cli
