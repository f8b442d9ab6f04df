// A worker's machine in the simulated world: the real Agent, its disk, its runners, and the
// accidents that befall them.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/simulator/laws.h"
#include "tests/simulator/network.h"
#include "tests/simulator/plan.h"
#include "tests/simulator/world.h"
#include "worker/agent/agent.h"

namespace headcount::simulator {

/// How often flaky shards have failed, anywhere.
using Failures = std::map<ShardKey, int>;

class Node {
 public:
  Node(int number, World& world, const Plan& plan, Network& network, Laws& laws,
       Failures& failures);

  void boot();
  void crash(Fault fault);
  void deliver(const std::string& connection, Message message);
  void leap(Millis by) { clock_offset_ += by; }
  void reconnected();

  bool up() const { return agent_.has_value(); }
  int64_t n_held() const;

 private:
  struct Runner {
    uint64_t life = 0;  // of the process: what an earlier one would have done does not happen
    bool alive = false;
  };

  void step(worker::Event event);
  bool perform(worker::Action& action);
  void start(int runner);
  void kill(int runner);
  void execute(int runner, const ShardKey& key);
  /// In `delay` ms, if that runner still lives.
  void later(int runner, Millis delay, std::function<void()> what);
  void exits(int runner, Cause cause, const std::string& message);
  void tick();
  void restart_later();
  Millis now() const { return world_.now() + clock_offset_; }

  const int number_;
  const std::string name_;
  World& world_;
  const Plan& plan_;
  Network& network_;
  Laws& laws_;
  Failures& failures_;
  std::optional<worker::Agent> agent_;
  std::map<ShardKey, ShardDone> disk_;
  std::vector<Runner> runners_;
  uint64_t life_ = 0;
  uint64_t incarnation_ = 0;
  Millis clock_offset_ = 0;
};

}  // namespace headcount::simulator
