// A sweep while it runs: its status as lines for people, and waiting for its end.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/connection.h"
#include "coordinator/sweep_status.h"

namespace headcount::cli {

/// One line a stage (done of shards, share, rate, time left) and one a worker; `bars`: with
/// progress bars, for a terminal.
std::vector<std::string> progress_lines(const coordinator::SweepStatus& status, bool bars);

/// One line: "importance 12/40 (8.1/s, 3.5 s left); pruning waits".
std::string progress_summary(const coordinator::SweepStatus& status);

/// How a wait ended: the sweep's state ("finished", "cancelled", "stopped"), or "interrupted".
struct Waited {
  std::string state;
  coordinator::SweepStatus status;  // the last answer
};

/// What the coordinator still reads of a spec that was submitted as `file`: a line on stderr every
/// few seconds; nothing when quiet.
class ReadingProgress {
 public:
  ReadingProgress(const Common& common, std::string file);
  void look();

 private:
  const Common& common_;
  std::string file_;
  std::optional<Connection> connection_;
  std::chrono::steady_clock::time_point looked_at_ = std::chrono::steady_clock::now();
};

/// Shows progress on stderr until the sweep ends or `stop_asked` says so (checked some ten times a
/// second): redrawn in place on a terminal, else a line every few seconds; nothing when quiet. A
/// coordinator that goes away is waited for, `patience_ms` at most, then Error.
Waited watch_sweep(Connection& connection, const std::string& id, bool quiet, int64_t patience_ms,
                   const std::function<bool()>& stop_asked);

}  // namespace headcount::cli
