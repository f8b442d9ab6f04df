// Part of coordinator/scheduler/machine.h.
// Who gets what: sweeps in the order of shares.cc, shards to be granted again first, then the
// cursor; credit is time.
#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

void Durations::add(double measured) {
  // A worker says so: nothing it says may be more than wrong.
  const double seconds = measured >= 0 ? std::min(measured, 1e7) : 0;
  latest_[n_ % latest_.size()] = seconds;
  ++n_;
  average_ = n_ == 1 ? seconds : 0.8 * average_ + 0.2 * seconds;
  // Often at first, then seldom: the median only sets a limit ten times as far.
  if (n_ > latest_.size() && n_ % 16 != 0) return;
  std::array<double, 15> sorted = latest_;
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(n_, sorted.size()));
  const auto middle = sorted.begin() + (end - sorted.begin()) / 2;
  std::nth_element(sorted.begin(), middle, end);
  median_ = *middle;
}

void Machine::fill() {
  std::vector<WorkerState*> takers = std::exchange(roomier_, {});
  if (std::exchange(work_appeared_, false)) {
    takers.clear();
    for (auto& [key, worker] : workers_) takers.push_back(&worker);
  }
  std::erase_if(takers, [](const WorkerState* worker) { return !worker->takes_work(); });
  // One shard a worker and round: a small stage is spread, not given to the first worker.
  while (!takers.empty()) {
    std::erase_if(takers, [this](WorkerState* worker) { return !grant_one(*worker); });
  }
}

bool Machine::grant_one(WorkerState& worker) {
  if (worker.is_full()) return false;
  for (auto& [tag, room] : worker.rooms) {
    if (room.used >= room.capacity) continue;
    if (grant_from(levels_.begin(), worker, tag, room) == Granted::kYes) return true;
  }
  return false;
}

Machine::Granted Machine::grant_of(SweepState& sweep, WorkerState& worker, const std::string& tag,
                                   const Room& room) {
  for (auto& [id, stage] : sweep.stages) {
    if (stage->paused) continue;
    for (RangeState& range : stage->ranges) {
      if (range.next == range.end && range.retry.empty()) continue;
      if (!satisfies(tag, range) || range.refused_by.contains(worker.key)) continue;
      const int64_t cost = kRunner / credit(range);
      if (room.used + cost > room.capacity) return Granted::kWaits;
      ShardKey key;
      int64_t index = 0;
      if (!take(*stage, range, worker, cost, key, index)) continue;
      grant(worker, tag, {id, index}, key, cost);
      return Granted::kYes;
    }
  }
  return Granted::kNo;
}

bool Machine::take(StageState& stage, RangeState& range, const WorkerState& worker, int64_t cost,
                   ShardKey& key, int64_t& index) {
  for (auto again = range.retry.begin(); again != range.retry.end();) {
    if (avoided(again->second, range, worker, cost)) {
      ++again;
      continue;
    }
    index = again->first;
    again = range.retry.erase(again);
    if (available(stage, range, index, key)) return true;
  }
  while (range.next < range.end) {
    index = range.next++;
    if (!stage.wants(index) || range.retry.contains(index)) continue;
    if (available(stage, range, index, key)) return true;
  }
  return false;
}

bool Machine::available(StageState& stage, const RangeState& range, int64_t index, ShardKey& key) {
  key = records_.key(stage.id, index);
  const auto leased = leases_.find(key);
  if (leased != leases_.end()) {
    attach(leased->second, {stage.id, index});
    return false;
  }
  if (recorded(key, range)) {
    mark_done(stage, index);
    return false;
  }
  if (quarantined_.contains(key)) {
    stage.quarantined.insert(index);
    may_be_complete_ = true;
    return false;
  }
  return true;
}

void Machine::grant(WorkerState& worker, const std::string& tag, const Place& place,
                    const ShardKey& key, int64_t cost) {
  Lease lease;
  lease.attempt = records_.last_attempt(key) + 1;
  lease.tag = tag;
  lease.cost = cost;
  attach(lease, place);
  const StageState& stage = *find_stage(place.stage);
  lease.expected_s = expected_s(sweeps_.at(stage.sweep), range_of(stage, place.index));
  serve(stage.sweep, lease.expected_s);
  act(RecordGrant{.key = key, .attempt = lease.attempt, .worker = worker.key, .tag = tag});
  send_grant(key, add_lease(key, std::move(lease), worker), worker);
}

void Machine::attach(Lease& lease, Place place) {
  if (std::find(lease.places.begin(), lease.places.end(), place) != lease.places.end()) return;
  lease.places.push_back(place);
  StageState& stage = *find_stage(place.stage);
  ++stage.n_leased;
  stage.n_running += lease.state == HeldState::kRunning;
}

void Machine::detach(Lease& lease, Place place) {
  if (std::erase(lease.places, place) == 0) return;
  StageState& stage = *find_stage(place.stage);
  --stage.n_leased;
  stage.n_running -= lease.state == HeldState::kRunning;
}

void Machine::detach_from_retry(const Place& place) {
  range_of(*find_stage(place.stage), place.index).retry.erase(place.index);
}

