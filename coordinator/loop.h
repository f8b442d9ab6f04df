// The loop around the scheduler. A turn: take what has arrived, step, apply records at once, plan a
// slice, all in one transaction; commit; then send. Nothing is decided here that the scheduler can
// decide. Everything of this class runs on one thread.
//   loop.cc: turns, workers' messages, actions, sends    stages.cc: planning, opening, ending
//   stages    reading.cc: sweeps whose files are read    requests.cc: clients' verbs
//   mend.cc: results and tables that no longer count    waiting.cc: while nothing can be recorded
#pragma once

#include <chrono>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/transport/server.h"
#include "coordinator/alarm_limit.h"
#include "coordinator/campaign.h"
#include "coordinator/coordinator.h"
#include "coordinator/latency.h"
#include "coordinator/log.h"
#include "coordinator/planner.h"
#include "coordinator/records.h"
#include "coordinator/scheduler/scheduler.h"
#include "coordinator/view.h"
#include "experiments/memory.h"
#include "store/store.h"

namespace headcount::coordinator {

class Loop {
 public:
  /// Everything passed outlives the loop. Its first turn begins to read the specs of unfinished
  /// sweeps, each of which goes on once that is done.
  Loop(const CoordinatorOptions& options, store::Store& store, transport::Server& server,
       transport::AllowList& allowed, Log& log);
  Loop(const Loop&) = delete;

  /// Waits for something to do, at most about a tenth of a second or until `stop_fd` is readable,
  /// and does it.
  void turn(int stop_fd);
  /// Why nothing can be recorded for now, one sentence; empty: it can.
  const std::string& waits() const { return waits_; }
  /// "coordinator.stop" was asked.
  bool stopping() const { return stopping_; }
  /// Every unfinished sweep of the database goes on, or says why it waits.
  bool restored() const { return restored_; }
  /// After the last turn: gives up what is being read. False where a reader does not come back: the
  /// process must end without waiting for it.
  bool close() { return planner_.stop(); }

 private:
  struct Submission {
    std::string route;  // whom to answer; empty: a sweep of the database going on
    uint64_t request = 0;
    PlanJob job;
    bool continue_equal = false;
    bool confined = false;  // submitted by another key than the local admin's
    store::SweepId resumes = 0;
    store::SweepId results_of = 0;  // asked for, and of which stage ("": all)
    std::string stage = {};
  };
  /// An unfinished sweep of the database whose files are not read yet.
  struct Unread {
    uint64_t job = 0;      // in hand; 0: it waits
    std::string why = {};  // they could not be read last time
    Millis again_at = 0;
  };
  struct WorkerTotals {
    int64_t done = 0;
    Rate rate;
  };

  // loop.cc
  void handle();
  void take(transport::Incoming incoming);
  void take_worker_message(const transport::Incoming& incoming, Message message);
  std::optional<std::string> defect_of(const ShardDone& done);
  std::optional<std::vector<ArrayPlan>> arrays_for(const ShardKey& key);
  void step(Event event);
  void perform(std::vector<Action> actions);
  /// `stands`: an answer that holds whether or not the turn can be recorded.
  void send(const std::string& route, Message message, bool stands = false);
  /// How many went to workers heard in this turn.
  int64_t send_grants();
  void flush();
  void tick();
  void look_at_peers();
  void count_alarms();
  Millis now() const;

  // stages.cc
  void admit(store::SweepId id, experiments::Sweep plan);
  void advance();
  bool bind(LiveSweep& sweep);
  bool bind_as_before(LiveSweep& sweep);
  bool is_whole(const store::StageRow& stage) const;
  bool waits(const ModelSpec& model, const std::vector<TagView>& connected) const;
  std::string tag_for(const experiments::Sweep& plan, const ModelSpec& model,
                      const std::vector<TagView>& connected) const;
  experiments::DeviceMemory memory_of(const std::string& tag,
                                      const std::vector<TagView>& connected) const;
  void advance(LiveSweep& sweep, std::chrono::steady_clock::time_point until);
  void begin(LiveSweep& sweep, LiveStage& stage);
  void plan_slice(LiveSweep& sweep, LiveStage& stage, std::chrono::steady_clock::time_point until);
  void open(LiveSweep& sweep, LiveStage& stage);
  void complete(const StageComplete& notice);
  void out_of_memory(const OutOfMemory& notice);
  void set_stage(LiveStage& stage, const std::string& state, const std::string& reason);
  void stop_stage(LiveSweep& sweep, LiveStage& stage, const std::string& reason);
  void end_if_over(LiveSweep& sweep);
  LiveSweep* live_sweep(store::SweepId id);
  std::pair<LiveSweep*, LiveStage*> live_stage(StageId id);
  store::StageCounts counts(const store::StageRow& row) const;
  store::StageCounts counts(const LiveStage& stage) const;

