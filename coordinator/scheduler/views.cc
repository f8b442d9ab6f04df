// What people see of the scheduler, and its books checked against each other.
#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

std::vector<WorkerView> Machine::worker_views() const {
  std::vector<WorkerView> views;
  for (const auto& [key, worker] : workers_) {
    WorkerView view{.worker = key,
                    .host = worker.host,
                    .connected = worker.connected,
                    .draining = worker.draining || worker.drain_ordered,
                    .problem = worker.problem,
                    .incarnation = worker.incarnation,
                    .runners = worker.runners,
                    .heard_at = worker.heard_at};
    for (const ShardKey& held : worker.held) {
      const bool running = leases_.at(held).state == HeldState::kRunning;
      ++(running ? view.n_running : view.n_queued);
    }
    views.push_back(std::move(view));
  }
  return views;
}

std::vector<StageView> Machine::stage_views() const {
  std::vector<StageView> views;
  for (const StageState* stage : order_) views.push_back(view(*stage));
  return views;
}

StageView Machine::view(const StageState& stage) const {
  StageView view{.stage = stage.id,
                 .paused = stage.paused,
                 .n_shards = stage.n_shards,
                 .n_done = stage.n_done,
                 .n_quarantined = static_cast<int64_t>(stage.quarantined.size())};
  for (const auto& [key, worker] : workers_) {
    for (const ShardKey& held : worker.held) {
      const Lease& lease = leases_.at(held);
      for (const Place& place : lease.places) {
        if (place.stage != stage.id) continue;
        ++(lease.state == HeldState::kRunning ? view.n_running : view.n_queued);
      }
    }
  }
  double weight = 0;
  for (const RangeState& range : stage.ranges) {
    if (range.durations.empty()) continue;
    const double size = static_cast<double>(range.end - range.first);
    view.seconds_per_shard += size * range.durations.average();
    weight += size;
  }
  if (weight > 0) view.seconds_per_shard /= weight;
  return view;
}

std::vector<LeaseView> Machine::lease_views() const {
  std::vector<LeaseView> views;
  for (const auto& [worker_key, worker] : workers_) {
    for (const ShardKey& key : worker.held) {
      const Lease& lease = leases_.at(key);
      views.push_back({.key = key,
                       .attempt = lease.attempt,
                       .worker = worker_key,
                       .state = lease.state,
                       .progress = lease.progress,
                       .places = lease.places});
    }
  }
  return views;
}

std::vector<TagView> Machine::tags() const {
  std::map<std::string, int64_t> tags;
  for (const auto& [key, worker] : workers_) {
    if (!worker.takes_work()) continue;
    for (const RunnerInfo& runner : worker.runners) {
      if (runner.tag.empty()) continue;
      int64_t& memory = tags[runner.tag];
      memory = std::max(memory, runner.memory_bytes);
    }
  }
  std::vector<TagView> views;
  for (const auto& [tag, memory] : tags) views.push_back({.tag = tag, .memory_bytes = memory});
  return views;
}

std::vector<std::string> Machine::explain(const StageState& stage) const {
  std::vector<std::string> reasons;
  if (stage.paused) reasons.push_back("the stage is paused: `headcount sweep resume` goes on");
  for (const RangeState& range : stage.ranges) {
    int64_t waiting = static_cast<int64_t>(range.retry.size());
    for (int64_t i = range.next; i < range.end; ++i) {
      waiting += stage.wants(i) && !range.retry.contains(i);
    }
    if (waiting == 0) continue;
    int64_t able_workers = 0, draining = 0, refused = 0, in_trouble = 0;
    for (const auto& [key, worker] : workers_) {
      const bool fits = std::any_of(worker.rooms.begin(), worker.rooms.end(), [&](const auto& r) {
        return r.second.capacity > 0 && satisfies(r.first, range);
      });
      if (!worker.connected || !fits) continue;
      able_workers += able(worker, range);
      draining += worker.draining || worker.drain_ordered;
      if (!worker.problem.empty()) {
        ++in_trouble;
        reasons.push_back("the worker on " + worker.host + " waits: " + worker.problem);
      }
      refused += range.refused_by.contains(key);
    }
    if (draining > 0) {
      reasons.push_back(std::to_string(draining) + " connected worker(s) are draining");
    }
    if (refused > 0) {
      reasons.push_back(std::to_string(refused) +
                        " connected worker(s) could not open the model: `headcount sweep "
                        "status` says what they found");
    }
    if (able_workers == 0 && draining + refused + in_trouble == 0) {
      reasons.push_back(range.tag == kAnyTag || range.tag == kNoopTag
                            ? "no worker is connected"
                            : "no connected worker has tag " + range.tag);
    } else if (able_workers > 0) {
      reasons.push_back(std::to_string(waiting) + " shard(s) wait for a free runner on " +
                        std::to_string(able_workers) + " able worker(s)");
    }
  }
  if (!stage.quarantined.empty()) {
    reasons.push_back(std::to_string(stage.quarantined.size()) +
                      " shard(s) failed too often and are quarantined: `headcount sweep retry` "
                      "releases them");
  }
  return reasons;
}

void Machine::check_invariants() const {
  size_t n_held = 0;
  std::map<Place, int> leased;
  for (const auto& [worker_key, worker] : workers_) {
    HC_CHECK(worker.key == worker_key);
    n_held += worker.held.size();
    std::map<std::string, int64_t> used;
    for (const ShardKey& key : worker.held) {
      const Lease& lease = leases_.at(key);
      HC_CHECK(lease.worker == worker_key);
      HC_CHECK(!lease.places.empty());
      HC_CHECK(lease.attempt > 0);
      used[lease.tag] += lease.cost;
      for (const Place& place : lease.places) {
        HC_CHECK(records_.key(place.stage, place.index) == key);
        ++leased[place];
      }
    }
    for (const auto& [tag, room] : worker.rooms) HC_CHECK(room.used == used[tag]);
  }
  HC_CHECK(n_held == leases_.size());
  HC_CHECK(order_.size() == stages_.size());
  for (const auto& [id, stage] : stages_) {
    int64_t n_done = 0;
    for (int64_t i = 0; i < stage.n_shards; ++i) {
      const RangeState& range = range_of(stage, i);
      const bool is_done = stage.done[static_cast<size_t>(i)];
      const int in_lease = leased.contains({id, i}) ? leased.at({id, i}) : 0;
      const int states = is_done + stage.quarantined.contains(i) +
                         static_cast<int>(range.retry.contains(i)) + in_lease;
      HC_CHECK(states <= 1);
      HC_CHECK(states == 1 || i >= range.next);
      n_done += is_done;
    }
    HC_CHECK(n_done == stage.n_done);
    HC_CHECK(!stage.complete());
  }
}

}  // namespace headcount::coordinator