void Machine::send_grant(const ShardKey& key, Lease& lease, const WorkerState& worker) {
  lease.sent_at = now_;
  const Place& place = lease.places.front();
  act(SendGrant{.worker = worker.key,
                .connection = worker.connection,
                .stage = place.stage,
                .index = place.index,
                .key = key,
                .attempt = lease.attempt,
                .tag = lease.tag,
                .stall_ms = lease.stall_ms});
}

bool Machine::avoided(const Again& again, const RangeState& range, const WorkerState& worker,
                      int64_t cost) const {
  if (again.avoid != worker.key) return false;
  if (again.strictly) return another_able(range, worker.key);
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& other) {
    return other.first != worker.key && has_room(other.second, range, cost);
  });
}

bool Machine::able(const WorkerState& worker, const RangeState& range) const {
  return has_room(worker, range, 0);
}

bool Machine::has_room(const WorkerState& worker, const RangeState& range, int64_t cost) const {
  if (!worker.takes_work() || range.refused_by.contains(worker.key)) return false;
  if (cost > 0 && worker.is_full()) return false;
  return std::any_of(worker.rooms.begin(), worker.rooms.end(), [&](const auto& room) {
    return satisfies(room.first, range) && room.second.capacity > 0 &&
           (cost == 0 || room.second.used + cost <= room.second.capacity);
  });
}

bool Machine::another_able(const RangeState& range, const WorkerKey& than) const {
  return std::any_of(workers_.begin(), workers_.end(), [&](const auto& other) {
    return other.first != than && able(other.second, range);
  });
}

int64_t Machine::credit(const RangeState& range) const {
  if (range.durations.empty()) return std::min(2, settings_.max_credit);
  const double seconds = range.durations.average();
  if (seconds * settings_.max_credit <= settings_.credit_seconds) return settings_.max_credit;
  // A hair more: an average of tenths of a second is not exactly one.
  return std::max<int64_t>(1, static_cast<int64_t>(settings_.credit_seconds / seconds + 1e-6));
}

Millis Machine::stall_ms(const RangeState& range) const {
  return std::max(settings_.stall_at_least_ms,
                  static_cast<Millis>(10'000 * range.durations.median()));
}

void Machine::recall_for_idle() {
  // Nothing was left to grant when fill() ended: an idle runner waits only for what others have not
  // started.
  std::vector<std::pair<const WorkerState*, std::string>> idle;
  for (const auto& [key, worker] : workers_) {
    for (const auto& [tag, room] : worker.rooms) {
      if (worker.takes_work() && room.capacity > 0 && room.used == 0)
        idle.emplace_back(&worker, tag);
    }
  }
  if (idle.empty()) return;
  std::map<std::string, std::vector<Waiting>> waiting = waiting_by_tag();
  for (const auto& [worker, tag] : idle) {
    std::vector<Waiting>& donors = waiting[tag];
    const auto most =
        std::max_element(donors.begin(), donors.end(),
                         [](const Waiting& a, const Waiting& b) { return a.size() < b.size(); });
    if (most == donors.end()) continue;
    for (size_t n = (most->size() + 1) / 2; n > 0; --n) {
      const ShardKey key = most->back().second;
      most->pop_back();
      Lease& lease = leases_.at(key);
      const Place& place = lease.places.front();
      if (able(*worker, range_of(*find_stage(place.stage), place.index))) recall(key, lease);
    }
  }
}

std::map<std::string, std::vector<Machine::Waiting>> Machine::waiting_by_tag() const {
  std::map<std::string, std::vector<Waiting>> waiting;
  for (const auto& [worker_key, worker] : workers_) {
    std::map<std::string, Waiting> of_worker;
    for (const ShardKey& key : worker.held) {
      const Lease& lease = leases_.at(key);
      if (may_be_recalled(lease)) of_worker[lease.tag].emplace_back(lease.sequence, key);
    }
    for (auto& [tag, shards] : of_worker) {
      std::sort(shards.begin(), shards.end());
      waiting[tag].push_back(std::move(shards));
    }
  }
  return waiting;
}

bool Machine::may_be_recalled(const Lease& lease) const {
  if (lease.state != HeldState::kQueued) return false;
  const bool settled = now_ - lease.sent_at >= 2 * settings_.heartbeat_ms;
  const bool asked =
      lease.recalled_at != 0 && now_ - lease.recalled_at < 5 * settings_.heartbeat_ms;
  return settled && !asked && !find_stage(lease.places.front().stage)->paused;
}

void Machine::recall(const ShardKey& key, Lease& lease) {
  const WorkerState& worker = workers_.at(lease.worker);
  if (!worker.connected || lease.state != HeldState::kQueued) return;
  const bool heard_since = worker.heard_at - lease.recalled_at >= 2 * settings_.heartbeat_ms;
  if (lease.recalled_at != 0 && heard_since && !find_stage(lease.places.front().stage)->paused) {
    // It was asked, and neither starts it nor gives it back.
    revoke(key, lease);
    requeue(end(key, Outcome::kRevoked, "it was not given back"), {.avoid = lease.worker});
    return;
  }
  lease.recalled_at = now_;
  send(worker, Recall{.key = key, .attempt = lease.attempt});
}

}  // namespace headcount::coordinator
