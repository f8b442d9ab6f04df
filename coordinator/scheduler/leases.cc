// Part of coordinator/scheduler/machine.h.
// How leases begin, end, and what becomes of their shards: granted again, done, or quarantined (law
// 5).
#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

namespace {

/// What a shard's ended attempts say against it.
struct Case {
  struct Count {
    int n = 0;
    std::set<WorkerKey> workers;
    void add(const WorkerKey& worker) {
      ++n;
      workers.insert(worker);
    }
  };
  Count charges, losses, suspects;
  std::string evidence;
};

/// Whether so many say enough: on two workers where there is another, or twice as many on
/// whichever.
bool convicts(const Case::Count& count, int limit, bool another) {
  return count.n >= limit && (count.workers.size() >= 2 || !another || count.n >= 2 * limit);
}

/// One more would, were it on another worker than that one.
bool needs_another(const Case::Count& count, int limit, const WorkerKey& worker) {
  return count.n + 1 >= limit && count.workers == std::set{worker};
}

Case make_case(const std::vector<EndedAttempt>& attempts) {
  Case result;
  for (const EndedAttempt& ended : attempts) {
    if (is_charge(ended.outcome)) {
      result.charges.add(ended.worker);
    } else if (is_loss(ended.outcome)) {
      result.losses.add(ended.worker);
      if (ended.suspect) result.suspects.add(ended.worker);
    } else {
      continue;
    }
    const std::string first_line = ended.message.substr(0, ended.message.find('\n'));
    result.evidence += "attempt " + std::to_string(ended.attempt) + " on " + ended.worker + ": " +
                       std::string(to_string(ended.outcome)) + ": " + first_line + "\n";
  }
  if (!attempts.empty()) result.evidence += "last message:\n" + attempts.back().message;
  return result;
}

}  // namespace

Lease& Machine::add_lease(const ShardKey& key, Lease lease, WorkerState& worker) {
  HC_CHECK(!lease.places.empty() && lease.attempt > 0);
  lease.sequence = ++sequence_;
  lease.worker = worker.key;
  lease.lent_at = lease.progressed_at = lease.sent_at = now_;
  const Place& place = lease.places.front();
  lease.stall_ms = stall_ms(range_of(*find_stage(place.stage), place.index));
  worker.rooms[lease.tag].used += lease.cost;
  worker.held.insert(key);
  const auto [at, is_new] = leases_.emplace(key, std::move(lease));
  HC_CHECK(is_new);
  return at->second;
}

Lease Machine::end(const ShardKey& key, Outcome outcome, const std::string& message,
                   const std::string& device, double seconds) {
  const auto found = leases_.find(key);
  HC_CHECK(found != leases_.end());
  Lease lease = std::move(found->second);
  leases_.erase(found);
  for (const Place& place : lease.places) {
    StageState& stage = *find_stage(place.stage);
    --stage.n_leased;
    stage.n_running -= lease.state == HeldState::kRunning;
  }
  if (!lease.places.empty()) {
    // A worker says how long it took, but not more than it had.
    const double had_s = static_cast<double>(now_ - lease.lent_at) / 1000;
    const double ran_s = lease.ran_at == 0 ? 0 : static_cast<double>(now_ - lease.ran_at) / 1000;
    const double took_s = outcome != Outcome::kDone ? ran_s
                          : seconds >= 0            ? std::min(seconds, had_s)
                                                    : 0;
    serve(find_stage(lease.places.front().stage)->sweep, took_s - lease.expected_s);
  }
  WorkerState& worker = workers_.at(lease.worker);
  const bool was_held = worker.held.erase(key) == 1;
  HC_CHECK(was_held);
  roomier_.push_back(&worker);
  worker.rooms.at(lease.tag).used -= lease.cost;
  act(EndAttempt{.key = key,
                 .attempt = lease.attempt,
                 .outcome = outcome,
                 .message = message,
                 .device = device,
                 .seconds = seconds,
                 .suspect = is_loss(outcome) && is_suspect(lease)});
  return lease;
}

