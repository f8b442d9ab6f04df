// What the tests of the scheduler share: a coordinator's shell of a few lines, on records kept in
// memory, in the domain's words.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "coordinator/scheduler/scheduler.h"

namespace headcount::coordinator {

inline ShardKey shard(const std::string& name) { return sha256(name); }

inline Settings settings() {
  Settings settings;
  settings.version = "1.0";
  return settings;
}

/// Applies records at once and remembers the actions of the last step.
class SchedulerTest : public ::testing::Test, public Records {
 protected:
  void plan(StageId stage, const std::vector<std::string>& names) {
    for (const std::string& name : names) keys_[stage].push_back(shard(name));
  }
  void open(StageId stage, const std::string& tag = "A", std::vector<int64_t> done = {},
            std::vector<int64_t> quarantined = {}) {
    const auto n = static_cast<int64_t>(keys_.at(stage).size());
    step(StageOpened{.stage = stage,
                     .sweep = 1,
                     .priority = 0,
                     .n_shards = n,
                     .ranges = {{0, n, tag}},
                     .done = std::move(done),
                     .quarantined = std::move(quarantined)});
  }
  void says(const std::string& worker, Message message, const std::string& defect = "") {
    step(WorkerMessage{worker, "at " + worker, std::move(message), defect});
  }
  void hello(const std::string& worker, int n_runners = 1, const std::string& tag = "A",
             uint64_t incarnation = 1, std::vector<Held> held = {}) {
    Hello message;
    message.version = "1.0";
    message.incarnation = incarnation;
    message.host = worker;
    message.runners.assign(static_cast<size_t>(n_runners), {.device = "cpu", .tag = tag});
    message.held = std::move(held);
    says(worker, message);
  }
  void heartbeat(const std::string& worker, std::vector<Held> held, bool draining = false) {
    Heartbeat message;
    message.incarnation = 1;
    message.runners = {{.device = "cpu", .tag = "A"}};
    message.held = std::move(held);
    message.draining = draining;
    says(worker, message);
  }
  void done(const std::string& worker, const std::string& name, int64_t attempt = 1,
            double seconds = 0.5, const std::string& tag = "A",
            const std::string& value = "right") {
    says(worker, ShardDone{.key = shard(name),
                           .attempt = attempt,
                           .tag = tag,
                           .device = "cpu",
                           .hash = sha256(value),
                           .seconds = seconds,
                           .result = value});
  }
  void fails(const std::string& worker, const std::string& name, int64_t attempt,
             Cause cause = Cause::kException) {
    says(worker, ShardFailed{.key = shard(name),
                             .attempt = attempt,
                             .cause = cause,
                             .message = "why\nmore",
                             .device = "cpu"});
  }
  void after(Millis delay) {
    now_ += delay;
    step(Tick{});
  }
  /// Time passes, and these workers go on saying what they hold.
  void quiet_for(Millis duration, const std::map<std::string, std::vector<Held>>& workers) {
    for (Millis passed = 0; passed < duration; passed += 1000) {
      for (const auto& [worker, held] : workers) heartbeat(worker, held);
      after(1000);
    }
  }
  void step(Event event) {
    actions_.clear();
    for (Action& action : scheduler_.step(std::move(event), now_)) {
      if (is_record(action)) apply(action);
      actions_.push_back(std::move(action));
    }
    scheduler_.check_invariants();
  }
  void restart() { scheduler_ = Scheduler(settings(), *this); }

  template <class A>
  std::vector<A> all() const {
    std::vector<A> found;
    for (const Action& action : actions_) {
      if (const A* it = std::get_if<A>(&action)) found.push_back(*it);
    }
    return found;
  }
  /// "w1:a/1": to whom, which shard, which attempt.
  std::vector<std::string> grants() const {
    std::vector<std::string> texts;
    for (const SendGrant& grant : all<SendGrant>()) {
      texts.push_back(grant.worker + ":" + name_of(grant.key) + "/" +
                      std::to_string(grant.attempt));
    }
    return texts;
  }
  template <class M>
  std::vector<std::string> sent() const {
    std::vector<std::string> workers;
    for (const Send& send : all<Send>()) {
      if (std::holds_alternative<M>(send.message)) workers.push_back(send.worker);
    }
    return workers;
  }
  std::string name_of(const ShardKey& key) const {
    for (char c = 'a'; c <= 'z'; ++c) {
      if (shard(std::string(1, c)) == key) return std::string(1, c);
    }
    return "?";
  }
  static Held held(const std::string& name, int64_t attempt, HeldState state = HeldState::kRunning,
                   double progress = 0) {
    return {.key = shard(name), .attempt = attempt, .state = state, .progress = progress};
  }

