// The part of the observer that keeps time: whom the coordinator has heard and when, what is lent
// to whom and how far it is; from that, what may be granted, and who may and must be given up.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "tests/simulator/world.h"

namespace headcount::simulator {

/// One step of the scheduler: what it was told, when by the coordinator's clock, what it decided.
struct Step {
  coordinator::Event event;
  Millis at = 0;
  std::vector<coordinator::Action> actions;
};

class Watch {
 public:
  Watch(const World& world, const coordinator::Settings& settings)
      : world_(world), settings_(settings) {}

  /// A coordinator starts: it knows nobody, and what is lent is what the disk says.
  void restarted();
  /// This step is on disk now.
  void stepped(const Step& step);
  /// A runner of that worker begins with the shard.
  void executes(const std::string& worker, const ShardKey& key) { executed_.emplace(worker, key); }

 private:
  /// What the coordinator must know of a worker.
  struct Worker {
    bool connected = false;
    std::string connection;
    uint64_t incarnation = 0;
    std::map<std::string, int64_t> runners;  // by tag
    size_t n_runners = 0;
    bool draining = false, drain_ordered = false;
    Millis heard_at = 0;
    Millis progressed_at = 0;  // any of its shards
    Millis got_on_at = 0;      // one of its shards began or ended
  };
  struct Lent {
    int64_t attempt = 0;
    std::string worker;
    std::string tag;
    Millis stall_ms = 0;   // 0: granted in an earlier life of the coordinator
    bool carried = false;  // over a restart, or taken up again
    HeldState state = HeldState::kQueued;
    double progress = 0;
    Millis progressed_at = 0;
    Millis got_on_at = 0;  // granted, or came to its state
  };

  void pass_time(Millis now);
  void listen(const Step& step);
  void hello(const Step& step, const coordinator::WorkerMessage& event, const Hello& message);
  void introduce(Worker& worker, const std::vector<RunnerInfo>& runners);
  void note_held(const std::string& worker, const std::vector<Held>& held);
  void granted(const coordinator::RecordGrant& grant);
  void ended(const Step& step, const coordinator::EndAttempt& end);
  void only_what_ran_is_suspect() const;
  void nobody_is_overdue();

  bool silent(const Worker& worker) const;
  Millis without_progress_ms(const Lent& lent) const;
  /// For how long a shard may go on without progress; where only bounds are known, the upper one.
  Millis patience_ms(const Lent& lent) const;
  int64_t credit() const;

  const World& world_;
  const coordinator::Settings settings_;
  std::map<std::string, Worker> workers_;
  std::map<ShardKey, Lent> lent_;
  std::map<ShardKey, int64_t> last_attempt_;
  std::set<std::pair<std::string, ShardKey>> executed_;  // by whom
  double shortest_seconds_ = 1e9, longest_seconds_ = 0;  // of a shard that a runner computed
  // Of the step under way: the worker that speaks was started anew; what was lost running, by
  // worker.
  bool speaker_restarted_ = false;
  std::map<std::string, std::vector<ShardKey>> lost_running_;
  bool clock_started_ = false;
  Millis now_ = 0;
};

}  // namespace headcount::simulator