void Machine::fail(const ShardKey& key, Outcome outcome, const std::string& message,
                   const std::string& device) {
  std::vector<EndedAttempt> attempts = records_.ended(key);
  const Lease lease = end(key, outcome, message, device);
  attempts.push_back({.attempt = lease.attempt,
                      .worker = lease.worker,
                      .tag = lease.tag,
                      .outcome = outcome,
                      .message = message,
                      .suspect = is_suspect(lease)});
  const Case found = make_case(attempts);

  const bool another =
      std::any_of(lease.places.begin(), lease.places.end(), [&](const Place& place) {
        return another_able(range_of(*find_stage(place.stage), place.index), lease.worker);
      });
  const int few = settings_.charges_to_quarantine;
  if (convicts(found.charges, few, another) || convicts(found.suspects, few, another) ||
      convicts(found.losses, settings_.max_losses, another)) {
    act(Quarantine{.key = key, .evidence = found.evidence});
    quarantined_.insert(key);
    for (const Place& place : lease.places) {
      find_stage(place.stage)->quarantined.insert(place.index);
    }
    may_be_complete_ = true;
    return;
  }
  requeue(lease, {.avoid = lease.worker,
                  .strictly = needs_another(found.charges, few, lease.worker) ||
                              needs_another(found.suspects, few, lease.worker) ||
                              needs_another(found.losses, settings_.max_losses, lease.worker)});
}

bool Machine::is_suspect(const Lease& lease) const {
  if (lease.taken_up) return false;  // who knows what its worker finished before
  const Millis began = std::max(lease.lent_at, lease.ran_at);
  return now_ - began <= settings_.suspect_ms && workers_.at(lease.worker).finished_at <= began;
}

void Machine::requeue(const Lease& lease, const Again& again) {
  for (const Place& place : lease.places) {
    StageState* stage = find_stage(place.stage);
    if (stage == nullptr || !stage->wants(place.index)) continue;
    range_of(*stage, place.index).retry.try_emplace(place.index, again);
  }
  work_appeared_ = true;
}

void Machine::lose(WorkerState& worker, const std::set<ShardKey>& keep, const std::string& why) {
  std::vector<std::pair<uint64_t, ShardKey>> lost;  // in the order granted
  for (const ShardKey& key : worker.held) {
    if (!keep.contains(key)) lost.emplace_back(leases_.at(key).sequence, key);
  }
  std::sort(lost.begin(), lost.end());
  // Heartbeats may not have said yet what was running: a worker runs in the order granted, so the
  // oldest unfinished ones were, as many as it has runners.
  size_t n_running = std::max<size_t>(1, worker.runners.size());
  std::set<ShardKey> running;
  for (const auto& [sequence, key] : lost) {
    if (leases_.at(key).state == HeldState::kRunning) running.insert(key);
  }
  for (const auto& [sequence, key] : lost) {
    if (running.size() >= n_running) break;
    if (leases_.at(key).state == HeldState::kQueued) running.insert(key);
  }
  for (const auto& [sequence, key] : lost) {
    if (running.contains(key)) {
      fail(key, Outcome::kLostRunning, why, "");
    } else {
      requeue(end(key, Outcome::kLost, why), {});
    }
  }
}

void Machine::worker_gone(const WorkerKey& key, const std::string& why) {
  WorkerState* worker = find_worker(key);
  if (worker == nullptr) return;
  // One more round of grants must not choose it.
  worker->connected = false;
  lose(*worker, {}, why);
  std::erase(roomier_, worker);
  workers_.erase(key);
}

void Machine::expire(WorkerState& worker) {
  const std::vector<ShardKey> held(worker.held.begin(), worker.held.end());
  for (const ShardKey& key : held) {
    const Lease& lease = leases_.at(key);
    // What waits behind a shard that makes progress is as alive as that one.
    const Millis alive_at = lease.state == HeldState::kQueued
                                ? std::max(lease.progressed_at, worker.progressed_at)
                                : lease.progressed_at;
    if (now_ - alive_at <= lease_ms(lease)) continue;
    const std::string why =
        "no progress for " + std::to_string((now_ - alive_at) / 1000) + " seconds";
    revoke(key, lease);
    worker.n_finished = 0;
    if (lease.state == HeldState::kRunning) {
      fail(key, Outcome::kExpired, why, "");
    } else {
      requeue(end(key, Outcome::kLost, why), {.avoid = worker.key});
    }
  }
}

