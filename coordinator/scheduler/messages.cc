// What workers say: who they are, what they hold, what became of it.
#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

void Machine::hello(const WorkerMessage& event, const Hello& message) {
  const auto refuse = [&](std::string reason) {
    act(Send{event.worker, event.connection, Refused{.reason = std::move(reason)}});
  };
  if (message.version != settings_.version) {
    refuse("this worker is headcount " + message.version + ", the coordinator is headcount " +
           settings_.version + ": install the same version on both");
    return;
  }
  WorkerState& worker = workers_[event.worker];
  if (worker.connected && message.incarnation < worker.incarnation) {
    refuse("a daemon started later uses the same key file: give each worker a key of its own");
    return;
  }
  if (worker.connected && worker.incarnation < message.incarnation &&
      worker.connection != event.connection) {
    send(worker, Refused{.reason = "a daemon started later uses the same key file"});
  }
  const bool started_anew = worker.incarnation != 0 && worker.incarnation < message.incarnation;
  worker.key = event.worker;
  worker.connection = event.connection;
  worker.heard_at = now_;
  worker.host = message.host;
  introduce(worker, message.runners);
  if (started_anew) {
    // Only results survive the daemon: what it does not list is gone, and what ran is the suspect.
    std::set<ShardKey> kept;
    for (const Held& held : message.held) kept.insert(held.key);
    worker.connected = false;
    lose(worker, kept, "its worker was started anew");
  }
  if (!worker.connected || started_anew) {
    worker.draining = worker.drain_ordered = false;
    // It may find its models now.
    for (auto& [id, stage] : stages_) {
      for (RangeState& range : stage.ranges) range.refused_by.erase(event.worker);
    }
  }
  worker.incarnation = message.incarnation;
  worker.connected = true;
  send(worker, Welcome{.version = settings_.version, .heartbeat_ms = settings_.heartbeat_ms});
  reconcile(worker, message.held);
  work_appeared_ = true;
}

void Machine::heartbeat(const WorkerMessage& event, const Heartbeat& message) {
  WorkerState* worker = find_worker(event.worker);
  if (worker == nullptr || !worker->connected || worker->connection != event.connection ||
      worker->incarnation != message.incarnation) {
    act(Send{event.worker, event.connection, Reintroduce{}});
    return;
  }
  introduce(*worker, message.runners);
  worker->draining = message.draining;
  if (worker->drain_ordered && !message.draining) send(*worker, DrainOrder{});
  reconcile(*worker, message.held);
}

void Machine::introduce(WorkerState& worker, const std::vector<RunnerInfo>& runners) {
  std::map<TagId, int64_t> capacity;
  capacity[kNoop] = kRunner;  // done by the daemon itself
  for (const RunnerInfo& runner : runners) {
    if (!runner.tag.empty()) capacity[intern(runner.tag)] += kRunner;
  }
  for (auto& [tag, room] : worker.rooms) {
    if (!capacity.contains(tag) && std::exchange(room.capacity, 0) != 0) work_appeared_ = true;
  }
  for (const auto& [tag, size] : capacity) {
    if (std::exchange(worker.rooms[tag].capacity, size) != size) work_appeared_ = true;
  }
  worker.runners = runners;
}

void Machine::reconcile(WorkerState& worker, const std::vector<Held>& held) {
  for (const Held& item : held) held_by(worker, item);
  // A grant it lacks is sent again, once it has had time to arrive.
  const std::vector<ShardKey> leased(worker.held.begin(), worker.held.end());
  for (const ShardKey& key : leased) {
    Lease& lease = leases_.at(key);
    if (lease.seen == step_ || now_ - lease.sent_at < 2 * settings_.heartbeat_ms) continue;
    send_grant(key, lease, worker);
  }
}

void Machine::held_by(WorkerState& worker, const Held& held) {
  const auto found = leases_.find(held.key);
  if (found != leases_.end() && found->second.worker == worker.key) {
    Lease& lease = found->second;
    if (held.attempt == lease.attempt) update(worker, lease, held);
    // Another attempt: the grant of the newer one is on its way, or is sent again.
    return;
  }
  // A finished one is left alone: its result is on its way, and late results count.
  if (held.state == HeldState::kDone || adopt(worker, held)) return;
  send(worker, Revoke{.key = held.key, .attempt = held.attempt});
}

