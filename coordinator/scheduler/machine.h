// Inside the scheduler: what it keeps in memory. Stages hold a cursor, a done bit a shard and the
// shards to be granted again; a shard is at any time in exactly one place of its stage: done,
// quarantined, in `retry`, leased, or not yet reached by the cursor. Equal keys wanted at several
// places share one lease. scheduler.cc: events; messages.cc: workers' messages; leases.cc: how
// leases end; grants.cc: who gets what; shares.cc: in which order; views.cc: what people see.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/scheduler/scheduler.h"

namespace headcount::coordinator {

/// One runner's credit, in units fine enough for max_credit shards; a lease takes kRunner / credit
/// of it.
constexpr int64_t kRunner = int64_t{1} << 20;

/// A shard that will be granted again.
struct Again {
  WorkerKey avoid;        // empty: nobody
  bool strictly = false;  // while another able worker exists; else: while another able one has room
};

/// Running average and median of what shards of one range took.
class Durations {
 public:
  void add(double measured);
  bool empty() const { return n_ == 0; }
  double average() const { return average_; }
  double median() const { return median_; }

 private:
  std::array<double, 15> latest_{};
  size_t n_ = 0;
  double average_ = 0;
  double median_ = 0;
};

struct RangeState {
  int64_t next = 0;  // every earlier index of the range has been visited
  int64_t first = 0;
  int64_t end = 0;
  std::string tag;
  std::map<int64_t, Again> retry;
  std::set<WorkerKey> refused_by;
  Durations durations;
};

/// Whether runners of that tag may compute for the range, and results under it count there.
inline bool satisfies(const std::string& tag, const RangeState& range) {
  return tag == range.tag || (range.tag == kAnyTag && tag != kNoopTag);
}

struct StageState {
  StageId id = 0;
  SweepId sweep = 0;
  int64_t n_shards = 0;
  int64_t n_done = 0;
  int64_t n_leased = 0, n_running = 0;  // places of leases; those of running ones
  bool paused = false;
  std::vector<bool> done;
  std::set<int64_t> quarantined;
  std::vector<RangeState> ranges;

  bool wants(int64_t index) const {
    return !done[static_cast<size_t>(index)] && !quarantined.contains(index);
  }
  bool complete() const { return n_done + static_cast<int64_t>(quarantined.size()) == n_shards; }
  /// Something is left to grant now.
  bool has_work() const {
    return !paused && std::any_of(ranges.begin(), ranges.end(), [](const RangeState& range) {
      return range.next < range.end || !range.retry.empty();
    });
  }
};

/// A sweep with opened stages.
struct SweepState {
  int64_t priority = 0;
  double served_s = 0;  // of runners' time: what ended as it was, what is lent as it is expected
  std::map<StageId, StageState*> stages;

  bool has_work() const {
    return std::any_of(stages.begin(), stages.end(),
                       [](const auto& stage) { return stage.second->has_work(); });
  }
};

/// The sweeps of one priority.
struct Level {
  std::set<std::pair<double, SweepId>> order;  // by SweepState::served_s: the least is next
  double served_s = 0;  // of the one served last: who had nothing to grant catches up with it
  double shard_s = 0;   // of the last shard that was measured: what is expected of others
  int64_t n_ahead = 0;  // grants since a lower priority had one
};

struct Lease {
  int64_t attempt = 0;
  uint64_t sequence = 0;  // grows with every grant: a worker runs in this order
  WorkerKey worker;
  std::string tag;  // of the runner it is lent to: only a result under it counts
  HeldState state = HeldState::kQueued;
  double progress = 0;
  int64_t cost = 0;          // of kRunner
  double expected_s = 0;     // counted in its sweep's served_s
  Millis lent_at = 0;        // by this process
  bool taken_up = false;     // it began before that
  Millis ran_at = 0;         // first said to be running; 0: not yet
  Millis progressed_at = 0;  // or granted; then only by progress worth the name (keeps_pace)
  double progress_then = 0;
  Millis sent_at = 0;
  Millis recalled_at = 0;  // 0: not
  Millis stall_ms = 0;
  uint64_t seen = 0;          // the last step in which its worker listed it
  std::vector<Place> places;  // never empty
};

/// What a worker offers of one tag.
struct Room {
  int64_t capacity = 0;  // kRunner a runner
  int64_t used = 0;
};

struct WorkerState {
  WorkerKey key;
  Connection connection;
  bool connected = false;  // has said Hello to this coordinator
  bool draining = false;
  bool drain_ordered = false;
  uint64_t incarnation = 0;
  std::string host;
  std::string problem;  // it takes no shards for now; empty: it does
  std::vector<RunnerInfo> runners;
  Millis since = 0;  // connected
  Millis heard_at = 0;
  Millis progressed_at = 0;           // any of its shards
  Millis finished_at = -1;            // any of its shards
  int64_t n_finished = 0;             // since a lease of it expired
  std::map<std::string, Room> rooms;  // by tag
  std::set<ShardKey> held;

