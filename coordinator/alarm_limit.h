// How many alarms, or lines of the log, one worker may cause: its key's holder could otherwise fill
// the disk with them, and hide among them the one that matters. Pure.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "coordinator/scheduler/scheduler.h"

namespace headcount::coordinator {

class AlarmLimit {
 public:
  explicit AlarmLimit(int64_t in_all = 500) : in_all_(in_all) {}
  /// Whether another alarm about `worker` is kept: 20 a minute are, and so many in all.
  bool admits(const WorkerKey& worker, Millis now);
  /// Of whom, and how many, were left out in minutes that are over; each told once.
  std::vector<std::pair<WorkerKey, int64_t>> left_out(Millis now);

 private:
  struct Count {
    Millis since = 0;  // of the minute
    int64_t n = 0;     // in it
    int64_t n_kept = 0, n_left_out = 0;
  };
  int64_t in_all_;
  std::map<WorkerKey, Count> counts_;
};

}  // namespace headcount::coordinator
