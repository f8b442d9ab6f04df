#include "coordinator/scheduler/scheduler.h"

#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

Scheduler::Scheduler(Settings settings, const Records& records)
    : machine_(std::make_unique<Machine>(std::move(settings), records)) {}
Scheduler::Scheduler(Scheduler&&) noexcept = default;
Scheduler& Scheduler::operator=(Scheduler&&) noexcept = default;
Scheduler::~Scheduler() = default;

std::vector<Action> Scheduler::step(Event event, Millis now) {
  return machine_->step(std::move(event), now);
}
std::vector<WorkerView> Scheduler::workers() const { return machine_->worker_views(); }
std::vector<StageView> Scheduler::stages() const { return machine_->stage_views(); }
std::vector<LeaseView> Scheduler::leases() const { return machine_->lease_views(); }
std::vector<TagView> Scheduler::tags() const { return machine_->tags(); }
void Scheduler::check_invariants() const { machine_->check_invariants(); }

std::optional<StageView> Scheduler::stage(StageId id) const {
  const StageState* found = std::as_const(*machine_).find_stage(id);
  if (found == nullptr) return std::nullopt;
  return machine_->view(*found);
}

std::vector<std::string> Scheduler::explain(StageId id) const {
  const StageState* found = std::as_const(*machine_).find_stage(id);
  if (found == nullptr) return {};
  return machine_->explain(*found);
}

Machine::Machine(Settings settings, const Records& records)
    : settings_(std::move(settings)), records_(records) {}

std::vector<Action> Machine::step(Event event, Millis now) {
  ++step_;
  recorded_now_.reset();
  if (!clock_started_) now_ = now;
  clock_started_ = true;
  // A process that was suspended (or a machine whose clock leapt) heard nobody meanwhile: that is
  // no worker's fault.
  const bool leapt = now - now_ > settings_.silence_ms / 2;
  now_ = std::max(now_, now);
  if (leapt) rearm();
  std::visit([this](auto& e) { on(e); }, event);
  complete_stages();
  fill();
  complete_stages();  // a shard wanted now may turn out to be recorded already
  return std::exchange(actions_, {});
}

void Machine::rearm() {
  for (auto& [key, worker] : workers_) {
    worker.heard_at = now_;
    worker.progressed_at = now_;
    for (const ShardKey& held : worker.held) leases_.at(held).progressed_at = now_;
  }
}

void Machine::on(StageOpened& event) {
  HC_CHECK(!stages_.contains(event.stage));
  StageState stage;
  stage.id = event.stage;
  stage.n_shards = event.n_shards;
  stage.paused = event.paused;
  stage.done.resize(static_cast<size_t>(event.n_shards));
  int64_t covered = 0;
  for (const Range& range : event.ranges) {
    HC_CHECK(range.first == covered && range.end >= range.first);
    covered = range.end;
    RangeState state;
    state.first = state.next = range.first;
    state.end = range.end;
    state.tag = range.tag;
    stage.ranges.push_back(std::move(state));
  }
  HC_CHECK(covered == event.n_shards);
  for (const int64_t index : event.done) {
    HC_CHECK(0 <= index && index < event.n_shards);
    if (stage.done[static_cast<size_t>(index)]) continue;
    stage.done[static_cast<size_t>(index)] = true;
    ++stage.n_done;
  }
  for (const int64_t index : event.quarantined) {
    HC_CHECK(0 <= index && index < event.n_shards);
    if (stage.done[static_cast<size_t>(index)]) continue;
    stage.quarantined.insert(index);
    quarantined_.insert(records_.key(event.stage, index));
  }
  StageState& opened = stages_.emplace(event.stage, std::move(stage)).first->second;
  join(event, opened);
  work_appeared_ = may_be_complete_ = true;
  Restored restored{.attempts = std::move(event.attempts)};
  on(restored);
  StagePaused pause{.stage = event.stage};
  if (event.paused) on(pause);
}

void Machine::on(StageClosed& event) {
  StageState* stage = find_stage(event.stage);
  if (stage == nullptr) return;
  for (auto& [worker_key, worker] : workers_) {
    const std::vector<ShardKey> held(worker.held.begin(), worker.held.end());
    for (const ShardKey& key : held) {
      Lease& lease = leases_.at(key);
      const std::vector<Place> places = lease.places;
      const auto here = [&](const Place& place) { return place.stage == event.stage; };
      if (std::none_of(places.begin(), places.end(), here)) continue;
      if (std::all_of(places.begin(), places.end(), here)) {
        for (const Place& place : wanted_places(key)) {
          if (here(place)) continue;
          detach_from_retry(place);
          attach(lease, place);
        }
      }
      if (std::all_of(lease.places.begin(), lease.places.end(), here)) {
        revoke(key, end(key, Outcome::kRevoked, "its stage was closed"));
        continue;
      }
      for (const Place& place : places) {
        if (here(place)) detach(lease, place);
      }
    }
  }
  forget_quarantined(*stage);
  leave(*stage);
  stages_.erase(event.stage);
  work_appeared_ = true;
}

void Machine::on(StagePaused& event) {
  StageState* stage = find_stage(event.stage);
  if (stage == nullptr) return;
  stage->paused = true;
  const auto paused = [this](const Place& place) { return find_stage(place.stage)->paused; };
  for (auto& [worker_key, worker] : workers_) {
    for (const ShardKey& key : worker.held) {
      Lease& lease = leases_.at(key);
      if (std::all_of(lease.places.begin(), lease.places.end(), paused)) recall(key, lease);
    }
  }
}

