// What a worker daemon decides, as a pure state machine: step(event, now) -> actions; no clock,
// socket, process or file. The shell (worker/, and the simulator) performs the actions of one step
// in their order: a result is persisted (written and fsynced; all Persists of a turn may share one)
// before the sends that follow it. A result stays persisted and is sent again until the coordinator
// acknowledges it. Shards of tag kNoopTag are answered here, without a runner and without being
// persisted: there is nothing in them to lose.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "schemas/messages.h"
#include "schemas/shard.h"

namespace headcount::worker {

using Millis = int64_t;  // since some fixed start; never goes back within one process

// ---- events

/// A message of the coordinator.
struct Received {
  Message message;
};
/// The connection was made anew, or is known to be lost: introduce yourself again.
struct Reconnected {};
/// Runner i was started (by StartRunner) and has introduced itself.
struct RunnerIsReady {
  int runner = 0;
  RunnerInfo info;
};
struct RunnerProgressed {
  int runner = 0;
  ShardKey key;
  double progress = 0;
};
/// `result` is the frame encode(Result).
struct RunnerFinished {
  int runner = 0;
  ShardKey key;
  double seconds = 0;
  std::string result;
};
/// The runner says that the shard failed, and lives on.
struct RunnerReported {
  int runner = 0;
  ShardKey key;
  Cause cause = Cause::kException;
  std::string message;
};
/// The runner's process has ended, by itself or by KillRunner. `cause`: kSignal (SIGSEGV, SIGABRT,
/// SIGBUS), kOutOfMemory (SIGKILL with the cgroup's oom_kill counter raised), kKilled (any other
/// kill), kException (an exit status).
struct RunnerExited {
  int runner = 0;
  Cause cause = Cause::kException;
  std::string message;  // how it ended, its last lines, memory
};
/// SIGTERM, or `--until` is near.
struct DrainRequested {};
/// Results cannot be written for now: until DiskWorks nothing new is started and Persist is as good
/// as it gets. `reason`: one sentence.
struct DiskFailed {
  std::string reason;
};
struct DiskWorks {};
/// Several times in Settings::heartbeat_ms.
struct Tick {};

using Event =
    std::variant<Received, Reconnected, RunnerIsReady, RunnerProgressed, RunnerFinished,
                 RunnerReported, RunnerExited, DrainRequested, DiskFailed, DiskWorks, Tick>;

// ---- actions

struct Send {
  Message message;
};
/// Write the result under its key, durably, before anything that follows.
struct Persist {
  ShardDone done;
};
/// The persisted result of that key is no longer needed. Need not be durable.
struct Forget {
  ShardKey key;
};
/// Start the process of runner i; RunnerIsReady or RunnerExited answers.
struct StartRunner {
  int runner = 0;
};
/// SIGKILL runner i; RunnerExited answers, then StartRunner follows.
struct KillRunner {
  int runner = 0;
};
/// Hand runner i this shard.
struct RunOn {
  int runner = 0;
  RunShard shard;
};
/// End the daemon: every result is acknowledged and nothing runs; or it failed, saying why in one
/// sentence. What may pass (no runner starts) is worth another start of the daemon.
struct Exit {
  enum class Kind { kDone, kFailed, kTryAgain };
  Kind kind = Kind::kDone;
  std::string reason;
};

using Action = std::variant<Send, Persist, Forget, StartRunner, KillRunner, RunOn, Exit>;

// ---- the machine

struct Settings {
  std::string version;  // of the program; the coordinator refuses another
  std::string host;
  uint64_t incarnation =
      0;  // greater than that of any earlier start with the same key: e.g. microseconds since 1970
  std::vector<std::string> devices;  // of runner 0, 1, ...
  Millis resend_ms = 10'000;  // an unacknowledged result, or Hello, is sent again after so long
                              // (Hello: a fifth of it)
  Millis idle_exit_ms = 0;    // end after so long without work; 0: never
  std::optional<Millis>
      until;  // no shard is started that would, by measured time, end later; then drain
  int max_failed_starts = 5;  // in a row, without a shard in between: the runner is given up
};

/// What the daemon's own status line says.
struct Counts {
  int64_t queued = 0, running = 0, unacknowledged = 0;
};

/// Belongs to one thread. Holds the results not yet acknowledged, at most one credit's worth.
class Agent {
 public:
  /// `unacknowledged`: the results found persisted at start.
  Agent(Settings settings, std::vector<ShardDone> unacknowledged);

  /// The first step (any event) starts the runners and says Hello.
  std::vector<Action> step(Event event, Millis now);

  Counts counts() const;
  bool draining() const { return draining_; }
  bool welcomed() const { return welcomed_; }
  /// Everything held, as heartbeats list it: in key order.
  std::vector<Held> held() const;

 private:
  enum class RunnerState { kOff, kStarting, kIdle, kBusy, kStopping, kGivenUp };
  struct Runner {
    RunnerInfo info;  // the last known one, also while it restarts
    RunnerState state = RunnerState::kOff;
    ShardKey key;  // of a busy one
    int failed_starts = 0;
    Millis start_at = 0;  // of an off one
  };
  struct Work {
    int64_t attempt = 0;
    HeldState state = HeldState::kQueued;
    std::string tag, model_path, shard;
    Millis stall_ms = 0;
    int runner = -1;
    double progress = 0;
    Millis progressed_at = 0;
    ShardDone done;      // of a done one
    Millis sent_at = 0;  // of a done one
  };

  void on(Received& event);
  void on(Reconnected& event);
  void on(RunnerIsReady& event);
  void on(RunnerProgressed& event);
  void on(RunnerFinished& event);
  void on(RunnerReported& event);
  void on(RunnerExited& event);
  void on(DrainRequested& event);
  void on(DiskFailed& event);
  void on(DiskWorks& event);
  void on(Tick& event);
  void received(const Welcome& welcome);
  void received(const Refused& refused);
  void received(Grant grant);
  void received(const Ack& ack);
  void received(const Revoke& revoke);
  void received(const Recall& recall);
  void on_reintroduce();

  void finish(const ShardKey& key, Work& work, double seconds, std::string result,
              const RunnerInfo& info);
  void fail(const ShardKey& key, Cause cause, std::string message);
  void drop(const ShardKey& key);
  void stop(int runner);
  void drain();
  template <class Predicate>
  void give_back(Predicate predicate);
  void start_work();
  void start_runners();
  void kill_stalled();
  void end_if_idle();
  void end(Exit::Kind kind, std::string reason);

  template <class A>
  void act(A action) {
    actions_.emplace_back(std::in_place_type<A>, std::move(action));
  }
  void say_hello();
  void heartbeat();
  void send_done(Work& work);
  void send(Message message);
  Work* running_on(int runner, const ShardKey& key);
  bool can_run(const std::string& tag) const;
  std::vector<RunnerInfo> runner_infos() const;

  Settings settings_;
  Millis now_ = 0;
  std::map<ShardKey, Work> work_;
  std::deque<ShardKey> queue_;  // of queued ones, in the order granted
  std::vector<Runner> runners_;
  std::vector<Action> actions_;
  bool known_ = false;  // was welcomed once: no refusal but a revoked key ends it any more
  bool started_ = false, welcomed_ = false, draining_ = false, ended_ = false,
       heartbeat_due_ = false;
  Millis heartbeat_ms_ = 1000;
  Millis heartbeat_at_ = 0, hello_at_ = 0, busy_at_ = 0;
  double seconds_per_shard_ = 0;  // running average; 0 until measured
  std::string last_start_failure_;
  std::string problem_;  // of the disk; empty: none
};

}  // namespace headcount::worker
