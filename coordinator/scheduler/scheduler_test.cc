// The scheduler's rules, one by one, on records kept in memory. Faults in combination:
// tests/simulator.
#include "coordinator/scheduler/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ShardKey shard(const std::string& name) { return sha256(name); }

Settings settings() {
  Settings settings;
  settings.version = "1.0";
  return settings;
}

/// A coordinator's shell of a few lines: applies records at once and remembers what was sent.
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
  bool was_granted(const ShardKey& key, const WorkerKey& worker) const override {
    const auto found = attempts_.find(key);
    return found != attempts_.end() &&
           std::any_of(found->second.begin(), found->second.end(),
                       [&](const EndedAttempt& attempt) { return attempt.worker == worker; });
  }
  int64_t last_attempt(const ShardKey& key) const override {
    const auto found = attempts_.find(key);
    return found == attempts_.end() ? 0 : static_cast<int64_t>(found->second.size());
  }
  std::vector<EndedAttempt> ended(const ShardKey& key) const override {
    std::vector<EndedAttempt> ended;
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
      attempts[index] = {grant->attempt, grant->worker, Outcome::kGranted, ""};
    } else if (const auto* result = std::get_if<RecordResult>(&action)) {
      results_.try_emplace({result->done.key, result->done.tag}, result->done.hash);
    } else if (const auto* end = std::get_if<EndAttempt>(&action)) {
      EndedAttempt& attempt = attempts_.at(end->key).at(static_cast<size_t>(end->attempt - 1));
      attempt.outcome = end->outcome;
      attempt.message = end->message;
    } else if (const auto* forgive = std::get_if<Forgive>(&action)) {
      forgiven_[forgive->key] = last_attempt(forgive->key);
    }
  }

  std::map<StageId, std::vector<ShardKey>> keys_;
  std::map<ShardKey, std::vector<EndedAttempt>> attempts_;
  std::map<ShardKey, int64_t> forgiven_;
};

TEST_F(SchedulerTest, RecordsEveryGrantBeforeItIsSent) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  ASSERT_THAT(grants(), ElementsAre("w1:a/1", "w1:b/1"));
  std::set<ShardKey> recorded;
  for (const Action& action : actions_) {
    if (const auto* grant = std::get_if<RecordGrant>(&action)) recorded.insert(grant->key);
    if (const auto* send = std::get_if<SendGrant>(&action)) {
      EXPECT_TRUE(recorded.contains(send->key));
    }
  }
}

TEST_F(SchedulerTest, AcknowledgesAfterTheRecordAndEndsTheStage) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  done("w1", "a");
  ASSERT_THAT(all<RecordResult>(), SizeIs(1));
  EXPECT_THAT(sent<Ack>(), ElementsAre("w1"));
  ASSERT_THAT(all<StageComplete>(), SizeIs(1));
  EXPECT_EQ(all<StageComplete>()[0].n_missing, 0);
  EXPECT_FALSE(scheduler_.stage(1));
}

TEST_F(SchedulerTest, LendsTwoShardsARunnerUntilTheirTimeIsKnownAndThenOneSecondOfWork) {
  std::vector<std::string> names(1000);
  for (size_t i = 0; i < names.size(); ++i) names[i] = std::to_string(i);
  plan(1, names);
  open(1);
  hello("w1", 2);
  EXPECT_THAT(grants(), SizeIs(4));
  done("w1", "0", 1, 0.1);
  EXPECT_THAT(scheduler_.leases(), SizeIs(testing::AllOf(testing::Gt(4), testing::Le(20))));
  for (int i = 1; i < 60; ++i) done("w1", std::to_string(i), 1, 0.1);
  EXPECT_THAT(scheduler_.leases(), SizeIs(20));  // 10 of 0.1 s on each of two runners
  for (int i = 60; i < 400; ++i) done("w1", std::to_string(i), 1, 1e-6);
  EXPECT_THAT(scheduler_.leases(), SizeIs(512));
}

TEST_F(SchedulerTest, LendsOneShardARunnerWhenEachTakesLongerThanTheCredit) {
  plan(1, {"a", "b", "c", "d"});
  open(1);
  hello("w1");
  done("w1", "a", 1, 60);
  EXPECT_THAT(scheduler_.leases(), SizeIs(1));
  EXPECT_THAT(grants(), IsEmpty());
}

