// How far a sweep is: what the coordinator (or, while none runs, the database) says and the
// commands show. Its JSON is made and read here alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace headcount::coordinator {

struct WorkerStatus {
  struct Device {
    std::string device, tag;
    int64_t memory_bytes = 0;
  };
  std::string name, host;
  std::vector<Device> devices;  // one a runner
  std::string state;            // connected | draining | waiting | lost
  std::string problem;          // what it waits for
  int64_t held = 0, running = 0, done = 0;
  double rate = 0;  // shards/s
  double last_seen_s = 0;
};

struct StageStatus {
  int64_t id = 0;
  std::string name, kind, state, reason;
  int64_t shards = 0, planned = 0, cached = 0, done = 0, quarantined = 0;
  int64_t withdrawn = 0;    // results of its table that were since
  int64_t micro_batch = 0;  // where memory asks for another than the spec; else 0
  double rate = 0;          // shards/s, of a running coordinator
  std::optional<double> time_left_s = {};
};

struct SweepStatus {
  struct Binding {
    std::string model, tag;
  };
  /// What only a running coordinator knows.
  struct Live {
    std::string waits;  // why nothing can be recorded for now; empty: it can
    std::vector<WorkerStatus> workers;
    std::optional<double> busy_s = {};  // since the first grant of this process
  };
  int64_t id = 0;
  std::string name, state, digest, file, created_at, finished_at;
  std::vector<Binding> models;
  std::vector<StageStatus> stages;
  std::vector<std::string> alarms;  // the newest
  std::optional<Live> live = {};
};

/// {"id", "name", "state", "digest", "file", "created_at", "finished_at", "models": [{"model",
/// "tag"}], "stages": [{"id", "name", "kind", "state", "reason", "shards", "planned", "cached",
/// "done", "quarantined", "withdrawn", "micro_batch"}], "alarms": [..]}. Live: also "waits",
/// "workers" (as below) and, once something was granted, "busy_s"; per stage "rate" and
/// "time_left_s" (null: unknown).
std::string status_json(const SweepStatus& status);
/// {"workers": [{"name", "host", "devices": [{"device", "tag", "memory_bytes"}], "state", "problem",
/// "held", "running", "done", "rate", "last_seen_s"}]}.
std::string workers_json(const std::vector<WorkerStatus>& workers);

/// And back; absent members keep their defaults. Throws Error for text that is none.
SweepStatus status_from_json(const std::string& text);
std::vector<WorkerStatus> workers_from_json(const std::string& text);

}  // namespace headcount::coordinator
