// The worker daemon: the loop around worker/agent. It connects to the coordinator, keeps one
// headcount-runner a device, writes results down before they are sent, and obeys signals. Threads:
// the caller's (the loop) and the transport's.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cluster/transport/keys.h"

namespace headcount::worker {

struct WorkerOptions {
  transport::KeyFile key;
  std::string state;                 // this worker's own directory, made where absent
  std::vector<std::string> devices;  // one entry a runner
  int threads = 1;                   // per CPU runner
  std::string runner_program;        // empty: none is built; only noop shards can be done
  std::vector<std::pair<std::string, std::string>> model_paths;  // (path or its last part, folder)
  int64_t idle_exit_ms = 0;              // ends after so long without work; 0: never
  std::optional<int64_t> until_unix_ms;  // starts no shard that would end later
};

/// Runs until it is drained (SIGTERM, SIGINT, `worker drain`, --until, --idle-exit: status 0),
/// refused (1), told a second time to stop (1), or no runner starts (kExitTryAgain). A disk that
/// takes no results is waited for. Logs to STATE/worker.log; STATE/worker.json says {"pid", "name"}
/// once the coordinator has welcomed it; systemd is told how it goes. What it makes is for its user
/// alone (umask 0077). Throws Error where it cannot begin: state directory not writable, or in use
/// by another worker; TryAgain: its disk is full.
int worker_main(const WorkerOptions& options);

}  // namespace headcount::worker