TEST_F(SchedulerTest, SpreadsASmallStageOverTheWorkers) {
  hello("w1");
  hello("w2");
  plan(1, {"a", "b"});
  open(1);
  EXPECT_THAT(grants(), ElementsAre("w1:a/1", "w2:b/1"));
}

TEST_F(SchedulerTest, GrantsOnlyToARunnerOfTheBoundTag) {
  plan(1, {"a"});
  open(1, "B");
  hello("w1", 1, "A");
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_THAT(scheduler_.explain(1), ElementsAre("no connected worker has tag B"));
  hello("w2", 1, "B");
  EXPECT_THAT(grants(), ElementsAre("w2:a/1"));
  EXPECT_EQ(all<SendGrant>()[0].tag, "B");
}

TEST_F(SchedulerTest, GrantsAnyTagWhereTheModelIsBoundToNone) {
  plan(1, {"a", "b", "c"});
  open(1, std::string(kAnyTag));
  hello("w1", 1, "A");
  EXPECT_EQ(all<SendGrant>()[0].tag, "A");
  hello("w2", 1, "B");
  EXPECT_THAT(grants(), ElementsAre("w2:c/1"));
  EXPECT_EQ(all<SendGrant>()[0].tag, "B");
}

TEST_F(SchedulerTest, NoopShardsNeedNoRunner) {
  plan(1, {"a"});
  open(1, std::string(kNoopTag));
  hello("w1", 0);
  EXPECT_THAT(grants(), ElementsAre("w1:a/1"));
  done("w1", "a", 1, 0, std::string(kNoopTag));
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
}

TEST_F(SchedulerTest, ServesTheOlderStageFirst) {
  plan(1, {"a"});
  plan(2, {"b"});
  open(2);
  open(1);
  hello("w1");
  EXPECT_THAT(grants(), ElementsAre("w1:a/1", "w1:b/1"));
}

TEST_F(SchedulerTest, ExecutesAKeyOnceThatTwoStagesWant) {
  plan(1, {"a"});
  plan(2, {"a", "b"});
  open(1);
  open(2);
  hello("w1");
  EXPECT_THAT(grants(), ElementsAre("w1:a/1", "w1:b/1"));
  done("w1", "a");
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
  EXPECT_EQ(scheduler_.stage(2)->n_done, 1);
}

TEST_F(SchedulerTest, ExecutesNothingThatIsRecordedAlready) {
  results_[{shard("a"), "A"}] = sha256("right");
  plan(1, {"a"});
  open(1);
  hello("w1");
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
}

TEST_F(SchedulerTest, AResultUnderAnotherTagIsNotThisStages) {
  results_[{shard("a"), "B"}] = sha256("right");
  plan(1, {"a"});
  open(1, "A");
  hello("w1");
  EXPECT_THAT(grants(), ElementsAre("w1:a/1"));
}

TEST_F(SchedulerTest, GrantsAgainWhatASilentWorkerHeld) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  hello("w2");
  now_ += 1000;
  for (int i = 0; i < 16; ++i) {
    heartbeat("w2", {});
    after(1000);
    if (!grants().empty()) break;
  }
  EXPECT_THAT(grants(), ElementsAre("w2:a/2"));
  EXPECT_EQ(outcome("a", 1), Outcome::kLostRunning);
}

TEST_F(SchedulerTest, TakesALateResultOfALeaseThatWasLost) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  step(WorkerGone{"w1"});
  hello("w2");
  ASSERT_THAT(grants(), ElementsAre("w2:a/2"));
  done("w1", "a", 1);
  EXPECT_THAT(all<RecordResult>(), SizeIs(1));
  EXPECT_THAT(sent<Ack>(), ElementsAre("w1"));
  EXPECT_THAT(sent<Revoke>(), ElementsAre("w2"));
  EXPECT_EQ(outcome("a", 1), Outcome::kLate);
  EXPECT_EQ(outcome("a", 2), Outcome::kRevoked);
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
}

TEST_F(SchedulerTest, AcknowledgesADoubledResultWithoutRecordingIt) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  done("w1", "a");
  done("w1", "a");
  EXPECT_THAT(all<RecordResult>(), IsEmpty());
  EXPECT_THAT(sent<Ack>(), ElementsAre("w1"));
}

TEST_F(SchedulerTest, HandsAnotherHashToTheStoreWhichRaisesTheAlarm) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  done("w1", "a");
  done("w1", "a", 1, 0.5, "A", "wrong");
  EXPECT_THAT(all<RecordResult>(), SizeIs(1));
  EXPECT_EQ(results_.at({shard("a"), "A"}), sha256("right"));
}