  ShardKey key(StageId stage, int64_t index) const override {
    return keys_.at(stage).at(static_cast<size_t>(index));
  }
  std::vector<Place> places(const ShardKey& key) const override {
    std::vector<Place> found;
    for (const auto& [stage, keys] : keys_) {
      for (size_t i = 0; i < keys.size(); ++i) {
        if (keys[i] == key) found.push_back({stage, static_cast<int64_t>(i)});
      }
    }
    return found;
  }
  std::optional<Digest> recorded(const ShardKey& key, const std::string& tag) const override {
    for (const auto& [which, hash] : results_) {
      if (which.first == key && (tag == kAnyTag || which.second == tag)) return hash;
    }
    return std::nullopt;
  }
  std::vector<int64_t> attempts(const ShardKey& key, const WorkerKey& worker,
                                const std::string& tag) const override {
    std::vector<int64_t> numbers;
    if (!attempts_.contains(key)) return numbers;
    for (const EndedAttempt& attempt : attempts_.at(key)) {
      if (attempt.worker == worker && attempt.tag == tag) numbers.push_back(attempt.attempt);
    }
    return numbers;
  }
  int64_t last_attempt(const ShardKey& key) const override {
    const auto found = attempts_.find(key);
    return found == attempts_.end() ? 0 : static_cast<int64_t>(found->second.size());
  }
  std::vector<EndedAttempt> ended(const ShardKey& key) const override {
    std::vector<EndedAttempt> ended;
    if (!attempts_.contains(key)) return ended;
    for (const EndedAttempt& attempt : attempts_.at(key)) {
      if (attempt.outcome != Outcome::kGranted && attempt.attempt > forgiven(key)) {
        ended.push_back(attempt);
      }
    }
    return ended;
  }
  Outcome outcome(const std::string& name, int64_t attempt) const {
    return attempts_.at(shard(name)).at(static_cast<size_t>(attempt - 1)).outcome;
  }

  Millis now_ = 1000;
  std::vector<Action> actions_;  // of the last step
  Scheduler scheduler_{settings(), *this};
  std::map<std::pair<ShardKey, std::string>, Digest> results_;

 private:
  int64_t forgiven(const ShardKey& key) const {
    const auto found = forgiven_.find(key);
    return found == forgiven_.end() ? 0 : found->second;
  }
  void apply(const Action& action) {
    if (const auto* grant = std::get_if<RecordGrant>(&action)) {
      auto& attempts = attempts_[grant->key];
      const auto index = static_cast<size_t>(grant->attempt - 1);
      ASSERT_LE(index, attempts.size());
      if (index == attempts.size()) attempts.emplace_back();
      attempts[index] = {.attempt = grant->attempt,
                         .worker = grant->worker,
                         .tag = grant->tag,
                         .outcome = Outcome::kGranted,
                         .message = ""};
    } else if (const auto* result = std::get_if<RecordResult>(&action)) {
      results_.try_emplace({result->done.key, result->done.tag}, result->done.hash);
    } else if (const auto* end = std::get_if<EndAttempt>(&action)) {
      EndedAttempt& attempt = attempts_.at(end->key).at(static_cast<size_t>(end->attempt - 1));
      attempt.outcome = end->outcome;
      attempt.message = end->message;
      attempt.suspect = end->suspect;
    } else if (const auto* forgive = std::get_if<Forgive>(&action)) {
      forgiven_[forgive->key] = last_attempt(forgive->key);
    }
  }

  std::map<StageId, std::vector<ShardKey>> keys_;
  std::map<ShardKey, std::vector<EndedAttempt>> attempts_;
  std::map<ShardKey, int64_t> forgiven_;
};

}  // namespace headcount::coordinator
