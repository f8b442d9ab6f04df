#include "cli/light_workers.h"

#include <sys/resource.h>

#include <chrono>
#include <utility>
#include <vector>

#include "cluster/transport/client.h"
#include "cluster/transport/keys.h"
#include "schemas/error.h"
#include "schemas/version.h"

namespace headcount::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr rlim_t kDescriptorsEach = 6, kDescriptorsBeside = 256;

void need_descriptors(int n) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t needed = kDescriptorsEach * static_cast<rlim_t>(n) + kDescriptorsBeside;
  if (limit.rlim_max < needed) {
    throw Error(std::to_string(n) + " workers need " + std::to_string(needed) +
                " open files, this process may have " + std::to_string(limit.rlim_max) +
                ": raise it (ulimit -Hn) or ask for fewer");
  }
  limit.rlim_cur = std::max(limit.rlim_cur, needed);
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

struct LightWorker {
  transport::Client client;
  uint64_t introduced = 0;  // the connection it said Hello over
  bool welcomed = false;
  Clock::time_point beat_at = {};
};

// As a daemon does it: Hello over every new connection, then a heartbeat in each interval.
void attend(LightWorker& worker, Clock::duration interval) {
  while (const auto messages = worker.client.receive()) {
    for (const Message& message : *messages) {
      if (std::holds_alternative<Welcome>(message)) worker.welcomed = true;
      if (std::holds_alternative<Refused>(message)) worker.welcomed = false;
      if (std::holds_alternative<Reintroduce>(message)) worker.introduced = 0;
    }
  }
  const auto link = worker.client.link();
  if (!link.connected) return;
  if (worker.introduced != link.n_connected) {
    Hello hello{.version = kVersion, .incarnation = 1, .host = "light", .runners = {}, .held = {}};
    if (worker.client.send({std::move(hello)})) worker.introduced = link.n_connected;
    worker.beat_at = Clock::now() + interval;
  } else if (Clock::now() >= worker.beat_at) {
    worker.client.send({Heartbeat{.incarnation = 1, .runners = {}, .held = {}, .problem = {}}});
    worker.beat_at += interval;
  }
}

}  // namespace

LightWorkers::LightWorkers(const std::string& state, const std::string& address, int n) {
  need_descriptors(n);
  std::vector<LightWorker> workers;
  for (int i = 1; i <= n; ++i) {
    const auto key = transport::create_key(state, transport::Role::kWorker,
                                           "light-" + std::to_string(i), address);
    workers.push_back({workers.empty() ? transport::Client(key) : workers[0].client.beside(key)});
  }
  thread_ = std::thread([this, workers = std::move(workers)]() mutable {
    constexpr auto kInterval = std::chrono::seconds(1);  // a coordinator's default
    while (!stopping_) {
      int welcomed = 0;
      for (LightWorker& worker : workers) {
        attend(worker, kInterval);
        welcomed += worker.welcomed;
      }
      n_welcomed_ = welcomed;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
}

LightWorkers::~LightWorkers() {
  stopping_ = true;
  thread_.join();
}

}  // namespace headcount::cli