  bool takes_work() const { return connected && !draining && !drain_ordered && problem.empty(); }
  /// It holds as much as it has shown to be able to finish: what it may hold doubles with every
  /// round of results.
  bool is_full() const {
    const auto n_runners = std::max<int64_t>(1, static_cast<int64_t>(runners.size()));
    return static_cast<int64_t>(held.size()) >= 2 * (n_runners + n_finished);
  }
};

class Scheduler::Machine {
 public:
  Machine(Settings settings, const Records& records);

  std::vector<Action> step(Event event, Millis now);

  std::vector<WorkerView> worker_views() const;
  std::vector<StageView> stage_views() const;
  StageView view(const StageState& stage) const;
  std::vector<LeaseView> lease_views() const;
  std::vector<TagView> tags() const;
  std::vector<std::string> explain(const StageState& stage) const;
  std::vector<std::string> explain_share(const StageState& stage) const;
  void check_invariants() const;
  const StageState* find_stage(StageId stage) const;

 private:
  // Events (scheduler.cc).
  void on(StageOpened& event);
  void on(StageClosed& event);
  void on(StagePaused& event);
  void on(StageResumed& event);
  void on(Retry& event);
  void on(RetryShards& event);
  void on(Withdrawn& event);
  void on(Restored& event);
  void on(WorkerMessage& event);
  void on(WorkerGone& event);
  void on(Drain& event);
  void on(Rearm& event);
  void on(Tick& event);
  void complete_stages();
  void rearm();

  // Messages (messages.cc).
  void hello(const WorkerMessage& event, const Hello& message);
  void heartbeat(const WorkerMessage& event, const Heartbeat& message);
  void shard_done(const WorkerMessage& event, ShardDone message);
  void shard_failed(const WorkerMessage& event, const ShardFailed& message);
  void give_back(const WorkerMessage& event, const GiveBack& message);
  void introduce(WorkerState& worker, const std::vector<RunnerInfo>& runners);
  void reconcile(WorkerState& worker, const std::vector<Held>& held);
  void held_by(WorkerState& worker, const Held& held);
  bool adopt(WorkerState& worker, const Held& held);
  void update(WorkerState& worker, Lease& lease, const Held& held);
  void refuse_result(const WorkerMessage& event, const ShardDone& message, const std::string& why);

  // Leases (leases.cc). `end` erases the lease and says EndAttempt; its places are the caller's to
  // settle.
  Lease& add_lease(const ShardKey& key, Lease lease, WorkerState& worker);
  Lease end(const ShardKey& key, Outcome outcome, const std::string& message = "",
            const std::string& device = "", double seconds = 0);
  void fail(const ShardKey& key, Outcome outcome, const std::string& message,
            const std::string& device);
  bool is_suspect(const Lease& lease) const;
  bool keeps_pace(const Lease& lease, double progress) const;
  void requeue(const Lease& lease, const Again& again);
  void forgive(const ShardKey& key);
  void forget_quarantined(const StageState& stage);
  void lose(WorkerState& worker, const std::set<ShardKey>& keep, const std::string& why);
  void worker_gone(const WorkerKey& worker, const std::string& why);
  void expire(WorkerState& worker);
  void settle_recorded(const ShardKey& key, const std::string& tag);
  void mark_done(StageState& stage, int64_t index);
  void revoke(const ShardKey& key, const Lease& lease);
  std::vector<Place> wanted_places(const ShardKey& key) const;
  /// Takes up an attempt that is already on disk, for those places.
  void take_up(const ShardKey& key, int64_t attempt, const std::string& tag,
               const std::vector<Place>& places, WorkerState& worker);
  Millis lease_ms(const Lease& lease) const;

