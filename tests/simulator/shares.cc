#include "tests/simulator/shares.h"

#include <algorithm>

namespace headcount::simulator {

namespace {
/// Far more than one round's shards take: costs are known only when a shard is done.
constexpr Millis kTurnMs = 40'000;
}  // namespace

Shares::Shares(const World& world, const Plan& plan)
    : world_(world),
      one_tag_(std::all_of(plan.worker_tags.begin(), plan.worker_tags.end(),
                           [&](const auto& tag) { return tag == plan.worker_tags.front(); })) {}

void Shares::submitted(coordinator::StageId id, const PlannedStage& stage) {
  if (stage.ranges.front().tag == kNoopTag) return;
  for (const ShardKey& key : stage.keys) wants_[key].push_back(id);
  n_fresh_[id] = static_cast<int64_t>(stage.keys.size());
}

void Shares::restarted() {
  sweeps_.clear();
  paused_.clear();
  passed_over_.clear();
}

void Shares::stepped(const Step& step) {
  if (!one_tag_) return;
  if (const auto* opened = std::get_if<coordinator::StageOpened>(&step.event)) {
    sweeps_[opened->stage] = opened->sweep;
    if (opened->paused) paused_.insert(opened->stage);
  } else if (const auto* closed = std::get_if<coordinator::StageClosed>(&step.event)) {
    sweeps_.erase(closed->stage);
  } else if (const auto* paused = std::get_if<coordinator::StagePaused>(&step.event)) {
    paused_.insert(paused->stage);
  } else if (const auto* resumed = std::get_if<coordinator::StageResumed>(&step.event)) {
    paused_.erase(resumed->stage);
  }
  for (const coordinator::Action& action : step.actions) {
    if (const auto* grant = std::get_if<coordinator::SendGrant>(&action)) {
      granted(*grant);
    } else if (const auto* end = std::get_if<coordinator::EndAttempt>(&action)) {
      const auto lent = lent_.find(end->key);
      if (lent == lent_.end()) continue;
      if (end->outcome != coordinator::Outcome::kDone) {
        burnt_[lent->second.sweep] += world_.now() - lent->second.at;
      }
      lent_.erase(lent);
    } else if (const auto* complete = std::get_if<coordinator::StageComplete>(&action)) {
      sweeps_.erase(complete->stage);
    }
  }
}

void Shares::granted(const coordinator::SendGrant& grant) {
  const auto served = sweeps_.find(grant.stage);
  if (grant.tag == kNoopTag || served == sweeps_.end()) return;
  const int64_t sweep = served->second;
  lent_.try_emplace(grant.key, Lent{.sweep = sweep, .at = world_.now()});
  if (!granted_.insert(grant.key).second) return;
  for (const coordinator::StageId stage : wants_.at(grant.key)) --n_fresh_[stage];
  std::set<int64_t> others;
  for (const auto& [stage, other] : sweeps_) others.insert(other);
  others.erase(sweep);
  for (const int64_t other : others) {
    passed_over_[{other, sweep}] = 0;
    Millis& passed_over = passed_over_[{sweep, other}];
    passed_over = has_work(other) ? passed_over + duration_ms(grant.key) : 0;
    if (passed_over > kTurnMs + burnt_[other]) {
      world_.violated(4, "sweep " + std::to_string(sweep) + " was granted " +
                             std::to_string(passed_over / 1000) + " s of work while sweep " +
                             std::to_string(other) + " of the same priority waited");
    }
  }
}

bool Shares::has_work(int64_t sweep) const {
  return std::any_of(sweeps_.begin(), sweeps_.end(), [&](const auto& stage) {
    const auto fresh = n_fresh_.find(stage.first);
    return stage.second == sweep && !paused_.contains(stage.first) && fresh != n_fresh_.end() &&
           fresh->second > 0;
  });
}

}  // namespace headcount::simulator
