// One seed, from submission to the end of every sweep: faults for a while, then none, then
// liveness.
#pragma once

#include <cstdint>
#include <string>

#include "tests/simulator/world.h"

namespace headcount::simulator {

struct Report {
  uint64_t seed = 0;
  std::string violation;  // empty: none
  uint64_t trace_hash = 0;
  FaultCounts faults{};
  int n_workers = 0;
  int64_t n_shards = 0;    // wanted places
  int64_t n_recorded = 0;  // results
  int64_t n_quarantined = 0;
  int64_t n_alarms = 0;
  int64_t n_coordinator_crashes = 0;
  int64_t n_cancelled = 0;  // sweeps
  Millis ended_at = 0;
};

/// `print`: the trace on stdout.
Report simulate(uint64_t seed, Bug bug = Bug::kNone, bool print = false);

}  // namespace headcount::simulator