void Machine::on(StageResumed& event) {
  StageState* stage = find_stage(event.stage);
  if (stage == nullptr) return;
  stage->paused = false;
  work_appeared_ = true;
}

void Machine::on(Retry& event) {
  StageState* stage = find_stage(event.stage);
  if (stage == nullptr) return;
  std::set<ShardKey> keys;
  for (const int64_t index : stage->quarantined) keys.insert(records_.key(stage->id, index));
  for (const ShardKey& key : keys) forgive(key);
}

void Machine::on(RetryShards& event) {
  for (const ShardKey& key : event.keys) forgive(key);
}

void Machine::on(Withdrawn& event) {
  for (const ShardKey& key : event.keys) {
    for (const Place& place : records_.places(key)) {
      StageState* stage = find_stage(place.stage);
      if (stage == nullptr || !stage->done[static_cast<size_t>(place.index)]) continue;
      RangeState& range = range_of(*stage, place.index);
      if (records_.recorded(key, range.tag)) continue;
      stage->done[static_cast<size_t>(place.index)] = false;
      --stage->n_done;
      range.retry.try_emplace(place.index);
      work_appeared_ = true;
    }
  }
}

void Machine::on(Restored& event) {
  for (const Restored::Attempt& attempt : event.attempts) {
    // Two open attempts at one shard cannot be; were they found, the later one counts.
    if (leases_.contains(attempt.key)) {
      requeue(end(attempt.key, Outcome::kLost, "another attempt is newer"), {});
    }
    const std::vector<Place> places = wanted_places(attempt.key);
    if (places.empty()) {
      act(EndAttempt{.key = attempt.key,
                     .attempt = attempt.attempt,
                     .outcome = Outcome::kRevoked,
                     .message = "no open stage wants it any more",
                     .device = ""});
      continue;
    }
    WorkerState& worker = workers_[attempt.worker];
    worker.key = attempt.worker;
    worker.heard_at = worker.progressed_at = now_;
    take_up(attempt.key, attempt.attempt, attempt.tag, places, worker);
  }
}

void Machine::on(WorkerMessage& event) {
  WorkerState* worker = find_worker(event.worker);
  if (worker != nullptr && worker->connected && worker->connection == event.connection) {
    worker->heard_at = now_;
  }
  if (const auto* hello_message = std::get_if<Hello>(&event.message)) {
    hello(event, *hello_message);
  } else if (const auto* beat = std::get_if<Heartbeat>(&event.message)) {
    heartbeat(event, *beat);
  } else if (auto* done = std::get_if<ShardDone>(&event.message)) {
    shard_done(event, std::move(*done));
  } else if (const auto* failed = std::get_if<ShardFailed>(&event.message)) {
    shard_failed(event, *failed);
  } else if (const auto* given = std::get_if<GiveBack>(&event.message)) {
    give_back(event, *given);
  }
  // Everything else is no worker's to say: not answered.
}

void Machine::on(WorkerGone& event) { worker_gone(event.worker, "its worker was disconnected"); }

void Machine::on(Drain& event) {
  WorkerState* worker = find_worker(event.worker);
  if (worker == nullptr || !worker->connected) return;
  worker->drain_ordered = true;
  send(*worker, DrainOrder{});
}

void Machine::on(Rearm&) { rearm(); }

void Machine::on(Tick&) {
  std::vector<WorkerKey> silent;
  for (auto& [key, worker] : workers_) {
    // One that held leases before a restart has not heard of it yet.
    const Millis patience = worker.connected ? settings_.silence_ms : settings_.restored_ms;
    if (now_ - worker.heard_at > patience) silent.push_back(key);
  }
  for (const WorkerKey& key : silent) worker_gone(key, "its worker fell silent");
  for (auto& [key, worker] : workers_) expire(worker);
  work_appeared_ = true;
  fill();
  recall_for_idle();
}

void Machine::complete_stages() {
  if (!std::exchange(may_be_complete_, false)) return;
  for (auto at = stages_.begin(); at != stages_.end();) {
    const StageState& stage = at->second;
    if (!stage.complete()) {
      ++at;
      continue;
    }
    act(StageComplete{.stage = stage.id,
                      .n_missing = static_cast<int64_t>(stage.quarantined.size())});
    forget_quarantined(stage);
    leave(stage);
    at = stages_.erase(at);
  }
}

bool Machine::recorded(const ShardKey& key, const RangeState& range) const {
  const bool now =
      recorded_now_ && recorded_now_->first == key && satisfies(recorded_now_->second, range);
  return now || records_.recorded(key, range.tag);
}

RangeState& Machine::range_of(StageState& stage, int64_t index) {
  return const_cast<RangeState&>(std::as_const(*this).range_of(std::as_const(stage), index));
}

const RangeState& Machine::range_of(const StageState& stage, int64_t index) const {
  const auto after = [](int64_t i, const RangeState& range) { return i < range.end; };
  const auto found = std::upper_bound(stage.ranges.begin(), stage.ranges.end(), index, after);
  HC_CHECK(found != stage.ranges.end());
  return *found;
}

const StageState* Machine::find_stage(StageId stage) const {
  const auto found = stages_.find(stage);
  return found == stages_.end() ? nullptr : &found->second;
}

StageState* Machine::find_stage(StageId stage) {
  return const_cast<StageState*>(std::as_const(*this).find_stage(stage));
}

WorkerState* Machine::find_worker(const WorkerKey& worker) {
  const auto found = workers_.find(worker);
  return found == workers_.end() ? nullptr : &found->second;
}

void Machine::send(const WorkerState& worker, Message message) {
  act(Send{worker.key, worker.connection, std::move(message)});
}

}  // namespace headcount::coordinator
