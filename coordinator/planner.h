// The thread "planner": reads specs, models and datasets, which may take minutes, while the loop
// goes on. One job at a time, in order.
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
  std::string text, file, root;
  experiments::AllowedPaths allowed = {};
};

struct PlanDone {
  uint64_t number = 0;
  experiments::Prepared prepared;
  Digest files;       // of a prepared sweep: files_digest
  std::string error;  // one sentence where reading failed in a way that is no Problem of the spec
};

class Planner {
 public:
  Planner();
  Planner(const Planner&) = delete;
  ~Planner();  // waits for the job in hand

  void start(PlanJob job);
  /// A finished job, or nothing.
  std::optional<PlanDone> take();
  /// Runs `body`, which reads models itself, while no job is in hand.
  void apart(const std::function<void()>& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headcount::coordinator