TEST_F(SchedulerTest, RefusesAResultOfAShardThatWorkerWasNeverGranted) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  done("w2", "a");
  EXPECT_THAT(all<RecordResult>(), IsEmpty());
  EXPECT_THAT(sent<Ack>(), IsEmpty());
  EXPECT_THAT(all<Alarm>(), SizeIs(1));
}

TEST_F(SchedulerTest, ChargesAnInvalidResultAsAFailure) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  says("w1",
       ShardDone{
           .key = shard("a"), .attempt = 1, .tag = "A", .device = "", .hash = {}, .result = ""},
       "array ig is not finite");
  EXPECT_THAT(all<RecordResult>(), IsEmpty());
  EXPECT_THAT(sent<Ack>(), IsEmpty());
  EXPECT_EQ(outcome("a", 1), Outcome::kException);
}

TEST_F(SchedulerTest, QuarantinesAfterThreeChargesOnTwoWorkers) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  fails("w1", "a", 1);
  fails("w1", "a", 2);
  hello("w2");
  EXPECT_THAT(scheduler_.leases(), SizeIs(1));
  EXPECT_EQ(scheduler_.leases()[0].worker, "w1") << "it was granted while w1 was alone";
  fails("w1", "a", 3);
  EXPECT_THAT(all<Quarantine>(), IsEmpty()) << "three charges on one worker do not do";
  EXPECT_THAT(grants(), ElementsAre("w2:a/4"));
  fails("w2", "a", 4, Cause::kSignal);
  ASSERT_THAT(all<Quarantine>(), SizeIs(1));
  EXPECT_THAT(all<Quarantine>()[0].evidence, HasSubstr("attempt 4 on w2: signal: why"));
  ASSERT_THAT(all<StageComplete>(), SizeIs(1));
  EXPECT_EQ(all<StageComplete>()[0].n_missing, 1);
}

TEST_F(SchedulerTest, QuarantinesOnTheOnlyWorkerThereIs) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt <= 3; ++attempt) fails("w1", "a", attempt);
  EXPECT_THAT(all<Quarantine>(), SizeIs(1));
}

TEST_F(SchedulerTest, KillsFromOutsideAreFreeUpToACap) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt < settings().max_losses; ++attempt) {
    fails("w1", "a", attempt, Cause::kKilled);
    ASSERT_THAT(all<Quarantine>(), IsEmpty());
  }
  fails("w1", "a", settings().max_losses, Cause::kKilled);
  EXPECT_THAT(all<Quarantine>(), SizeIs(1));
}

TEST_F(SchedulerTest, OnlyTheShardThatRanIsSuspectedWhenAWorkerIsLost) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  heartbeat("w1", {held("a", 1), held("b", 1, HeldState::kQueued)});
  step(WorkerGone{"w1"});
  EXPECT_EQ(outcome("a", 1), Outcome::kLostRunning);
  EXPECT_EQ(outcome("b", 1), Outcome::kLost);
}

TEST_F(SchedulerTest, IgnoresAFailureOfAnAttemptThatIsNotLent) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  fails("w1", "a", 1);
  fails("w1", "a", 1);  // doubled on the way
  EXPECT_EQ(outcome("a", 2), Outcome::kGranted);
}

TEST_F(SchedulerTest, AQuarantinedShardThatIsRetriedStartsWithACleanRecord) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt <= 3; ++attempt) fails("w1", "a", attempt);
  step(Retry{1});
  EXPECT_THAT(all<Forgive>(), SizeIs(1));
  EXPECT_THAT(grants(), ElementsAre("w1:a/4"));
  fails("w1", "a", 4);
  EXPECT_THAT(all<Quarantine>(), IsEmpty());
}

TEST_F(SchedulerTest, AQuarantinedShardIsNotTriedForAnotherStageThatWantsIt) {
  plan(1, {"a", "b", "d"});
  plan(2, {"a", "c"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt <= 3; ++attempt) fails("w1", "a", attempt);
  done("w1", "b", 1, 0.1);  // stage 1 stays open with d; and there is room
  open(2);
  EXPECT_THAT(grants(), ElementsAre("w1:c/1"));
}

TEST_F(SchedulerTest, AWorkerThatCannotOpenTheModelGetsNoMoreOfIt) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  fails("w1", "a", 1, Cause::kModelRefused);
  EXPECT_THAT(grants(), IsEmpty());
  hello("w2");
  EXPECT_THAT(grants(), ElementsAre("w2:a/2"));
  fails("w2", "a", 2, Cause::kModelRefused);
  hello("w2", 1, "A", 2);  // started again, with --model-path perhaps
  EXPECT_THAT(grants(), ElementsAre("w2:a/3"));
}

