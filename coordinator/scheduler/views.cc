// Part of coordinator/scheduler/machine.h.
// What people see of the scheduler, and its books checked against each other.
#include <algorithm>

#include "coordinator/scheduler/machine.h"
#include "schemas/error.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

namespace {

/// "sweeps 3, 5, 8 and 4 more".
std::string text_of(const std::vector<SweepId>& sweeps) {
  constexpr size_t kNamed = 5;
  std::string text = sweeps.size() == 1 ? "sweep " : "sweeps ";
  for (size_t i = 0; i < std::min(sweeps.size(), kNamed); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(sweeps[i]);
  }
  if (sweeps.size() > kNamed) text += " and " + std::to_string(sweeps.size() - kNamed) + " more";
  return text;
}

}  // namespace

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
  for (const auto& [id, stage] : stages_) views.push_back(view(stage));
  return views;
}

StageView Machine::view(const StageState& stage) const {
  StageView view{.stage = stage.id,
                 .paused = stage.paused,
                 .n_shards = stage.n_shards,
                 .n_done = stage.n_done,
                 .n_queued = stage.n_leased - stage.n_running,
                 .n_running = stage.n_running,
                 .n_quarantined = static_cast<int64_t>(stage.quarantined.size())};
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
  std::map<std::string, TagView> tags;
  for (const auto& [key, worker] : workers_) {
    if (!worker.takes_work()) continue;
    for (const RunnerInfo& runner : worker.runners) {
      if (runner.tag.empty()) continue;
      TagView& view = tags[runner.tag];
      view.since = view.n_runners == 0 ? worker.since : std::min(view.since, worker.since);
      view.tag = runner.tag;
      view.memory_bytes = std::max(view.memory_bytes, runner.memory_bytes);
      view.capacity_bytes += runner.memory_bytes;
      ++view.n_runners;
    }
  }
  std::vector<TagView> views;
  for (const auto& [tag, view] : tags) views.push_back(view);
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
  for (std::string& reason : explain_share(stage)) reasons.push_back(std::move(reason));
  if (!stage.quarantined.empty()) {
    reasons.push_back(std::to_string(stage.quarantined.size()) +
                      " shard(s) failed too often and are quarantined: `headcount sweep retry` "
                      "releases them");
  }
  return reasons;
}

std::vector<std::string> Machine::explain_share(const StageState& stage) const {
  if (!stage.has_work()) return {};
  const int64_t priority = sweeps_.at(stage.sweep).priority;
  std::vector<SweepId> ahead, beside;
  for (const auto& [id, sweep] : sweeps_) {
    if (id == stage.sweep || sweep.priority < priority || !sweep.has_work()) continue;
    (sweep.priority > priority ? ahead : beside).push_back(id);
  }
  std::vector<std::string> reasons;
  if (!ahead.empty()) {
    reasons.push_back(text_of(ahead) + " of higher priority ahead: one grant in " +
                      std::to_string(settings_.lower_share) + " is left to lower ones");
  }
  if (!beside.empty()) {
    reasons.push_back(text_of(beside) + " of the same priority share the runners' time with it");
  }
  return reasons;
}

void Machine::check_invariants() const {
  size_t n_held = 0;
  std::map<Place, int> leased;
  std::map<StageId, int64_t> n_leased, n_running;
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
        ++n_leased[place.stage];
        n_running[place.stage] += lease.state == HeldState::kRunning;
      }
    }
    for (const auto& [tag, room] : worker.rooms) HC_CHECK(room.used == used[tag]);
  }
  HC_CHECK(n_held == leases_.size());
  size_t n_stages = 0;
  for (const auto& [id, sweep] : sweeps_) {
    HC_CHECK(levels_.at(sweep.priority).order.contains({sweep.served_s, id}));
    n_stages += sweep.stages.size();
  }
  HC_CHECK(n_stages == stages_.size());
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
    HC_CHECK(n_leased[id] == stage.n_leased && n_running[id] == stage.n_running);
    HC_CHECK(!stage.complete());
  }
}

}  // namespace headcount::coordinator