  // Grants (grants.cc).
  void fill();
  bool grant_one(WorkerState& worker);
  using Levels = std::map<int64_t, Level, std::greater<>>;
  /// kWaits: for room that a shard needs which is next.
  enum class Granted { kNo, kYes, kWaits };
  Granted grant_from(Levels::iterator level, WorkerState& worker, const std::string& tag,
                     const Room& room);
  Granted grant_within(Level& level, WorkerState& worker, const std::string& tag, const Room& room);
  Granted grant_of(SweepState& sweep, WorkerState& worker, const std::string& tag,
                   const Room& room);
  double expected_s(const SweepState& sweep, const RangeState& range) const;
  void serve(SweepId id, double seconds);
  void join(const StageOpened& event, StageState& stage);
  void leave(const StageState& stage);
  bool take(StageState& stage, RangeState& range, const WorkerState& worker, int64_t cost,
            ShardKey& key, int64_t& index);
  bool available(StageState& stage, const RangeState& range, int64_t index, ShardKey& key);
  void grant(WorkerState& worker, const std::string& tag, const Place& place, const ShardKey& key,
             int64_t cost);
  void attach(Lease& lease, Place place);
  void detach(Lease& lease, Place place);
  void detach_from_retry(const Place& place);
  void send_grant(const ShardKey& key, Lease& lease, const WorkerState& worker);
  bool avoided(const Again& again, const RangeState& range, const WorkerState& worker,
               int64_t cost) const;
  bool able(const WorkerState& worker, const RangeState& range) const;
  bool has_room(const WorkerState& worker, const RangeState& range, int64_t cost) const;
  bool another_able(const RangeState& range, const WorkerKey& than) const;
  int64_t credit(const RangeState& range) const;
  Millis stall_ms(const RangeState& range) const;
  void recall_for_idle();
  /// Shards of one worker that have not started, in the order granted.
  using Waiting = std::vector<std::pair<uint64_t, ShardKey>>;
  std::map<std::string, std::vector<Waiting>> waiting_by_tag() const;
  bool may_be_recalled(const Lease& lease) const;
  void recall(const ShardKey& key, Lease& lease);

  /// Whether a result that counts in the range is on disk, or comes there with this step.
  bool recorded(const ShardKey& key, const RangeState& range) const;
  RangeState& range_of(StageState& stage, int64_t index);
  const RangeState& range_of(const StageState& stage, int64_t index) const;
  StageState* find_stage(StageId stage);
  WorkerState* find_worker(const WorkerKey& worker);
  template <class A>
  void act(A action) {
    actions_.emplace_back(std::in_place_type<A>, std::move(action));
  }
  void send(const WorkerState& worker, Message message);

  Settings settings_;
  const Records& records_;
  Millis now_ = 0;
  bool clock_started_ = false;
  uint64_t step_ = 0;
  uint64_t sequence_ = 0;
  bool work_appeared_ = false;         // in this step: every worker with room is looked at
  std::vector<WorkerState*> roomier_;  // in this step: else these
  bool may_be_complete_ = false;
  std::optional<std::pair<ShardKey, std::string>> recorded_now_;  // under which tag, in this step
  std::map<StageId, StageState> stages_;
  std::map<SweepId, SweepState> sweeps_;
  Levels levels_;  // the highest priority first
  std::map<WorkerKey, WorkerState> workers_;
  std::set<ShardKey> quarantined_;  // in any opened stage
  // Never iterated: order comes from WorkerState::held.
  std::unordered_map<ShardKey, Lease> leases_;
  std::vector<Action> actions_;
};

}  // namespace headcount::coordinator