TEST_F(SchedulerTest, ATimeThatCannotBeSpoilsNoCredit) {
  plan(1, {"a", "b", "c", "d", "e", "f"});
  open(1);
  hello("w1");
  done("w1", "a", 1, std::numeric_limits<double>::quiet_NaN());
  done("w1", "b", 1, std::numeric_limits<double>::infinity());
  done("w1", "c", 1, -1);
  EXPECT_THAT(scheduler_.leases(), SizeIs(3));
}

TEST_F(SchedulerTest, SaysThatAShardRanOutOfMemory) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  fails("w1", "a", 1, Cause::kOutOfMemory);
  ASSERT_THAT(all<OutOfMemory>(), SizeIs(1));
  EXPECT_EQ(all<OutOfMemory>()[0].key, shard("a"));
}

TEST_F(SchedulerTest, SendsAGrantAgainThatAHeartbeatLacks) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  heartbeat("w1", {});
  EXPECT_THAT(grants(), IsEmpty()) << "it may still be on its way";
  now_ += 3000;
  heartbeat("w1", {});
  EXPECT_THAT(grants(), ElementsAre("w1:a/1"));
  EXPECT_THAT(all<RecordGrant>(), IsEmpty());
}

TEST_F(SchedulerTest, AdoptsALeaseItHadGivenUpWhileNobodyElseHasIt) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  step(WorkerGone{"w1"});
  ASSERT_THAT(scheduler_.leases(), IsEmpty());
  hello("w1", 1, "A", 1, {held("a", 1)});
  ASSERT_THAT(scheduler_.leases(), SizeIs(1));
  EXPECT_EQ(scheduler_.leases()[0].attempt, 1);
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_EQ(outcome("a", 1), Outcome::kGranted);
}

TEST_F(SchedulerTest, RevokesALeaseThatSomebodyElseHasNow) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  step(WorkerGone{"w1"});
  hello("w2");
  hello("w1", 1, "A", 1, {held("a", 1)});
  EXPECT_THAT(sent<Revoke>(), ElementsAre("w1"));
}

TEST_F(SchedulerTest, OnlyProgressRenewsALease) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  quiet_for(430'000, {{"w1", {held("a", 1, HeldState::kRunning, 0.5)}}});
  EXPECT_THAT(scheduler_.leases(), SizeIs(1));
  quiet_for(60'000, {{"w1", {held("a", 1, HeldState::kRunning, 0.5)}}});
  EXPECT_EQ(outcome("a", 1), Outcome::kExpired);
}

TEST_F(SchedulerTest, ProgressKeepsALeaseForAsLongAsItTakes) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  for (int i = 1; i <= 20; ++i) {
    quiet_for(100'000, {{"w1", {held("a", 1, HeldState::kRunning, 0.04 * i)}}});
  }
  EXPECT_EQ(outcome("a", 1), Outcome::kGranted);
}

TEST_F(SchedulerTest, ALeapOfTheClockCostsNoLease) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  after(3'600'000);
  EXPECT_EQ(outcome("a", 1), Outcome::kGranted);
  EXPECT_THAT(scheduler_.workers(), SizeIs(1));
}

TEST_F(SchedulerTest, AfterARestartLeasesGoOnAndNothingIsGrantedTwice) {
  plan(1, {"a", "b", "c"});
  open(1);
  hello("w1");
  done("w1", "a", 1, 0.5);
  restart();
  open(1, "A", {0});
  step(Restored{{{shard("b"), 1, "w1"}}});
  ASSERT_THAT(scheduler_.leases(), SizeIs(1));
  heartbeat("w1", {held("b", 1)});
  EXPECT_THAT(sent<Reintroduce>(), ElementsAre("w1"));
  hello("w1", 1, "A", 1, {held("b", 1)});
  EXPECT_THAT(sent<Welcome>(), ElementsAre("w1"));
  EXPECT_THAT(sent<Revoke>(), IsEmpty());
  EXPECT_THAT(scheduler_.leases(), SizeIs(2));
  done("w1", "b");
  done("w1", "c", 2);  // its first attempt was not restored here: it is numbered on
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
}

