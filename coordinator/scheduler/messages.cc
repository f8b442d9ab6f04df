// Part of coordinator/scheduler/machine.h.
// What workers say: who they are, what they hold, what became of it.
#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

namespace {

/// A shard of a kind nobody has finished yet may take a hundred times as long: eleven days.
constexpr double kUnmeasuredSeconds = 1e4;

/// What a worker says a shard took, at most a minute more than it had it (of the attempt before a
/// restart only that much is known).
double believable_s(double said, Millis had) {
  return said >= 0 ? std::min(said, static_cast<double>(had) / 1000 + 60) : 0;
}

bool given_up_unheard(Outcome outcome) {
  return outcome == Outcome::kLost || outcome == Outcome::kLostRunning ||
         outcome == Outcome::kExpired;
}

}  // namespace

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
    worker.since = now_;
    worker.problem.clear();
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
  if (std::exchange(worker->problem, message.problem) != message.problem) work_appeared_ = true;
  if (worker->drain_ordered && !message.draining) send(*worker, DrainOrder{});
  reconcile(*worker, message.held);
}

void Machine::introduce(WorkerState& worker, const std::vector<RunnerInfo>& runners) {
  std::map<std::string, int64_t> capacity;
  worker.runners.assign(runners.begin(),
                        runners.begin() + static_cast<std::ptrdiff_t>(
                                              std::min(runners.size(), settings_.max_runners)));
  for (const RunnerInfo& runner : worker.runners) {
    if (!runner.tag.empty()) capacity[runner.tag] += kRunner;
  }
  capacity[std::string(kNoopTag)] = kRunner;  // done by the daemon itself
  std::erase_if(worker.rooms, [&](const auto& room) {
    return room.second.used == 0 && !capacity.contains(room.first);
  });
  for (auto& [tag, room] : worker.rooms) {
    if (!capacity.contains(tag) && std::exchange(room.capacity, 0) != 0) work_appeared_ = true;
  }
  for (const auto& [tag, size] : capacity) {
    if (std::exchange(worker.rooms[tag].capacity, size) != size) work_appeared_ = true;
  }
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

// A worker holds what nobody lends it (any more): the coordinator was restarted, the lease expired
// behind a partition, the worker was taken for lost. To revoke it always would throw away hours of
// work after every fault; to believe it always would let any worker claim any shard, attempt
// number and tag (law 2 judges results by them). So it goes on with what the records say was its
// own attempt, given up without word from it, under the tag of then, while some stage wants the
// result under that tag. Two may claim one shard: who runs it wins over who has it queued, and of
// two who run it the one with the lease keeps it, else heartbeats would pass it back and forth for
// ever (law 4). The other lease ends before this one begins: a shard has one at a time. The grant
// is recorded again under its old number, so that a restart finds the attempt open.
bool Machine::adopt(WorkerState& worker, const Held& held) {
  if (quarantined_.contains(held.key)) return false;
  const bool runs = held.state == HeldState::kRunning;
  // What was lent to another since goes on where it runs already: work that was done is not thrown
  // away for work that has not begun.
  const auto lent = leases_.find(held.key);
  if (lent != leases_.end() && (!runs || lent->second.state != HeldState::kQueued)) return false;
  // Only what was given up unheard: an attempt the worker itself ended is listed by an old
  // heartbeat.
  const std::vector<EndedAttempt> ended = records_.ended(held.key);
  const auto own = std::find_if(ended.begin(), ended.end(), [&](const EndedAttempt& attempt) {
    return attempt.attempt == held.attempt && attempt.worker == worker.key &&
           given_up_unheard(attempt.outcome);
  });
  // One of before attempts had tags: its result could not count.
  if (own == ended.end() || own->tag.empty()) return false;
  const std::vector<Place> places = wanted_places(held.key);
  const bool fits = std::any_of(places.begin(), places.end(), [&](const Place& place) {
    const StageState& stage = *find_stage(place.stage);
    const RangeState& range = range_of(stage, place.index);
    return satisfies(own->tag, range) && (runs || (!stage.paused && able(worker, range)));
  });
  if (!fits) return false;
  if (lent != leases_.end()) {
    revoke(held.key, lent->second);
    end(held.key, Outcome::kRevoked, "an earlier attempt was running still");
  }
  take_up(held.key, held.attempt, own->tag, places, worker);
  update(worker, leases_.at(held.key), held);
  act(RecordGrant{.key = held.key, .attempt = held.attempt, .worker = worker.key, .tag = own->tag});
  return true;
}

void Machine::update(WorkerState& worker, Lease& lease, const Held& held) {
  lease.seen = step_;
  // An old heartbeat arriving late takes nothing back.
  if (held.state < lease.state) return;
  lease.progress = std::max(lease.progress, held.progress);
  if (held.state == lease.state && !keeps_pace(lease, held.progress)) return;
  lease.progressed_at = worker.progressed_at = now_;
  lease.progress_then = lease.progress;
  if (held.state == lease.state) return;
  const int begins = (held.state == HeldState::kRunning) - (lease.state == HeldState::kRunning);
  for (const Place& place : lease.places) find_stage(place.stage)->n_running += begins;
  lease.state = held.state;
  if (begins > 0) lease.ran_at = now_;
}

// Progress of less than a hundredth of what is usual renews nothing: it may be made up.
bool Machine::keeps_pace(const Lease& lease, double progress) const {
  if (progress <= lease.progress_then) return false;
  const Place& place = lease.places.front();
  const double median = range_of(*find_stage(place.stage), place.index).durations.median();
  const double usual_s = median > 0 ? median : kUnmeasuredSeconds;
  const double since_s = static_cast<double>(now_ - lease.progressed_at) / 1000;
  return (progress - lease.progress_then) * 100 * usual_s >= since_s;
}

void Machine::shard_done(const WorkerMessage& event, ShardDone message) {
  const ShardKey key = message.key;
  const std::string tag = message.tag;
  const auto found = leases_.find(key);
  const bool lent = found != leases_.end() && found->second.worker == event.worker &&
                    found->second.attempt == message.attempt;
  // The worker says under which tag it computed, and the cache of every machine of that tag would
  // believe it: only what this worker was asked for counts, then or (late, or of a journal older
  // than its libraries) once.
  std::vector<int64_t> attempts;
  if (lent && found->second.tag == tag) {
    attempts = {message.attempt};
  } else {
    attempts = records_.attempts(key, event.worker, tag);
  }
  if (attempts.empty()) {
    act(Alarm{"worker " + event.worker + " sent a result of shard " + to_hex(key) + " under tag " +
                  tag + ", which it was never granted",
              event.worker});
    refuse_result(event, message, "it names the tag " + tag + ", which it was not granted for");
    return;
  }
  if (!event.defect.empty()) {
    refuse_result(event, message, event.defect);
    return;
  }
  const std::optional<Digest> recorded = records_.recorded(key, tag);
  const int64_t attempt = message.attempt;
  const std::string device = message.device;
  const double seconds = message.seconds;
  if (!recorded || *recorded != message.hash) {
    act(RecordResult{.worker = event.worker, .done = std::move(message)});
    recorded_now_ = {key, tag};
  }
  if (lent) {
    const Lease lease = end(key, Outcome::kDone, "", device, seconds);
    WorkerState& worker = workers_.at(lease.worker);
    worker.progressed_at = worker.finished_at = now_;
    ++worker.n_finished;
    const double took_s = believable_s(seconds, now_ - lease.lent_at);
    for (const Place& place : lease.places) {
      StageState& stage = *find_stage(place.stage);
      RangeState& range = range_of(stage, place.index);
      if (satisfies(tag, range)) {
        range.durations.add(took_s);
        if (const auto at = sweeps_.find(stage.sweep); at != sweeps_.end())
          levels_.at(at->second.priority).shard_s = took_s;
        mark_done(stage, place.index);
      } else {
        range.retry.try_emplace(place.index);
        work_appeared_ = true;
      }
    }
    if (quarantined_.contains(key)) settle_recorded(key, tag);
  } else {
    if (!recorded) {
      // The number is the worker's to say only where that attempt was its own.
      const bool own = std::find(attempts.begin(), attempts.end(), attempt) != attempts.end();
      act(EndAttempt{.key = key,
                     .attempt = own ? attempt : attempts.back(),
                     .outcome = Outcome::kLate,
                     .message = "",
                     .device = device,
                     .seconds = seconds});
    }
    settle_recorded(key, tag);
  }
  act(Send{event.worker, event.connection, Ack{.key = key}});
}

void Machine::refuse_result(const WorkerMessage& event, const ShardDone& message,
                            const std::string& why) {
  act(Send{event.worker, event.connection, Revoke{.key = message.key, .attempt = message.attempt}});
  const auto found = leases_.find(message.key);
  if (found == leases_.end() || found->second.worker != event.worker ||
      found->second.attempt != message.attempt) {
    return;
  }
  fail(message.key, Outcome::kException, "its result is not valid: " + why, message.device);
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
