// The coordinator's shell in the simulated world: the real Scheduler on a real Store, driven
// exactly as coordinator/scheduler/scheduler.h asks, and able to die at every write.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"
#include "tests/simulator/laws.h"
#include "tests/simulator/network.h"
#include "tests/simulator/plan.h"
#include "tests/simulator/world.h"

namespace headcount::simulator {

coordinator::Settings scheduler_settings();

/// "w0" of worker 0, and back.
std::string worker_name(int worker);
int worker_number(const std::string& name);

class Coordinator : public coordinator::Records {
 public:
  Coordinator(World& world, const Plan& plan, Network& network);

  void boot();
  void deliver(const std::string& worker, const std::string& connection, Message message);
  void leap(Millis by) { clock_offset_ += by; }
  /// SIGSTOP; SIGCONT so much later.
  void stop(Millis duration);
  /// Dies, and starts again so much later.
  void stay_away(Millis duration);

  // A client's wishes: nothing while the coordinator is down or stopped. True once on disk.
  bool cancel();
  bool pause(bool paused);
  bool retry();
  bool drain(const std::string& worker);

  bool up() const { return scheduler_.has_value(); }
  /// Every sweep has ended, on disk.
  bool finished() const { return finished_; }
  int64_t n_crashes() const { return n_crashes_; }
  Laws& laws() { return laws_; }
  std::string explain() const;

  ShardKey key(coordinator::StageId stage, int64_t index) const override;
  std::vector<coordinator::Place> places(const ShardKey& key) const override;
  std::optional<Digest> recorded(const ShardKey& key, const std::string& tag) const override;
  std::vector<int64_t> attempts(const ShardKey& key, const std::string& worker,
                                const std::string& tag) const override;
  int64_t last_attempt(const ShardKey& key) const override;
  std::vector<coordinator::EndedAttempt> ended(const ShardKey& key) const override;

 private:
  enum class Death { kNone, kBeforeCommit, kAfterCommit, kWhileSending, kDiskFull };
  struct DiesNow {};
  struct Stage {
    const PlannedStage* plan = nullptr;
    const PlannedSweep* sweep = nullptr;
    store::SweepId sweep_id = 0;
    size_t number = 0;
  };

  void submit();
  void submit(const PlannedSweep& sweep);
  void plan_stage(store::StageId id);
  coordinator::StageOpened opened(store::StageId id) const;
  void schedule_turn(Millis delay);
  void turn();
  /// One loop turn. False when the process died or lost its scheduler.
  bool run(const std::vector<coordinator::Event>& events, const std::function<void()>& also);
  void step(coordinator::Event event, std::vector<Step>& steps,
            std::vector<coordinator::Action>& outbox, int& writes_left);
  /// What the shell knows to be wrong with a result.
  static std::string defect_of(const Message& message);
  bool answers() const { return up() && world_.now() >= stopped_until_; }
  void apply(const coordinator::Action& record);
  void perform(const coordinator::Action& send);
  void finish_stages();
  void note_finished();
  void die(Fault fault);
  void restart_after(Millis delay);
  Death draw_death();
  void believe_in_order(coordinator::WorkerMessage& event) const;
  Millis now() const { return world_.now() + clock_offset_; }
  store::SweepRow sweep_row(const PlannedSweep& sweep) const;

  World& world_;
  const Plan& plan_;
  Network& network_;
  Disk disk_;
  Laws laws_;
  std::optional<coordinator::Scheduler> scheduler_;
  std::map<store::StageId, Stage> stages_;
  std::vector<coordinator::Event> inbox_;
  std::vector<coordinator::StageId> complete_;
  uint64_t life_ = 0;  // of the process: what was scheduled in an earlier one does not happen
  std::optional<Millis> turn_at_;
  Millis ticked_at_ = 0;
  Millis clock_offset_ = 0;
  Millis stopped_until_ = 0;
  bool finished_ = false;
  int64_t n_crashes_ = 0;
};

}  // namespace headcount::simulator