void Machine::settle_recorded(const ShardKey& key, const std::string& tag) {
  const auto found = leases_.find(key);
  if (found != leases_.end()) {
    const Lease& lease = found->second;
    const bool all = std::all_of(lease.places.begin(), lease.places.end(), [&](const Place& place) {
      return satisfies(tag, range_of(*find_stage(place.stage), place.index));
    });
    if (all) {
      revoke(key, lease);
      for (const Place& place : end(key, Outcome::kRevoked, "another attempt was first").places) {
        mark_done(*find_stage(place.stage), place.index);
      }
    }
  }
  for (const Place& place : records_.places(key)) {
    StageState* stage = find_stage(place.stage);
    if (stage == nullptr || stage->done[static_cast<size_t>(place.index)]) continue;
    if (!satisfies(tag, range_of(*stage, place.index))) continue;
    const auto lease = leases_.find(key);
    if (lease != leases_.end()) {
      detach(lease->second, place);
      HC_CHECK(!lease->second.places.empty());  // one place at least was not satisfied
    }
    detach_from_retry(place);
    stage->quarantined.erase(place.index);
    mark_done(*stage, place.index);
  }
  if (quarantined_.contains(key)) forgive(key);
}

void Machine::forgive(const ShardKey& key) {
  act(Forgive{.key = key});
  quarantined_.erase(key);
  for (const Place& place : records_.places(key)) {
    StageState* stage = find_stage(place.stage);
    if (stage == nullptr || stage->quarantined.erase(place.index) == 0) continue;
    range_of(*stage, place.index).retry.try_emplace(place.index);
    work_appeared_ = true;
  }
}

void Machine::forget_quarantined(const StageState& stage) {
  for (const int64_t index : stage.quarantined) {
    const ShardKey key = records_.key(stage.id, index);
    const std::vector<Place> places = records_.places(key);
    const bool elsewhere = std::any_of(places.begin(), places.end(), [&](const Place& place) {
      const StageState* other = find_stage(place.stage);
      return other != nullptr && other != &stage;
    });
    if (!elsewhere) quarantined_.erase(key);
  }
}

void Machine::mark_done(StageState& stage, int64_t index) {
  HC_CHECK(0 <= index && index < stage.n_shards && !stage.quarantined.contains(index));
  if (stage.done[static_cast<size_t>(index)]) return;
  stage.done[static_cast<size_t>(index)] = true;
  ++stage.n_done;
  may_be_complete_ |= stage.complete();
}

void Machine::revoke(const ShardKey& key, const Lease& lease) {
  const WorkerState& worker = workers_.at(lease.worker);
  if (worker.connected) send(worker, Revoke{.key = key, .attempt = lease.attempt});
}

std::vector<Place> Machine::wanted_places(const ShardKey& key) const {
  std::vector<Place> wanted;
  for (const Place& place : records_.places(key)) {
    const StageState* stage = find_stage(place.stage);
    if (stage == nullptr || !stage->wants(place.index)) continue;
    if (recorded(key, range_of(*stage, place.index))) continue;
    wanted.push_back(place);
  }
  std::sort(wanted.begin(), wanted.end());
  return wanted;
}

void Machine::take_up(const ShardKey& key, int64_t attempt, const std::string& tag,
                      const std::vector<Place>& places, WorkerState& worker) {
  Lease lease;
  lease.attempt = attempt;
  lease.tag = tag;
  lease.cost = kRunner / 2;
  lease.taken_up = true;
  for (const Place& place : places) {
    detach_from_retry(place);
    attach(lease, place);
  }
  add_lease(key, std::move(lease), worker);
}

Millis Machine::lease_ms(const Lease& lease) const {
  // The worker kills a stalled runner by itself; only when that fails is the lease ended from here.
  return lease.stall_ms + lease.stall_ms / 2 + 10 * settings_.heartbeat_ms;
}

}  // namespace headcount::coordinator
