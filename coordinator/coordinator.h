// The coordinator process: one loop that polls the socket, feeds the pure scheduler, commits one
// transaction a turn and then sends. Threads: the loop, cluster/transport/server.h's, and one
// "planner" that reads models and datasets of submitted specs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace headcount::coordinator {

struct CoordinatorOptions {
  std::string state;   // its directory, made where absent
  std::string listen;  // empty: loopback, on the port this state had before (an Error where another
                       // program has that and key files of others name it) or a free one; port 0:
                       // likewise, but it moves
  std::string advertise;  // what key files say; empty: `listen` with its real port
  std::string root;  // where relative paths of a spec start when a submission names no root; empty:
                     // the working directory
  std::vector<std::string> allowed_paths;  // what specs of other keys than the local admin's may
                                           // read, besides `root`
  int64_t heartbeat_ms = 1000;             // told to workers
  int64_t silence_ms = 15'000;  // a worker not heard for so long is gone; four times that after a
                                // restart
  int64_t read_again_ms = 60'000;  // between attempts at files that cannot be read
  bool curve = true;               // false only in measurements
  std::string local_admin;         // public key of STATE/admin.key: filled in when that is made
};

/// Runs until SIGTERM, SIGINT or the verb "coordinator.stop". Ready once STATE/coordinator.json is
/// there:
/// {"pid", "address", "public_key", "version"}; removed at the end. Logs to STATE/coordinator.log.
/// Returns the exit status (kExitTryAgain for a TryAgain); prints one sentence to stderr where it
/// is not 0. Tells systemd when it is ready.
int coordinator_main(const CoordinatorOptions& options);

/// The running coordinator of a state directory, from coordinator.json and the lock beside it;
/// nullopt: none runs.
struct Running {
  int64_t pid = 0;
  std::string address, public_key;
};
std::optional<Running> find_running(const std::string& state);

}  // namespace headcount::coordinator
