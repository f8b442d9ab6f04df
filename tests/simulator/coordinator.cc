#include "tests/simulator/coordinator.h"

#include <algorithm>

#include "schemas/error.h"

namespace headcount::simulator {

using coordinator::Action;
using coordinator::Event;

namespace {
constexpr Millis kTickMs = 250;
}

coordinator::Settings scheduler_settings() {
  coordinator::Settings settings;
  settings.version = "1";
  settings.stall_at_least_ms = 12'000;
  settings.max_losses = 8;
  return settings;
}

std::string worker_name(int worker) { return "w" + std::to_string(worker); }
int worker_number(const std::string& name) { return std::stoi(name.substr(1)); }

Coordinator::Coordinator(World& world, const Plan& plan, Network& network)
    : world_(world),
      plan_(plan),
      network_(network),
      disk_(world),
      laws_(world, plan, disk_, scheduler_settings()) {
  submit();
}

void Coordinator::submit() {
  disk_.store.transaction([&] {
    submit(plan_.main);
    submit(plan_.cancelled);
    submit(plan_.noop);
  });
}

void Coordinator::submit(const PlannedSweep& sweep) {
  std::vector<store::StageRow> rows;
  for (const PlannedStage& stage : sweep.stages) {
    store::StageRow row;
    row.number = static_cast<int>(rows.size());
    row.name = stage.name;
    row.kind = "noop";
    row.state = "waiting";
    row.n_shards = static_cast<int64_t>(stage.keys.size());
    rows.push_back(std::move(row));
  }
  store::SweepRow row;
  row.name = sweep.name;
  row.state = "running";
  const store::SweepId id = disk_.store.add_sweep(row, rows);
  for (const store::StageRow& stage : disk_.store.stages(id)) {
    const auto number = static_cast<size_t>(stage.number);
    stages_[stage.id] = {&sweep.stages[number], &sweep, id, number};
    laws_.submitted(stage.id, sweep.stages[number]);
    if (number == 0) plan_stage(stage.id);
  }
}

void Coordinator::plan_stage(store::StageId id) {
  const PlannedStage& stage = *stages_.at(id).plan;
  for (const coordinator::Range& range : stage.ranges) {
    const auto at = stage.keys.begin();
    disk_.store.add_shards(id, range.first, {at + range.first, at + range.end}, range.tag);
  }
  disk_.store.set_stage_state(id, "open", "");
}

coordinator::StageOpened Coordinator::opened(store::StageId id) const {
  const Stage& stage = stages_.at(id);
  return {.stage = id,
          .sweep = stage.sweep_id,
          .priority = 0,
          .n_shards = static_cast<int64_t>(stage.plan->keys.size()),
          .ranges = stage.plan->ranges,
          .done = disk_.store.done(id),
          .quarantined = disk_.store.quarantined(id),
          .paused = sweep_row(*stage.sweep).state == "paused"};
}

void Coordinator::boot() {
  world_.trace("co", "starts");
  ++life_;
  inbox_.clear();
  complete_.clear();
  turn_at_.reset();
  laws_.restarted();
  note_finished();
  scheduler_.emplace(scheduler_settings(), *this);
  std::vector<Event> events;
  for (const auto& [id, stage] : stages_) {
    const store::StageRow row = disk_.store.stages(stage.sweep_id)[stage.number];
    if (row.state != "open") continue;
    events.push_back(opened(id));
  }
  coordinator::Restored restored;
  for (const store::AttemptRow& row : disk_.store.open_attempts()) {
    restored.attempts.push_back({row.key, row.attempt, row.worker, row.tag});
  }
  events.push_back(std::move(restored));
  if (run(events, [] {})) schedule_turn(1);
}

void Coordinator::deliver(const std::string& worker, const std::string& connection,
                          Message message) {
  if (!up()) return;
  world_.trace("co", "<- " + worker + " " + describe(message));
  std::string defect = defect_of(message);
  inbox_.push_back(
      coordinator::WorkerMessage{worker, connection, std::move(message), std::move(defect)});
  schedule_turn(world_.random.between(0, 5));
}

std::string Coordinator::defect_of(const Message& message) {
  const auto* done = std::get_if<ShardDone>(&message);
  return done != nullptr && has_defect(*done) ? "it is no result" : "";
}

void Coordinator::schedule_turn(Millis delay) {
  const Millis at = std::max(world_.now() + delay, stopped_until_);
  if (turn_at_ && *turn_at_ <= at) return;
  turn_at_ = at;
  world_.after(at - world_.now(), [this, at, life = life_] {
    if (life == life_ && up() && turn_at_ == at) turn();
  });
}

void Coordinator::stop(Millis duration) {
  if (!answers()) return;
  world_.count(Fault::kCoordinatorStopped);
  world_.trace("co", "is stopped");
  stopped_until_ = world_.now() + duration;
}

void Coordinator::turn() {
  turn_at_.reset();
  if (!answers()) return schedule_turn(0);
  std::vector<Event> events = std::exchange(inbox_, {});
  if (world_.now() - ticked_at_ >= kTickMs) {
    ticked_at_ = world_.now();
    events.push_back(coordinator::Tick{});
  }
  const uint64_t life = life_;
  if (!run(events, [] {})) return;
  if (!complete_.empty()) finish_stages();
  if (up() && life == life_) schedule_turn(kTickMs);
}

Coordinator::Death Coordinator::draw_death() {
  if (!world_.strikes(110)) return Death::kNone;
  constexpr Death kDeaths[] = {Death::kBeforeCommit, Death::kAfterCommit, Death::kWhileSending,
                               Death::kDiskFull};
  return kDeaths[world_.random.below(4)];
}

bool Coordinator::run(const std::vector<Event>& events, const std::function<void()>& also) {
  const Death death = draw_death();
  // Which write of the turn is the last; where it has fewer, the process dies just before the
  // commit.
  int writes_left = death == Death::kBeforeCommit ? static_cast<int>(world_.random.below(8)) : -1;
  std::vector<Step> steps;
  std::vector<Action> outbox;
  try {
    disk_.transaction([&] {
      also();
      for (const Event& event : events) step(event, steps, outbox, writes_left);
      if (death == Death::kBeforeCommit) throw DiesNow{};
      if (death == Death::kDiskFull) throw Error("the disk is full");
    });
  } catch (const DiesNow&) {
    die(Fault::kCrashBeforeCommit);
    return false;
  } catch (const Error&) {
    if (death != Death::kDiskFull) throw;
    // The scheduler has run ahead of the disk: a new one is made from it.
    world_.count(Fault::kDiskFull);
    world_.trace("co", "disk full");
    boot();
    return false;
  }
  laws_.committed(steps);
  scheduler_->check_invariants();
  if (death == Death::kAfterCommit) {
    die(Fault::kCrashAfterCommit);
    return false;
  }
  const size_t n_sent =
      death == Death::kWhileSending
          ? static_cast<size_t>(world_.random.below(static_cast<int64_t>(outbox.size()) + 1))
          : outbox.size();
  for (size_t i = 0; i < n_sent; ++i) perform(outbox[i]);
  if (death == Death::kWhileSending) {
    die(Fault::kCrashWhileSending);
    return false;
  }
  return true;
}

void Coordinator::step(Event event, std::vector<Step>& steps, std::vector<Action>& outbox,
                       int& writes_left) {
  auto* message = std::get_if<coordinator::WorkerMessage>(&event);
  if (message != nullptr && world_.bug == Bug::kReorderedMessages) believe_in_order(*message);
  std::vector<Action> actions = scheduler_->step(event, now());
  for (const Action& action : actions) {
    if (coordinator::is_record(action)) {
      if (writes_left-- == 0) throw DiesNow{};
      apply(action);
      continue;
    }
    const auto* send = std::get_if<coordinator::Send>(&action);
    const bool too_early = (world_.bug == Bug::kAcknowledgeBeforeCommit && send != nullptr &&
                            std::holds_alternative<Ack>(send->message)) ||
                           (world_.bug == Bug::kGrantBeforeRecord &&
                            std::holds_alternative<coordinator::SendGrant>(action));
    if (too_early) {
      perform(action);
    } else {
      outbox.push_back(action);
    }
  }
  steps.push_back({.event = std::move(event), .at = now(), .actions = std::move(actions)});
}

void Coordinator::believe_in_order(coordinator::WorkerMessage& event) const {
  auto* failed = std::get_if<ShardFailed>(&event.message);
  if (failed == nullptr) return;
  for (const coordinator::LeaseView& lease : scheduler_->leases()) {
    if (lease.key == failed->key) failed->attempt = lease.attempt;
  }
}

void Coordinator::apply(const Action& record) {
  store::Store& store = disk_.store;
  if (const auto* grant = std::get_if<coordinator::RecordGrant>(&record)) {
    world_.trace("co", "records grant " + short_name(grant->key) + "/" +
                           std::to_string(grant->attempt) + " to " + grant->worker);
    store.add_attempt(grant->key, grant->attempt, grant->worker, grant->tag);
  } else if (const auto* result = std::get_if<coordinator::RecordResult>(&record)) {
    world_.trace("co", "records result " + short_name(result->done.key));
    disk_.record(*result);
  } else if (const auto* end = std::get_if<coordinator::EndAttempt>(&record)) {
    const std::string outcome(to_string(end->outcome));
    world_.trace("co", "records end " + short_name(end->key) + "/" + std::to_string(end->attempt) +
                           " " + outcome);
    store.end_attempt({.key = end->key,
                       .attempt = end->attempt,
                       .outcome = outcome,
                       .message = end->message,
                       .device = end->device,
                       .seconds = end->seconds,
                       .suspect = end->suspect});
  } else if (const auto* bad = std::get_if<coordinator::Quarantine>(&record)) {
    world_.trace("co", "records quarantine " + short_name(bad->key));
    laws_.about_to_quarantine(bad->key, *scheduler_);
    store.quarantine(bad->key, bad->evidence);
  } else if (const auto* forgive = std::get_if<coordinator::Forgive>(&record)) {
    world_.trace("co", "records forgive " + short_name(forgive->key));
    store.release_quarantine(forgive->key);
  } else if (const auto* alarm = std::get_if<coordinator::Alarm>(&record)) {
    world_.trace("co", "records alarm " + alarm->message);
    store.alarm(alarm->message);
  }
}

void Coordinator::perform(const Action& action) {
  if (const auto* send = std::get_if<coordinator::Send>(&action)) {
    world_.trace("co", "-> " + send->worker + " " + describe(send->message));
    network_.to_worker(worker_number(send->worker), send->connection, send->message);
  } else if (const auto* grant = std::get_if<coordinator::SendGrant>(&action)) {
    Grant message;
    message.key = grant->key;
    message.attempt = grant->attempt;
    message.tag = grant->tag;
    message.stall_ms = grant->stall_ms;
    world_.trace("co", "-> " + grant->worker + " " + describe(message));
    network_.to_worker(worker_number(grant->worker), grant->connection, message);
  } else if (const auto* complete = std::get_if<coordinator::StageComplete>(&action)) {
    complete_.push_back(complete->stage);
  }
}

void Coordinator::finish_stages() {
  for (const coordinator::StageId id : std::exchange(complete_, {})) {
    const Stage& stage = stages_.at(id);
    laws_.stage_finished(*stage.plan);
    const auto next = stages_.find(id + 1);
    const bool has_next = next != stages_.end() && next->second.sweep_id == stage.sweep_id;
    world_.trace("co", "finishes stage " + stage.sweep->name + "." + stage.plan->name);
    const bool committed = run({}, [&] {
      disk_.store.set_stage_state(id, "finished", "");
      if (has_next) {
        plan_stage(next->first);
      } else {
        disk_.store.set_sweep_state(stage.sweep_id, "finished");
      }
    });
    if (!committed) return;
    if (has_next && !run({opened(next->first)}, [] {})) return;
  }
  note_finished();
}

void Coordinator::note_finished() {
  finished_ = true;
  for (const store::SweepRow& sweep : disk_.store.sweeps()) {
    finished_ = finished_ && (sweep.state == "finished" || sweep.state == "cancelled");
  }
}

void Coordinator::die(Fault fault) {
  world_.count(fault);
  world_.trace("co", "dies: " + std::string(to_string(fault)));
  restart_after(world_.random.between(100, 8000));
}

void Coordinator::stay_away(Millis duration) {
  if (!up()) return;
  world_.count(Fault::kCoordinatorAway);
  world_.trace("co", "is stopped for minutes");
  restart_after(duration);
}

void Coordinator::restart_after(Millis delay) {
  ++n_crashes_;
  ++life_;
  scheduler_.reset();
  inbox_.clear();
  complete_.clear();
  stopped_until_ = 0;
  clock_offset_ = world_.random.between(0, 1'000'000);
  network_.reconnect_all();
  world_.after(delay, [this] { boot(); });
}

store::SweepRow Coordinator::sweep_row(const PlannedSweep& sweep) const {
  for (store::SweepRow& row : disk_.store.sweeps()) {
    if (row.name == sweep.name) return row;
  }
  HC_CHECK(false);
}

bool Coordinator::cancel() {
  if (!answers()) return false;
  const store::SweepRow row = sweep_row(plan_.cancelled);
  if (row.state == "finished" || row.state == "cancelled") return true;
  std::vector<Event> events;
  for (const auto& [id, stage] : stages_) {
    if (stage.sweep_id == row.id) events.push_back(coordinator::StageClosed{id});
  }
  world_.trace("co", "cancels a sweep");
  if (!run(events, [&] {
        disk_.store.set_sweep_state(row.id, "cancelled");
        for (const store::StageRow& stage : disk_.store.stages(row.id)) {
          disk_.store.set_stage_state(stage.id, "cancelled", "");
        }
      })) {
    return false;
  }
  std::erase_if(complete_, [&](auto id) { return stages_.at(id).sweep_id == row.id; });
  if (!complete_.empty()) finish_stages();
  note_finished();
  return true;
}

bool Coordinator::pause(bool paused) {
  if (!answers()) return false;
  const store::SweepRow row = sweep_row(plan_.main);
  if (row.state == "finished") return true;
  std::vector<Event> events;
  for (const auto& [id, stage] : stages_) {
    if (stage.sweep_id != row.id || !scheduler_->stage(id)) continue;
    if (paused) {
      events.push_back(coordinator::StagePaused{id});
    } else {
      events.push_back(coordinator::StageResumed{id});
    }
  }
  return run(events, [&] { disk_.store.set_sweep_state(row.id, paused ? "paused" : "running"); });
}

bool Coordinator::retry() {
  if (!answers()) return false;
  std::vector<Event> events;
  for (const auto& [id, stage] : stages_) {
    if (scheduler_->stage(id)) events.push_back(coordinator::Retry{id});
  }
  return run(events, [] {});
}

bool Coordinator::drain(const std::string& worker) {
  if (!answers()) return false;
  world_.count(Fault::kWorkerDrained);
  return run({coordinator::Drain{worker}}, [] {});
}

std::string Coordinator::explain() const {
  if (!up()) return "the coordinator is down";
  std::string text;
  for (const coordinator::StageView& stage : scheduler_->stages()) {
    const Stage& known = stages_.at(stage.stage);
    text += known.sweep->name + "." + known.plan->name + ": " + std::to_string(stage.n_done) +
            " done, " + std::to_string(stage.n_queued) + " queued, " +
            std::to_string(stage.n_running) + " running, " + std::to_string(stage.n_quarantined) +
            " quarantined of " + std::to_string(stage.n_shards) +
            (stage.paused ? " (paused)" : "") + "\n";
    for (const std::string& reason : scheduler_->explain(stage.stage)) text += "  " + reason + "\n";
  }
  return text;
}

ShardKey Coordinator::key(coordinator::StageId stage, int64_t index) const {
  return stages_.at(stage).plan->keys[static_cast<size_t>(index)];
}

std::vector<coordinator::Place> Coordinator::places(const ShardKey& key) const {
  std::vector<coordinator::Place> places;
  for (const auto& [stage, index] : disk_.store.places(key)) places.push_back({stage, index});
  return places;
}

std::optional<Digest> Coordinator::recorded(const ShardKey& key, const std::string& tag) const {
  return disk_.recorded(key, tag);
}

std::vector<int64_t> Coordinator::attempts(const ShardKey& key, const std::string& worker,
                                           const std::string& tag) const {
  return disk_.store.attempts(key, worker, tag);
}

int64_t Coordinator::last_attempt(const ShardKey& key) const {
  return disk_.store.last_attempt(key);
}

std::vector<coordinator::EndedAttempt> Coordinator::ended(const ShardKey& key) const {
  std::vector<coordinator::EndedAttempt> ended;
  for (const store::AttemptRow& row : disk_.store.ended_attempts(key)) {
    ended.push_back({.attempt = row.attempt,
                     .worker = row.worker,
                     .tag = row.tag,
                     .outcome = coordinator::outcome_from_string(row.outcome),
                     .message = row.message,
                     .suspect = row.suspect});
  }
  return ended;
}

}  // namespace headcount::simulator
