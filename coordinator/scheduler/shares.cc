// Part of coordinator/scheduler/machine.h.
// Which sweep is next. Higher priorities first, a lower one keeps one grant in so many. Sweeps of
// one priority take turns by what they were served of the runners' time, the least first
// (start-time fair queueing: Goyal, Vin and Cheng 1996): a grant counts as what its shard is
// expected to take, and as what it took when it ends. O(log n) a grant.
#include <algorithm>

#include "coordinator/scheduler/machine.h"

namespace headcount::coordinator {

using Machine = Scheduler::Machine;

void Machine::join(const StageOpened& event, StageState& stage) {
  stage.sweep = event.sweep;
  const auto [at, is_new] = sweeps_.try_emplace(event.sweep);
  SweepState& sweep = at->second;
  sweep.stages.emplace(stage.id, &stage);
  if (!is_new) return;
  sweep.priority = event.priority;
  Level& level = levels_[event.priority];
  sweep.served_s = level.served_s;  // what others had before it came is no claim on them
  level.order.emplace(sweep.served_s, event.sweep);
}

void Machine::leave(const StageState& stage) {
  const auto at = sweeps_.find(stage.sweep);
  SweepState& sweep = at->second;
  sweep.stages.erase(stage.id);
  if (!sweep.stages.empty()) return;
  const auto level = levels_.find(sweep.priority);
  level->second.order.erase({sweep.served_s, stage.sweep});
  if (level->second.order.empty()) levels_.erase(level);
  sweeps_.erase(at);
}

void Machine::serve(SweepId id, double seconds) {
  const auto at = sweeps_.find(id);
  if (at == sweeps_.end()) return;
  SweepState& sweep = at->second;
  auto& order = levels_.at(sweep.priority).order;
  auto node = order.extract({sweep.served_s, id});
  sweep.served_s += seconds;
  node.value().first = sweep.served_s;
  order.insert(std::move(node));
}

double Machine::expected_s(const SweepState& sweep, const RangeState& range) const {
  if (!range.durations.empty()) return range.durations.average();
  const double of_others = levels_.at(sweep.priority).shard_s;
  return of_others > 0 ? of_others : settings_.credit_seconds / 2;
}

Machine::Granted Machine::grant_from(Levels::iterator level, WorkerState& worker,
                                     const std::string& tag, const Room& room) {
  if (level == levels_.end()) return Granted::kNo;
  const auto lower = std::next(level);
  Level& here = level->second;
  if (lower != levels_.end() && here.n_ahead + 1 >= settings_.lower_share) {
    const Granted given = grant_from(lower, worker, tag, room);
    if (given == Granted::kYes) here.n_ahead = 0;
    if (given != Granted::kNo) return given;
  }
  const Granted given = grant_within(here, worker, tag, room);
  if (given == Granted::kNo) return grant_from(lower, worker, tag, room);
  if (given == Granted::kYes && lower != levels_.end()) ++here.n_ahead;
  return given;
}

Machine::Granted Machine::grant_within(Level& level, WorkerState& worker, const std::string& tag,
                                       const Room& room) {
  for (auto at = level.order.begin(); at != level.order.end();) {
    const auto [served_s, id] = *at;
    ++at;
    SweepState& sweep = sweeps_.at(id);
    const Granted given = grant_of(sweep, worker, tag, room);
    if (given == Granted::kYes) level.served_s = std::max(level.served_s, served_s);
    if (given != Granted::kNo) return given;
    // It saves up nothing while it has nothing to grant.
    if (served_s < level.served_s && !sweep.has_work()) serve(id, level.served_s - served_s);
  }
  return Granted::kNo;
}

}  // namespace headcount::coordinator
