// Who computes what next: a pure state machine. step(event, now) -> actions; no clock, socket, file
// or randomness.
//
// The shell (coordinator/, and the simulator) handles one loop turn like this, inside one Store
// transaction: for each event, step it and at once apply the records it returned (so that the next
// step reads them through Records); then commit; then do the sends and notices of the turn, in
// order. When the commit fails the Scheduler has run ahead of the disk: throw it away and make a
// new one from the store, as after a crash. Laws 1-5 of ARCHITECTURE.md; tests/simulator checks
// them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "schemas/messages.h"
#include "schemas/shard.h"

namespace headcount::coordinator {

using Millis = int64_t;  // since some fixed start; never goes back within one process
using SweepId = int64_t;
using StageId = int64_t;
using WorkerKey = std::string;   // public key: the ZAP User-Id
using Connection = std::string;  // today's address of a worker: the ROUTER routing id

/// How an attempt ended, as the `attempts` table says it.
enum class Outcome {
  kGranted,      // not ended
  kDone,         // its result was the one recorded
  kLate,         // its result came after the lease had ended
  kGivenBack,    // never started: drained or recalled
  kRevoked,      // cancelled, or another attempt was first
  kLost,         // its worker fell silent or was restarted before the shard was seen running; free
  kLostRunning,  // the same while it was running: free up to Settings::max_losses, or
                 // charges_to_quarantine where each is suspect
  kExpired,      // running without progress for longer than the worker's own stall limit: as
                 // kLostRunning
  kException,    // from here on what the worker reported; all but kKilled and kModelRefused are
                 // charged to the shard
  kSignal,
  kCuda,
  kStall,
  kOutOfMemory,
  kKilled,        // as kLostRunning
  kModelRefused,  // says something of the worker, nothing of the shard
};
/// "granted", "done", "given back", "lost running", "out of memory" ...
std::string_view to_string(Outcome outcome);
/// The reverse; throws Error on any other text.
Outcome outcome_from_string(std::string_view text);
Outcome outcome_of(Cause cause);
bool is_charge(Outcome outcome);
bool is_loss(Outcome outcome);

// ---- what it reads

/// One place where a shard is wanted.
struct Place {
  StageId stage = 0;
  int64_t index = 0;
  auto operator<=>(const Place&) const = default;
};

/// One ended attempt at a shard.
struct EndedAttempt {
  int64_t attempt = 0;
  WorkerKey worker;
  std::string tag;  // it was granted for
  Outcome outcome = Outcome::kDone;
  std::string message;
  bool suspect = false;  // as EndAttempt says
};

/// The durable facts, as of the last applied record. Outlives the scheduler.
class Records {
 public:
  virtual ~Records() = default;
  /// The key of shard `index` of an opened stage.
  virtual ShardKey key(StageId stage, int64_t index) const = 0;
  /// Every place of every planned stage that wants this key (opened or not). Asked only where
  /// something went wrong.
  virtual std::vector<Place> places(const ShardKey& key) const = 0;
  /// The recorded hash under that tag; kAnyTag: under whichever.
  virtual std::optional<Digest> recorded(const ShardKey& key, const std::string& tag) const = 0;
  /// The attempts in which this worker was granted this shard for a runner of that tag, ascending.
  virtual std::vector<int64_t> attempts(const ShardKey& key, const WorkerKey& worker,
                                        const std::string& tag) const = 0;
  /// 0: none.
  virtual int64_t last_attempt(const ShardKey& key) const = 0;
  /// Ended attempts since the shard was last forgiven (Forgive), in order. Asked only after a
  /// failure or loss.
  virtual std::vector<EndedAttempt> ended(const ShardKey& key) const = 0;
};

// ---- events

/// Shards [first, end) of a stage need runners of one numerics tag: a bound tag, kAnyTag or
/// kNoopTag.
struct Range {
  int64_t first = 0;
  int64_t end = 0;
  std::string tag;
};
/// After a restart: attempts on disk without an outcome, as leases armed from now; ended where no
/// opened stage wants the shard. A stage that is opened later brings its own (StageOpened).
struct Restored {
  struct Attempt {
    ShardKey key;
    int64_t attempt = 0;
    WorkerKey worker;
    std::string tag = {};
  };
  std::vector<Attempt> attempts;
};
/// A planned stage may be worked on. `ranges` cover 0 .. n_shards - 1 in order. Sweeps of
/// higher `priority` are served first, lower ones keep one grant in Settings::lower_share; those of
/// one priority get equal shares of the runners' time, each stage by stage. Answered by
/// StageComplete at once when nothing is left.
struct StageOpened {
  StageId stage = 0;
  SweepId sweep = 0;
  int64_t priority = 0;
  int64_t n_shards = 0;
  std::vector<Range> ranges = {};
  std::vector<int64_t> done = {};                // recorded already (Store::done)
  std::vector<int64_t> quarantined = {};         // and not forgiven
  std::vector<Restored::Attempt> attempts = {};  // after a restart, of its shards: as Restored
  bool paused = false;
};
/// Cancelled, or to be planned again: its leases are revoked unless another stage wants the shard
/// too.
struct StageClosed {
  StageId stage = 0;
};
/// No grants until resumed; what has not started is recalled, what runs goes on.
struct StagePaused {
  StageId stage = 0;
};
struct StageResumed {
  StageId stage = 0;
};
/// `sweep retry`: forgives and queues every quarantined shard of an opened stage.
struct Retry {
  StageId stage = 0;
};
/// `sweep retry` of stages that are not opened (they may be later): forgives these shards, and
/// queues them where an opened stage wants them too.
struct RetryShards {
  std::vector<ShardKey> keys;
};
/// Results of these shards no longer count, and Records does not know them any more: where an
/// opened stage has no other, the shard is queued again.
struct Withdrawn {
  std::vector<ShardKey> keys;
};
/// Anything a worker sends. For ShardDone the shell has decoded the frame and says what is wrong
/// with it: arrays not as planned, not finite, hash not theirs; empty: valid.
struct WorkerMessage {
  WorkerKey worker;
  Connection connection;
  Message message;
  std::string defect;
};
/// Its key was revoked, or its connection is known to be closed.
struct WorkerGone {
  WorkerKey worker;
};
/// `worker drain`.
struct Drain {
  WorkerKey worker;
};
/// The shell heard nobody for a while (its disk took no writes): nobody's silence counts.
struct Rearm {};
/// Several times a second, at least once in Settings::heartbeat_ms.
struct Tick {};

using Event = std::variant<StageOpened, StageClosed, StagePaused, StageResumed, Retry, RetryShards,
                           Withdrawn, Restored, WorkerMessage, WorkerGone, Drain, Rearm, Tick>;

// ---- actions

// Records: applied to the store as soon as step returns.
/// A new attempt, or (same key and attempt again) an ended one taken up again: its outcome is
/// 'granted' then.
struct RecordGrant {
  ShardKey key;
  int64_t attempt = 0;
  WorkerKey worker;
  std::string tag;  // of a runner that worker has announced: only a result under it counts
};
/// Store::record: keeps the first result of (key, tag); another hash becomes an alarm there. An
/// EndAttempt follows.
struct RecordResult {
  WorkerKey worker;
  ShardDone done;
};
struct EndAttempt {
  ShardKey key;
  int64_t attempt = 0;
  Outcome outcome = Outcome::kDone;
  std::string message;
  std::string device;
  double seconds = 0;
  // Of a loss: it points at the shard. It came within Settings::suspect_ms of the attempt's start,
  // and its worker had finished nothing else meanwhile.
  bool suspect = false;
};
struct Quarantine {
  ShardKey key;
  std::string evidence;  // every charge and loss, one a line, then the last message whole
};
/// The quarantine is lifted and earlier attempts no longer count (Records::ended starts anew).
struct Forgive {
  ShardKey key;
};
/// Something no healthy cluster does; kept in the alarms table.
struct Alarm {
  std::string message;
  WorkerKey worker = {};  // whose doing it is
};

// Sends: after the commit.
struct Send {
  WorkerKey worker;
  Connection connection;
  Message message;
};
/// A Grant whose model path and body the shell fills in from the plan.
struct SendGrant {
  WorkerKey worker;
  Connection connection;
  StageId stage = 0;
  int64_t index = 0;
  ShardKey key;
  int64_t attempt = 0;
  std::string tag;       // as recorded; kNoopTag: the daemon itself
  int64_t stall_ms = 0;  // the runner is killed after so long without progress
};

// Notices: after the commit. The stage is forgotten by the scheduler; aggregate, then open what
// waits for it.
struct StageComplete {
  StageId stage = 0;
  int64_t n_missing = 0;  // quarantined
};
/// A shard ran out of memory (charged already): halve the stage's micro-batch, close the stage,
/// plan and open it again. Where it cannot be halved do nothing.
struct OutOfMemory {
  StageId stage = 0;
  int64_t index = 0;
  ShardKey key;
};

using Action = std::variant<RecordGrant, RecordResult, EndAttempt, Quarantine, Forgive, Alarm, Send,
                            SendGrant, StageComplete, OutOfMemory>;
/// Whether the action changes the store.
bool is_record(const Action& action);

// ---- the machine

struct Settings {
  std::string version;          // of the program: a worker of another one is refused
  Millis heartbeat_ms = 1000;   // told to workers
  Millis silence_ms = 15'000;   // a worker not heard for so long is gone
  Millis restored_ms = 60'000;  // ... one that held leases before a restart and is not back yet:
                                // longer than a worker ever waits between two tries to connect
  Millis stall_at_least_ms =
      300'000;                    // stall limit: max of this and 10 x the stage's median shard time
  int charges_to_quarantine = 3;  // on two workers where two exist; twice as many on whichever
  int max_losses = 20;  // free losses of a running shard that end in quarantine all the same, on
                        // two workers as charges do; suspect ones as soon as charges
  Millis suspect_ms = 600'000;
  double credit_seconds = 1.0;  // work lent to a runner ahead of time
  int lower_share = 20;         // of so many grants one goes to a lower priority that has work
  size_t max_runners = 256;     // of one worker: those it announces beyond are not counted
  int max_credit = 256;         // shards per runner
};

/// What `worker list`, `status` and `explain` show.
struct WorkerView {
  WorkerKey worker;
  std::string host;
  bool connected = false;
  bool draining = false;
  std::string problem;  // why it takes no shards for now, as it says; empty: none
  uint64_t incarnation = 0;
  std::vector<RunnerInfo> runners;
  int64_t n_queued = 0;
  int64_t n_running = 0;
  Millis heard_at = 0;
};
/// A numerics tag that runners of connected workers offer.
struct TagView {
  std::string tag;
  int64_t memory_bytes = 0;  // nominal, of the largest such runner; 0: nobody says
  int64_t n_runners = 0;
  int64_t capacity_bytes = 0;  // nominal, of all of them
  Millis since = 0;            // one has been connected
};
struct StageView {
  StageId stage = 0;
  bool paused = false;
  int64_t n_shards = 0, n_done = 0, n_queued = 0, n_running = 0, n_quarantined = 0;
  double seconds_per_shard = 0;  // running average; 0 until measured
};
struct LeaseView {
  ShardKey key;
  int64_t attempt = 0;
  WorkerKey worker;
  HeldState state = HeldState::kQueued;
  double progress = 0;
  std::vector<Place> places;
};

/// Belongs to one thread. Memory: one bit a shard of opened stages, about 300 bytes a lease.
class Scheduler {
 public:
  class Machine;  // machine.h

  Scheduler(Settings settings, const Records& records);
  Scheduler(Scheduler&&) noexcept;
  Scheduler& operator=(Scheduler&&) noexcept;
  ~Scheduler();

  std::vector<Action> step(Event event, Millis now);

  std::vector<WorkerView> workers() const;
  std::vector<StageView> stages() const;
  std::optional<StageView> stage(StageId stage) const;
  std::vector<LeaseView> leases() const;
  /// Tags of runners of connected workers that take work, each once, in order: what a model can be
  /// bound to.
  std::vector<TagView> tags() const;
  /// Sentences saying why an opened stage does not go on, or not faster; empty when it runs on
  /// every able runner.
  std::vector<std::string> explain(StageId stage) const;

  /// Aborts where the scheduler's own books do not agree. For tests and the simulator; linear in
  /// what is held.
  void check_invariants() const;

 private:
  std::unique_ptr<Machine> machine_;
};

}  // namespace headcount::coordinator
