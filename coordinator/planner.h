// The threads "planner": they read specs, models and datasets, which may take minutes or never end,
// while the loop goes on. Jobs in, results out, in whatever order they are ready. One thread reads;
// where it has been at one job for longer than a moment, a further one takes the next, so that
// neither a large model nor a dead mount keeps other sweeps waiting.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "experiments/sweep.h"

namespace headcount::coordinator {

struct PlanJob {
  uint64_t number = 0;  // the caller's
  std::string text = {}, file = {}, root = {};
  experiments::AllowedPaths allowed = {};
};

struct PlanDone {
  uint64_t number = 0;
  experiments::Prepared prepared;
  Digest files;       // of a prepared sweep: files_digest
  std::string error;  // one sentence where reading failed in a way that is no Problem of the spec
};

/// Does one job on a thread of the planner; throws what it likes. Tells what it is doing.
using PlanReader = std::function<PlanDone(const PlanJob& job, const experiments::Tell& tell)>;

/// experiments::prepare and the digest of what it read.
PlanReader read_files();

/// Used by one thread.
class Planner {
 public:
  explicit Planner(PlanReader reader = read_files());
  Planner(const Planner&) = delete;
  ~Planner();  // stops

  void start(PlanJob job);
  /// A finished job, or nothing. To be asked often: it is also when a further reader starts.
  std::optional<PlanDone> take();
  /// The job is wanted no more: not begun where it waits, given up where it is read; never
  /// answered.
  void forget(uint64_t number);
  /// What becomes of a job: "reading model big: 4.1 of 16.0 GB", "3 others are read first" ...; ""
  /// where there is no such job.
  std::string doing(uint64_t number) const;
  /// Gives up all jobs; false where a reader did not come back within a moment. It is left to
  /// itself then, and the process must end without waiting for it.
  bool stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with readers that never come back
};

}  // namespace headcount::coordinator