  // reading.cc
  experiments::AllowedPaths allowed_paths(bool confined) const;
  PlanJob job_of(const store::SweepRow& row);
  void restore();
  void read_again(const store::SweepRow& row);
  void start(Submission submission);
  void take_planned();
  void resumed(store::SweepId id, PlanDone done);
  std::string unread_text(store::SweepId id) const;
  std::vector<Restored::Attempt> awaited_of(const StageOpened& opens);
  bool may_be_wanted(const ShardKey& key) const;
  void release_awaited();
  void forget_awaited(const EndAttempt& ended);
  void submitted(const Submission& submission, PlanDone done);
  void answer_results(const Submission& submission, PlanDone done);

  // requests.cc
  void take_request(const transport::Incoming& incoming, transport::Role role,
                    const Request& request);
  std::string answer(const transport::Incoming& incoming,
                     const Request& request);  // "" : answered later
  std::string info_json() const;
  std::string status(store::SweepId id) const;
  std::vector<WorkerStatus> worker_statuses() const;
  std::string change_sweep(const std::string& verb, const std::string& id);
  void cancel(store::SweepId id);
  void pause(store::SweepId id, bool paused);
  void retry(store::SweepId id);
  std::string results(const transport::Incoming& incoming,
                      const Request& request);  // "": answered later
  std::string results(const store::SweepRow& row, const std::string& stage);
  std::vector<Table> tables_so_far(const LiveSweep& sweep, const std::string& stage) const;
  std::vector<std::string> unable_workers(const LiveSweep& sweep) const;
  std::string create_key(const Request& request);
  std::string revoke_key(const Request& request);
  std::string bench(int64_t n_shards);

  // waiting.cc
  void wait_for_store(const std::string& why, bool stepped);
  void start_over();
  void turn_waiting(int stop_fd);

  // mend.cc
  using Which = std::function<bool(const store::StageRow&)>;
  bool open_again(store::SweepId id, const Which& which);
  void reopen(LiveSweep* sweep, const store::StageRow& row, bool reads);
  bool has_damaged_table(const store::StageRow& row);
  void mend(store::SweepId id);
  std::string mended(store::SweepId id, const store::Damaged& damage);
  int64_t withdraw(const std::string& name, const std::vector<std::string>& workers);
  void alarm(const std::string& text);

  const CoordinatorOptions& options_;
  store::Store& store_;
  transport::Server& server_;
  transport::AllowList& allowed_;
  Log& log_;
  StoreRecords records_;
  Scheduler scheduler_;
  Planner planner_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point received_until_ = started_;  // the last time all was taken

  std::map<store::SweepId, LiveSweep> live_;
  std::map<StageId, store::SweepId> sweep_of_;  // of live stages
  std::map<uint64_t, Submission> submissions_;  // by job number
  uint64_t n_jobs_ = 0;
  std::map<store::SweepId, Unread> unread_;
  /// Leases on disk that an unread sweep may want.
  std::map<ShardKey, std::vector<Restored::Attempt>> awaited_;
  bool started_reading_ = false, restored_ = false, stopping_ = false;

  // Of a turn, in order: sent after its commit, notices handled in the next transaction.
  std::vector<Action> grants_;
  struct Outgoing {
    std::vector<Message> messages;
    std::set<size_t> standing;  // which of them
    size_t bytes = 0;
  };
  std::map<std::string, Outgoing> outbox_;  // by route
  std::vector<Action> notices_;
  std::vector<StageId> broken_;  // their shards are not those that were planned

  std::unordered_map<ShardKey, std::vector<ArrayPlan>> granted_;  // what a lent shard must yield
  std::map<WorkerKey, WorkerTotals> totals_;
  struct Span {
    Millis first_grant = 0, end = 0;  // 0: not yet
  };
  std::map<store::SweepId, Span> spans_;  // of sweeps this process has served
  // From when a worker's message may have come, at the earliest, to when the grant that its room
  // made possible was sent; and what a commit alone took.
  Latency grant_latency_, commit_latency_;
  std::set<WorkerKey> heard_;  // in this turn
  int64_t n_recorded_ = 0;
  Millis ticked_at_ = 0, sampled_at_ = 0;
  std::string key_trouble_;  // said in the log
  int64_t n_shut_out_ = 0;   // likewise
  AlarmLimit alarm_limit_;
  AlarmLimit line_limit_{std::numeric_limits<int64_t>::max()};  // of lines about what they say
  std::string waits_;
  bool waited_ = false;  // since the last turn that recorded something
  Millis tried_at_ = 0;
};

/// What the scheduler of such a coordinator goes by.
Settings settings_of(const CoordinatorOptions& options);
/// {"number", ok, json} to a client.
Message reply_to(uint64_t number, std::string json);
Message refusal_to(uint64_t number, const std::string& error);

}  // namespace headcount::coordinator