bool Machine::adopt(WorkerState& worker, const Held& held) {
  if (leases_.contains(held.key) || quarantined_.contains(held.key)) return false;
  // Only what was given up unheard goes on: an attempt the worker itself ended is listed by an old
  // heartbeat.
  const std::vector<EndedAttempt> ended = records_.ended(held.key);
  if (ended.empty() || ended.back().attempt != held.attempt || ended.back().worker != worker.key ||
      records_.last_attempt(held.key) != held.attempt) {
    return false;
  }
  const Outcome outcome = ended.back().outcome;
  if (outcome != Outcome::kLost && outcome != Outcome::kLostRunning &&
      outcome != Outcome::kExpired) {
    return false;
  }
  const std::vector<Place> places = wanted_places(held.key);
  const bool fits = std::any_of(places.begin(), places.end(), [&](const Place& place) {
    const StageState& stage = *find_stage(place.stage);
    return !stage.paused && able(worker, range_of(stage, place.index));
  });
  if (!fits) return false;
  take_up(held.key, held.attempt, places, worker);
  update(worker, leases_.at(held.key), held);
  act(RecordGrant{.key = held.key, .attempt = held.attempt, .worker = worker.key});
  return true;
}

void Machine::update(WorkerState& worker, Lease& lease, const Held& held) {
  lease.seen = step_;
  // An old heartbeat arriving late takes nothing back.
  if (held.state < lease.state) return;
  if (held.state > lease.state || held.progress > lease.progress) {
    lease.progressed_at = worker.progressed_at = now_;
    lease.state = held.state;
    lease.progress = std::max(lease.progress, held.progress);
  }
}

void Machine::shard_done(const WorkerMessage& event, ShardDone message) {
  const ShardKey key = message.key;
  const auto found = leases_.find(key);
  const bool own = found != leases_.end() && found->second.worker == event.worker;
  if (!own && !records_.was_granted(key, event.worker)) {
    act(Alarm{"worker " + event.worker + " sent a result of shard " + to_hex(key) +
              ", which it was never granted"});
    forget_result(event, message);
    return;
  }
  if (!event.defect.empty()) {
    forget_result(event, message);
    if (own && found->second.attempt == message.attempt) {
      fail(key, Outcome::kException, "its result is not valid: " + event.defect, message.device);
    }
    return;
  }
  const TagId tag = intern(message.tag);
  const std::optional<Digest> recorded = records_.recorded(key, message.tag);
  const Ack ack{.key = key};
  const int64_t attempt = message.attempt;
  const std::string device = message.device;
  const double seconds = message.seconds;
  if (!recorded || *recorded != message.hash) {
    act(RecordResult{.worker = event.worker, .done = std::move(message)});
  }
  if (own && found->second.attempt == attempt) {
    const Lease lease = end(key, Outcome::kDone, "", device, seconds);
    WorkerState& worker = workers_.at(lease.worker);
    worker.progressed_at = now_;
    for (const Place& place : lease.places) {
      StageState& stage = *find_stage(place.stage);
      RangeState& range = range_of(stage, place.index);
      if (satisfies(tag, range.tag)) {
        range.durations.add(seconds);
        mark_done(stage, place.index);
      } else {
        range.retry.try_emplace(place.index);
        work_appeared_ = true;
      }
    }
    if (quarantined_.contains(key)) settle_recorded(key, tag);
  } else {
    if (!recorded) {
      act(EndAttempt{.key = key,
                     .attempt = attempt,
                     .outcome = Outcome::kLate,
                     .message = "",
                     .device = device,
                     .seconds = seconds});
    }
    settle_recorded(key, tag);
  }
  act(Send{event.worker, event.connection, ack});
}

void Machine::forget_result(const WorkerMessage& event, const ShardDone& message) {
  act(Send{event.worker, event.connection, Revoke{.key = message.key, .attempt = message.attempt}});
}

void Machine::shard_failed(const WorkerMessage& event, const ShardFailed& message) {
  const auto found = leases_.find(message.key);
  // Only the attempt that is lent counts: anything else was judged when its lease ended.
  if (found == leases_.end() || found->second.worker != event.worker ||
      found->second.attempt != message.attempt) {
    return;
  }
  const Outcome outcome = outcome_of(message.cause);
  if (outcome == Outcome::kModelRefused) {
    const Lease lease = end(message.key, outcome, message.message, message.device);
    for (const Place& place : lease.places) {
      range_of(*find_stage(place.stage), place.index).refused_by.insert(event.worker);
    }
    requeue(lease, {});
    return;
  }
  if (outcome == Outcome::kOutOfMemory) {
    const Place& place = found->second.places.front();
    act(OutOfMemory{.stage = place.stage, .index = place.index, .key = message.key});
  }
  fail(message.key, outcome, message.message, message.device);
}

void Machine::give_back(const WorkerMessage& event, const GiveBack& message) {
  for (const auto& [key, attempt] : message.shards) {
    const auto found = leases_.find(key);
    if (found == leases_.end() || found->second.worker != event.worker ||
        found->second.attempt != attempt) {
      continue;
    }
    requeue(end(key, Outcome::kGivenBack), {.avoid = event.worker});
  }
}

}  // namespace headcount::coordinator
