// The part of the observer that watches whose turn it is: of two sweeps of one priority that both
// have work for a runner, none is passed over for long.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "tests/simulator/plan.h"
#include "tests/simulator/watch.h"
#include "tests/simulator/world.h"

namespace headcount::simulator {

class Shares {
 public:
  Shares(const World& world, const Plan& plan);

  void submitted(coordinator::StageId id, const PlannedStage& stage);
  /// A coordinator starts: who was served how much is forgotten.
  void restarted();
  void stepped(const Step& step);

 private:
  struct Lent {
    int64_t sweep = 0;
    Millis at = 0;
  };
  void granted(const coordinator::SendGrant& grant);
  bool has_work(int64_t sweep) const;

  const World& world_;
  // Runners of several tags are several clusters, with one account: only sums of both are equal.
  const bool one_tag_;
  std::map<ShardKey, std::vector<coordinator::StageId>> wants_;
  std::map<coordinator::StageId, int64_t> n_fresh_;  // places of keys that were never granted
  std::map<coordinator::StageId, int64_t> sweeps_;   // of open stages
  std::set<coordinator::StageId> paused_;
  std::set<ShardKey> granted_;
  std::map<ShardKey, Lent> lent_;
  std::map<int64_t, Millis> burnt_;                            // by a sweep's failed attempts
  std::map<std::pair<int64_t, int64_t>, Millis> passed_over_;  // who was served, who waited
};

}  // namespace headcount::simulator