TEST_F(SchedulerTest, AfterARestartALeaseOfAWorkerThatNeverComesBackIsLost) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  restart();
  open(1);
  step(Restored{{{shard("a"), 1, "w1"}}});
  hello("w2");
  EXPECT_THAT(grants(), IsEmpty());
  for (int i = 0; i < 20; ++i) {
    heartbeat("w2", {});
    after(1000);
    if (!grants().empty()) break;
  }
  EXPECT_THAT(grants(), ElementsAre("w2:a/2"));
}

TEST_F(SchedulerTest, RefusesAWorkerOfAnotherVersionInOneSentence) {
  Hello message;
  message.version = "0.9";
  says("w1", message);
  ASSERT_THAT(sent<Refused>(), ElementsAre("w1"));
  EXPECT_THAT(std::get<Refused>(all<Send>()[0].message).reason,
              "this worker is headcount 0.9, the coordinator is headcount 1.0: install the same "
              "version on both");
}

TEST_F(SchedulerTest, ADaemonStartedLaterWithTheSameKeyReplacesTheEarlierOne) {
  plan(1, {"a"});
  open(1);
  hello("w1", 1, "A", 5);
  Hello newer;
  newer.version = "1.0";
  newer.incarnation = 6;
  newer.runners = {{.device = "cpu", .tag = "A"}};
  step(WorkerMessage{"w1", "elsewhere", newer, ""});
  const std::vector<Send> sends = all<Send>();
  ASSERT_THAT(sends, SizeIs(2));
  EXPECT_EQ(sends[0].connection, "at w1");
  EXPECT_TRUE(std::holds_alternative<Refused>(sends[0].message));
  EXPECT_EQ(sends[1].connection, "elsewhere");
  EXPECT_EQ(all<SendGrant>().at(0).connection, "elsewhere");
  hello("w1", 1, "A", 5);
  EXPECT_THAT(sent<Refused>(), ElementsAre("w1"));
}

TEST_F(SchedulerTest, ADrainingWorkerGetsNothingAndItsShardsGoElsewhere) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  step(Drain{"w1"});
  EXPECT_THAT(sent<DrainOrder>(), ElementsAre("w1"));
  hello("w2");
  says("w1", GiveBack{{{shard("b"), 1}}});
  EXPECT_THAT(grants(), ElementsAre("w2:b/2"));
  EXPECT_EQ(outcome("b", 1), Outcome::kGivenBack);
}

TEST_F(SchedulerTest, RecallsWhatHasNotStartedWhenAnotherWorkerIsIdle) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  hello("w2");
  quiet_for(3000, {{"w1", {held("a", 1), held("b", 1, HeldState::kQueued)}}, {"w2", {}}});
  EXPECT_THAT(sent<Recall>(), IsEmpty()) << "said once, then given time";
  EXPECT_THAT(scheduler_.leases(), SizeIs(2));
  says("w1", GiveBack{{{shard("b"), 1}}});
  EXPECT_THAT(grants(), ElementsAre("w2:b/2"));
}

TEST_F(SchedulerTest, APausedStageGetsNoGrantsAndGoesOnWhenResumed) {
  plan(1, {"a", "b", "c"});
  open(1);
  step(StagePaused{1});
  hello("w1");
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_THAT(scheduler_.explain(1)[0], HasSubstr("paused"));
  step(StageResumed{1});
  EXPECT_THAT(grants(), SizeIs(2));
}

TEST_F(SchedulerTest, AClosedStagesLeasesAreRevokedUnlessAnotherStageWantsThem) {
  plan(1, {"a", "b"});
  plan(2, {"b"});
  open(1);
  open(2);
  hello("w1");
  step(StageClosed{1});
  EXPECT_THAT(sent<Revoke>(), ElementsAre("w1"));
  EXPECT_EQ(outcome("a", 1), Outcome::kRevoked);
  EXPECT_EQ(outcome("b", 1), Outcome::kGranted);
}

TEST_F(SchedulerTest, AnswersAnUnknownConnectionByAskingForAnIntroduction) {
  heartbeat("w1", {});
  EXPECT_THAT(sent<Reintroduce>(), ElementsAre("w1"));
}

TEST(Outcome, TextsReadBackAsTheyAre) {
  for (int i = 0; i <= static_cast<int>(Outcome::kModelRefused); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    EXPECT_EQ(outcome_from_string(to_string(outcome)), outcome);
  }
  EXPECT_THROW(outcome_from_string("vanished"), Error);
}

}  // namespace
}  // namespace headcount::coordinator
