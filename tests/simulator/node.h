// A worker's machine in the simulated world: the real Agent, its disk, its runners, and the
// accidents that befall them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
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
  /// Dies, and starts again so much later.
  void stay_away(Millis duration);
  void leave_for_ever();
  /// SIGTERM.
  void drain();
  /// SIGSTOP to the daemon alone; SIGCONT so much later.
  void stop(Millis duration);
  void deliver(Message message);
  void leap(Millis by) { clock_base_ += by; }
  /// The clock runs at the pace of others from now on.
  void mend_clock() { set_clock(now(), 1); }
  void reconnected();

  bool up() const { return agent_.has_value(); }
  bool gone() const { return gone_; }
  int64_t n_held() const;

 private:
  void step(worker::Event event);
  bool perform(worker::Action& action);
  /// What the laws must know of a message that is sent.
  void witness(const Message& message);
  void start(int runner);
  void kill(int runner);
  void execute(int runner, const ShardKey& key);
  /// In `delay` ms, if that runner still lives.
  void later(int runner, Millis delay, std::function<void()> what);
  void exits(int runner, Cause cause, const std::string& message);
  void tick();
  /// Now, or when the daemon goes on; never when it has died by then.
  void when_awake(std::function<void()> what);
  void die();
  void restart_after(Millis delay);
  Millis now() const { return clock_base_ + (world_.now() - clock_set_at_) / clock_divisor_; }
  void set_clock(Millis to, Millis divisor);

  const int number_;
  const std::string name_;
  World& world_;
  const Plan& plan_;
  Network& network_;
  Laws& laws_;
  Failures& failures_;
  std::optional<worker::Agent> agent_;
  std::map<ShardKey, ShardDone> disk_;
  std::set<ShardKey> answered_;  // acknowledged or revoked since it was persisted
  // Of each runner's process and of the daemon: what an earlier one would have done does not
  // happen.
  std::vector<uint64_t> runner_lives_;
  uint64_t life_ = 0;
  uint64_t incarnation_ = 0;
  bool gone_ = false;
  bool stopped_ = false;
  std::vector<std::function<void()>> asleep_;  // what happens when the daemon goes on
  Millis clock_base_ = 0, clock_set_at_ = 0, clock_divisor_ = 1;
};

}  // namespace headcount::simulator
