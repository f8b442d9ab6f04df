#include "tests/simulator/laws.h"

#include <algorithm>

namespace headcount::simulator {

using coordinator::Outcome;

void Disk::transaction(const std::function<void()>& body) {
  const auto before = overwritten_;
  try {
    store.transaction(body);
  } catch (...) {
    overwritten_ = before;
    throw;
  }
}

void Disk::record(const coordinator::RecordResult& record) {
  const ShardDone& done = record.done;
  store.record({.key = done.key,
                .tag = done.tag,
                .hash = done.hash,
                .worker = record.worker,
                .device = done.device,
                .seconds = done.seconds,
                .attempt = done.attempt},
               done.result);
  if (world_.bug == Bug::kLateResultOverwrites) overwritten_[{done.key, done.tag}] = done.hash;
}

std::optional<Digest> Disk::recorded(const ShardKey& key, const std::string& tag) const {
  const auto found = overwritten_.find({key, tag});
  if (found != overwritten_.end()) return found->second;
  return store.recorded(key, tag);
}

void Laws::submitted(coordinator::StageId id, const PlannedStage& stage) {
  shares_.submitted(id, stage);
  for (const coordinator::Range& range : stage.ranges) {
    for (int64_t i = range.first; i < range.end; ++i) {
      wants_[stage.keys[static_cast<size_t>(i)]].push_back({id, range.tag});
    }
  }
}

void Laws::committed(const std::vector<Step>& steps) {
  for (const Step& step : steps) {
    note_stages(step.event);
    for (const coordinator::Action& action : step.actions) {
      if (const auto* grant = std::get_if<coordinator::RecordGrant>(&action)) granted(*grant);
      if (const auto* result = std::get_if<coordinator::RecordResult>(&action)) recorded(*result);
      if (const auto* end = std::get_if<coordinator::EndAttempt>(&action)) ended(*end);
      if (const auto* bad = std::get_if<coordinator::Quarantine>(&action)) {
        quarantined(*bad);
      }
      if (const auto* forgive = std::get_if<coordinator::Forgive>(&action)) {
        quarantined_.erase(forgive->key);
        for (auto& [number, attempt] : attempts_[forgive->key]) attempt.forgiven = true;
      }
      if (const auto* complete = std::get_if<coordinator::StageComplete>(&action)) {
        paused_.erase(complete->stage);
      }
      if (std::holds_alternative<coordinator::Alarm>(action)) ++n_alarms_;
    }
    if (std::holds_alternative<coordinator::StageClosed>(step.event)) nothing_is_lent_unwanted();
    watch_.stepped(step);
    shares_.stepped(step);
  }
}

void Laws::note_stages(const coordinator::Event& event) {
  if (const auto* opened = std::get_if<coordinator::StageOpened>(&event)) {
    paused_[opened->stage] = opened->paused;
  } else if (const auto* closed = std::get_if<coordinator::StageClosed>(&event)) {
    paused_.erase(closed->stage);
  } else if (const auto* paused = std::get_if<coordinator::StagePaused>(&event)) {
    if (paused_.contains(paused->stage)) paused_[paused->stage] = true;
  } else if (const auto* resumed = std::get_if<coordinator::StageResumed>(&event)) {
    if (paused_.contains(resumed->stage)) paused_[resumed->stage] = false;
  }
}

bool Laws::wanted(const ShardKey& key, bool now) const {
  const std::vector<Want>& wants = wants_.at(key);
  return std::any_of(wants.begin(), wants.end(), [&](const Want& want) {
    const auto stage = paused_.find(want.stage);
    if (stage == paused_.end() || (now && stage->second)) return false;
    if (want.tag != kAnyTag) return !results_.contains({key, want.tag});
    const auto first = results_.lower_bound({key, ""});
    return first == results_.end() || first->first.first != key;
  });
}

void Laws::nothing_is_lent_unwanted() const {
  for (const auto& [key, attempts] : attempts_) {
    if (wanted(key, false)) continue;
    for (const auto& [number, attempt] : attempts) {
      if (attempt.outcome != Outcome::kGranted) continue;
      world_.violated(4, short_name(key) + " is lent to " + attempt.worker +
                             ", though no stage wants it since one was cancelled");
    }
  }
}

void Laws::granted(const coordinator::RecordGrant& grant) {
  std::map<int64_t, Attempt>& attempts = attempts_[grant.key];
  const auto known = attempts.find(grant.attempt);
  if (known != attempts.end() && known->second.worker != grant.worker) {
    world_.violated(2, "attempt " + std::to_string(grant.attempt) + " at " + short_name(grant.key) +
                           " was granted to two workers");
  }
  if (known == attempts.end() && !attempts.empty() &&
      attempts.rbegin()->first + 1 != grant.attempt) {
    world_.violated(2, "attempt numbers of " + short_name(grant.key) + " have a gap");
  }
  for (const auto& [number, attempt] : attempts) {
    if (attempt.outcome == Outcome::kGranted) {
      world_.violated(2, short_name(grant.key) + " is lent twice at the same time");
    }
  }
  if (quarantined_.contains(grant.key)) {
    world_.violated(5, "quarantined shard " + short_name(grant.key) + " was granted");
  }
  // What runs already may go on while its stage is paused.
  if (!wanted(grant.key, known == attempts.end())) {
    world_.violated(4, short_name(grant.key) + " was granted to " + grant.worker +
                           ", where every stage that wants it is paused, cancelled or complete");
  }
  attempts[grant.attempt] = {.worker = grant.worker, .tag = grant.tag};
}

void Laws::recorded(const coordinator::RecordResult& record) {
  const ShardDone& done = record.done;
  const std::map<int64_t, Attempt>& attempts = attempts_[done.key];
  const bool was_granted = std::any_of(attempts.begin(), attempts.end(), [&](const auto& attempt) {
    return attempt.second.worker == record.worker && attempt.second.tag == done.tag;
  });
  if (!was_granted) {
    world_.violated(2, "a result of " + short_name(done.key) + " under tag " + done.tag + " by " +
                           record.worker + ", which was never granted it, was recorded");
  }
  if (has_defect(done)) {
    world_.violated(2, "a defective result of " + short_name(done.key) + " was recorded");
  }
  const Nature by_nature = nature(done.key);
  if (done.tag != kNoopTag && by_nature != Nature::kHealthy && by_nature != Nature::kFlaky) {
    world_.violated(2, "a result of poison shard " + short_name(done.key) + " was recorded");
  }
  const auto [first, is_new] = results_.try_emplace({done.key, done.tag}, done.hash);
  if (first->second != done.hash) ++n_alarms_;
  if (disk_.recorded(done.key, done.tag) != first->second) {
    world_.violated(2, "the first result of " + short_name(done.key) + " is not the one on disk");
  }
}

void Laws::ended(const coordinator::EndAttempt& end) {
  std::map<int64_t, Attempt>& attempts = attempts_[end.key];
  const auto found = attempts.find(end.attempt);
  if (found == attempts.end()) {
    world_.violated(4, "an attempt at " + short_name(end.key) + " ended that was never recorded");
  }
  const bool by_report = coordinator::is_charge(end.outcome) || end.outcome == Outcome::kKilled;
  if (by_report && !reported_.contains({end.key, end.attempt, found->second.worker})) {
    world_.violated(5, "attempt " + std::to_string(end.attempt) + " at " + short_name(end.key) +
                           " was charged with \"" + std::string(to_string(end.outcome)) +
                           "\", but " + found->second.worker + " never reported it");
  }
  if (end.outcome == Outcome::kGivenBack &&
      !given_back_.contains({end.key, end.attempt, found->second.worker})) {
    world_.violated(5, "attempt " + std::to_string(end.attempt) + " at " + short_name(end.key) +
                           " ended as given back, but " + found->second.worker +
                           " never gave it back");
  }
  found->second.outcome = end.outcome;
  found->second.suspect = end.suspect;
}

void Laws::about_to_quarantine(const ShardKey& key, const coordinator::Scheduler& scheduler) {
  // Of the models that want the shard, the one with the fewest able workers.
  size_t fewest = SIZE_MAX;
  for (const PlannedSweep* sweep : {&plan_.main, &plan_.cancelled, &plan_.noop}) {
    for (const PlannedStage& stage : sweep->stages) {
      for (const coordinator::Range& range : stage.ranges) {
        const auto at = stage.keys.begin();
        if (std::find(at + range.first, at + range.end, key) == at + range.end) continue;
        size_t n = 0;
        for (const coordinator::WorkerView& worker : scheduler.workers()) {
          const bool able = std::any_of(
              worker.runners.begin(), worker.runners.end(), [&](const RunnerInfo& runner) {
                return !runner.tag.empty() && (range.tag == kAnyTag || range.tag == runner.tag);
              });
          n += worker.connected && !worker.draining && able;
        }
        fewest = std::min(fewest, n);
      }
    }
  }
  n_able_[key] = fewest;
}

void Laws::quarantined(const coordinator::Quarantine& quarantine) {
  struct Count {
    int limit = 0, n = 0;
    std::set<std::string> workers = {};
    bool enough(bool another) const {
      return n >= limit && (workers.size() >= 2 || n >= 2 * limit || !another);
    }
  };
  Count charges{settings_.charges_to_quarantine}, suspects{settings_.charges_to_quarantine},
      losses{settings_.max_losses};
  for (const auto& [number, attempt] : attempts_[quarantine.key]) {
    if (attempt.forgiven) continue;
    const bool loss = coordinator::is_loss(attempt.outcome);
    const std::pair<bool, Count*> counts[] = {{coordinator::is_charge(attempt.outcome), &charges},
                                              {loss && attempt.suspect, &suspects},
                                              {loss, &losses}};
    for (const auto& [counted, count] : counts) {
      if (!counted) continue;
      ++count->n;
      count->workers.insert(attempt.worker);
    }
  }
  const bool another = n_able_.at(quarantine.key) >= 2;
  if (!charges.enough(another) && !suspects.enough(another) && !losses.enough(another)) {
    world_.violated(5, short_name(quarantine.key) + " was quarantined for " +
                           std::to_string(charges.n) + " charge(s) on " +
                           std::to_string(charges.workers.size()) + " worker(s) and " +
                           std::to_string(losses.n) + " loss(es), " + std::to_string(suspects.n) +
                           " of them suspect");
  }
  if (quarantine.evidence.empty()) {
    world_.violated(5, short_name(quarantine.key) + " was quarantined without evidence");
  }
  quarantined_.insert(quarantine.key);
}

void Laws::restarted() {
  paused_.clear();
  watch_.restarted();
  shares_.restarted();
  for (const auto& [which, hash] : results_) {
    if (disk_.recorded(which.first, which.second) != hash) {
      world_.violated(1, "the committed result of " + short_name(which.first) +
                             " is not on disk after the coordinator's crash");
    }
  }
}

void Laws::grant_arrived(const std::string& worker, const Grant& grant) {
  const auto attempts = attempts_.find(grant.key);
  if (attempts == attempts_.end() || !attempts->second.contains(grant.attempt) ||
      attempts->second.at(grant.attempt).worker != worker) {
    world_.violated(4, worker + " was granted attempt " + std::to_string(grant.attempt) + " at " +
                           short_name(grant.key) + ", which is not on disk");
  }
}

void Laws::acknowledged(const std::string& worker, const ShardDone& done) {
  const auto found = results_.find({done.key, done.tag});
  if (found == results_.end()) {
    world_.violated(1, "the result of " + short_name(done.key) + " was acknowledged to " + worker +
                           ", but is not on disk");
  }
  if (found->second != done.hash && n_alarms_ == 0) {
    world_.violated(2, "two hashes of " + short_name(done.key) + " raised no alarm");
  }
}

void Laws::failure_reported(const std::string& worker, const ShardKey& key, int64_t attempt) {
  reported_.insert({key, attempt, worker});
}

void Laws::gave_back(const std::string& worker, const ShardKey& key, int64_t attempt) {
  given_back_.insert({key, attempt, worker});
}

void Laws::introduced(const std::string& worker, const Hello& hello,
                      const std::map<ShardKey, ShardDone>& on_disk) const {
  for (const auto& [key, done] : on_disk) {
    const bool listed = std::any_of(hello.held.begin(), hello.held.end(), [&](const Held& held) {
      return held.key == key && held.state == HeldState::kDone;
    });
    if (listed) continue;
    world_.violated(1, worker + " has forgotten its result of " + short_name(key) +
                           ", which nobody has acknowledged");
  }
}

void Laws::result_sent(const std::string& worker, const ShardDone& done, bool persisted) const {
  if (!persisted && done.tag != kNoopTag) {
    world_.violated(1, worker + " sent the result of " + short_name(done.key) +
                           " before it was on its own disk");
  }
}

void Laws::stage_finished(const PlannedStage& stage) const {
  for (const coordinator::Range& range : stage.ranges) {
    for (int64_t i = range.first; i < range.end; ++i) {
      const ShardKey& key = stage.keys[static_cast<size_t>(i)];
      std::vector<std::string> tags = {range.tag};
      if (range.tag == kAnyTag) tags = plan_.worker_tags;
      bool recorded = false, right = false;
      for (const std::string& tag : tags) {
        const auto found = results_.find({key, tag});
        if (found == results_.end()) continue;
        recorded = true;
        right |= found->second == sha256(right_result(key, tag));
      }
      if (!recorded && !quarantined_.contains(key)) {
        world_.violated(3, "stage " + stage.name + " is complete without shard " +
                               std::to_string(i) + " (" + short_name(key) + ")");
      }
      if (recorded && !right && plan_.unsound_worker < 0) {
        world_.violated(3, "shard " + std::to_string(i) + " of stage " + stage.name +
                               " has another value than it should");
      }
    }
  }
}

}  // namespace headcount::simulator
