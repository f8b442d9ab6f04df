// Daemons this program starts: detached ones (--detach), and a whole cluster on loopback for `run`,
// `demo` and `bench dispatch`, whose processes die with ours.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/connection.h"
#include "cluster/process/process.h"

namespace headcount::cli {

/// This program's own file.
std::string own_program();

/// The headcount-runner beside this program; "" where none is built.
std::string runner_program();
/// The same, but none is an Error saying how to get one.
std::string need_runner_program();

/// Becomes headcount-runner with these arguments; throws Error where there is none.
[[noreturn]] void become_runner(const std::vector<std::string>& arguments);

/// Starts `arguments` of this program in the background, printing to `log_file`, and returns its
/// pid once `ready()`. Throws Error with the last line it printed when it ends or is not ready in
/// time.
int start_detached(const std::vector<std::string>& arguments, const std::string& log_file,
                   const std::function<bool()>& ready);

/// What a local cluster consists of.
struct LocalOptions {
  std::string state;
  std::string root;  // where relative paths of specs start
  int workers = 1;
  std::vector<std::string> worker_flags;  // --device, --runners ...
};

/// A coordinator and its workers, children of this program; their output goes to STATE/run/*.out.
/// Killed with this object.
class LocalCluster {
 public:
  /// Starts the coordinator and waits until it is ready. Throws Error where one runs in that state
  /// already, or with the sentence it ended with.
  explicit LocalCluster(const LocalOptions& options);

  Connection connect() const;
  void start_workers();
  /// Starts again what was killed. Throws Error with its last words when a daemon ended by itself.
  void supervise();
  /// Drains the workers (what runs ends), then stops the coordinator. `hurry()`: no more waiting.
  void stop(const std::function<bool()>& hurry);

  pid_t coordinator_pid() const { return coordinator_.child->pid(); }
  std::vector<pid_t> worker_pids() const;
  std::string address() const;
  void kill_coordinator();   // SIGKILL, for measurements
  void start_coordinator();  // after that

 private:
  struct Daemon {
    std::vector<std::string> arguments;
    std::string log_file;
    std::optional<process::Child> child;
  };
  void start(Daemon& daemon) const;

  LocalOptions options_;
  Daemon coordinator_;
  std::vector<Daemon> workers_;
};

}  // namespace headcount::cli
