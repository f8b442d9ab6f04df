// The observer: sees every commit and what every worker does, keeps its own books apart from the
// store, and says which law is broken.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "store/store.h"
#include "tests/simulator/plan.h"
#include "tests/simulator/shares.h"
#include "tests/simulator/watch.h"
#include "tests/simulator/world.h"

namespace headcount::simulator {

/// The store, and what the bug `late_result_overwrites` would make of it.
class Disk {
 public:
  explicit Disk(World& world) : store(store::Store::in_memory()), world_(world) {}

  /// As Store::transaction.
  void transaction(const std::function<void()>& body);
  void record(const coordinator::RecordResult& record);
  std::optional<Digest> recorded(const ShardKey& key, const std::string& tag) const;

  store::Store store;

 private:
  World& world_;
  std::map<std::pair<ShardKey, std::string>, Digest> overwritten_;
};

class Laws {
 public:
  Laws(World& world, const Plan& plan, const Disk& disk, const coordinator::Settings& settings)
      : world_(world),
        plan_(plan),
        disk_(disk),
        settings_(settings),
        watch_(world, settings),
        shares_(world, plan) {}

  /// What the store calls a stage.
  void submitted(coordinator::StageId id, const PlannedStage& stage);
  /// These steps are on disk now.
  void committed(const std::vector<Step>& steps);
  /// The scheduler has just decided so.
  void about_to_quarantine(const ShardKey& key, const coordinator::Scheduler& scheduler);
  /// A coordinator starts from the disk.
  void restarted();
  /// A Grant has reached a worker.
  void grant_arrived(const std::string& worker, const Grant& grant);
  /// An Ack has reached a worker that holds this result.
  void acknowledged(const std::string& worker, const ShardDone& done);
  /// A worker says that an execution failed, or sends a result that cannot count.
  void failure_reported(const std::string& worker, const ShardKey& key, int64_t attempt);
  /// A worker gives a shard back.
  void gave_back(const std::string& worker, const ShardKey& key, int64_t attempt);
  /// A runner of that worker begins with the shard.
  void executes(const std::string& worker, const ShardKey& key) { watch_.executes(worker, key); }
  /// A worker introduces itself, with these results on its disk.
  void introduced(const std::string& worker, const Hello& hello,
                  const std::map<ShardKey, ShardDone>& on_disk) const;
  /// A worker sends a result; `persisted`: it is on that worker's disk.
  void result_sent(const std::string& worker, const ShardDone& done, bool persisted) const;
  /// A stage is complete in the eyes of the scheduler: the table is made now.
  void stage_finished(const PlannedStage& stage) const;

  int64_t n_alarms() const { return n_alarms_; }
  int64_t n_recorded() const { return static_cast<int64_t>(results_.size()); }
  int64_t n_quarantined() const { return static_cast<int64_t>(quarantined_.size()); }

 private:
  struct Attempt {
    std::string worker, tag;
    coordinator::Outcome outcome = coordinator::Outcome::kGranted;
    bool forgiven = false;
    bool suspect = false;
  };
  /// Where a shard is wanted.
  struct Want {
    coordinator::StageId stage = 0;
    std::string tag;
  };
  void note_stages(const coordinator::Event& event);
  /// Whether an open stage lacks the shard; `now`: one that is not paused.
  bool wanted(const ShardKey& key, bool now) const;
  void nothing_is_lent_unwanted() const;
  void granted(const coordinator::RecordGrant& grant);
  void recorded(const coordinator::RecordResult& record);
  void ended(const coordinator::EndAttempt& end);
  void quarantined(const coordinator::Quarantine& quarantine);

  World& world_;
  const Plan& plan_;
  const Disk& disk_;
  coordinator::Settings settings_;
  Watch watch_;
  Shares shares_;
  std::map<ShardKey, std::vector<Want>> wants_;
  std::map<coordinator::StageId, bool> paused_;  // of open stages
  std::map<std::pair<ShardKey, std::string>, Digest> results_;
  std::map<ShardKey, std::map<int64_t, Attempt>> attempts_;
  std::set<ShardKey> quarantined_;
  std::map<ShardKey, size_t> n_able_;  // workers, when the scheduler decided
  std::set<std::tuple<ShardKey, int64_t, std::string>> reported_, given_back_;
  int64_t n_alarms_ = 0;
};

}  // namespace headcount::simulator
