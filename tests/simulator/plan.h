// What a simulated cluster has to compute: two sweeps with stages of shards, some shards wanted at
// several places, some that fail by nature. Everything follows from the seed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "schemas/messages.h"
#include "schemas/result.h"
#include "tests/simulator/world.h"

namespace headcount::simulator {

/// What executing a shard leads to, wherever and whenever.
enum class Nature {
  kHealthy,
  kFlaky,      // its first two executions fail
  kThrows,     // the runner reports an exception
  kCrashes,    // the runner dies of a signal
  kHangs,      // no progress
  kKillsNode,  // the daemon dies with it
};

struct PlannedStage {
  std::string name;
  std::vector<ShardKey> keys;
  std::vector<coordinator::Range> ranges;
};

struct PlannedSweep {
  std::string name;
  std::vector<PlannedStage> stages;  // each opens when the one before it is complete
};

struct Plan {
  int n_workers = 0;
  std::vector<std::string> worker_tags;  // per worker: of all its runners
  std::vector<int> n_runners;            // per worker
  int unsound_worker = -1;               // yields a wrong result now and then; -1: none
  int slow_worker = -1;                  // its clock runs at a third of the pace; -1: none
  int leaving_worker = -1;               // is gone for ever one day; -1: none
  bool long_outages = false;             // of minutes
  PlannedSweep main, cancelled, noop;
};
Plan make_plan(Random& random);

Nature nature(const ShardKey& key);
/// Milliseconds an execution takes, the same everywhere.
Millis duration_ms(const ShardKey& key);
/// The one right result of a shard under a tag, as it travels.
std::string right_result(const ShardKey& key, const std::string& tag);
std::string wrong_result(const ShardKey& key, const std::string& tag);
/// What no encode(Result) writes.
std::string defective_result(const ShardKey& key);
bool has_defect(const ShardDone& done);
/// The first hex digits, for traces.
std::string short_name(const ShardKey& key);

}  // namespace headcount::simulator
