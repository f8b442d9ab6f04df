// How leases end, one rule at a time: charges, losses, silence, restarts. Faults in combination:
// tests/simulator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "coordinator/scheduler/scheduler_fixture.h"

namespace headcount::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

constexpr Millis kElevenMinutes = 660'000;

TEST_F(SchedulerTest, KillsFromOutsideAreFreeUpToACap) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt <= settings().max_losses; ++attempt) {
    ASSERT_THAT(all<Quarantine>(), IsEmpty());
    now_ += kElevenMinutes;
    fails("w1", "a", attempt, Cause::kKilled);
  }
  EXPECT_THAT(all<Quarantine>(), SizeIs(1));
}

TEST_F(SchedulerTest, TwentyKillsOfOneWorkerQuarantineNothingWhereThereIsAnother) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt <= 19; ++attempt) {
    now_ += kElevenMinutes;
    fails("w1", "a", attempt, Cause::kKilled);
  }
  ASSERT_EQ(outcome("a", 20), Outcome::kGranted);
  hello("w2");
  now_ += kElevenMinutes;
  fails("w1", "a", 20, Cause::kKilled);
  EXPECT_THAT(all<Quarantine>(), IsEmpty());
  EXPECT_THAT(grants(), ElementsAre("w2:a/21"));
  now_ += kElevenMinutes;
  fails("w2", "a", 21, Cause::kKilled);
  EXPECT_THAT(all<Quarantine>(), SizeIs(1));
}

TEST_F(SchedulerTest, ThreeQuickLossesWithNothingFinishedMeanwhileAreEnough) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  for (int attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_THAT(all<Quarantine>(), IsEmpty());
    now_ += 60'000;
    fails("w1", "a", attempt, Cause::kKilled);
  }
  EXPECT_THAT(all<Quarantine>(), SizeIs(1));
}

TEST_F(SchedulerTest, ALossIsNoSuspicionWhereItsWorkerFinishedSomethingElseMeanwhile) {
  plan(1, {"a", "b", "c", "d", "e", "f", "g"});
  open(1);
  hello("w1", 2);
  for (int attempt = 1; attempt <= 4; ++attempt) {
    now_ += 60'000;
    done("w1", std::string(1, static_cast<char>('a' + attempt)), 1, 60);
    now_ += 1000;
    fails("w1", "a", attempt, Cause::kKilled);
    ASSERT_THAT(all<Quarantine>(), IsEmpty()) << attempt;
  }
}

TEST_F(SchedulerTest, WhatWasLostBeforeARestartIsRememberedAsSuspect) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  fails("w1", "a", 1, Cause::kKilled);
  fails("w1", "a", 2, Cause::kKilled);
  restart();
  open(1);
  step(Restored{{{shard("a"), 3, "w1", "A"}}});
  hello("w1", 1, "A", 1, {held("a", 3)});
  fails("w1", "a", 3, Cause::kKilled);
  EXPECT_THAT(all<Quarantine>(), IsEmpty()) << "nobody saw when that one began";
  fails("w1", "a", 4, Cause::kKilled);
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
  EXPECT_THAT(scheduler_.leases(), SizeIs(2)) << "as if one had taken a minute";
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

TEST_F(SchedulerTest, AnOldHeartbeatRevivesNoAttemptThatFailed) {
  plan(1, {"a", "b"});
  plan(2, {"a"});
  open(1);
  open(2);
  hello("w1");
  for (int attempt = 1; attempt <= 3; ++attempt) fails("w1", "a", attempt);
  heartbeat("w1", {held("a", 3), held("b", 1)});
  EXPECT_THAT(all<RecordGrant>(), IsEmpty());
  EXPECT_THAT(sent<Revoke>(), ElementsAre("w1"));
  EXPECT_EQ(outcome("a", 3), Outcome::kException);
}

TEST_F(SchedulerTest, AWorkerThatReturnsKeepsWhatItRunsAndAnotherHasNotBegun) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  heartbeat("w1", {held("a", 1, HeldState::kRunning, 0.7)});
  step(WorkerGone{"w1"});
  hello("w2");
  ASSERT_THAT(grants(), ElementsAre("w2:a/2"));
  heartbeat("w2", {held("a", 2, HeldState::kQueued)});
  now_ += 180'000;
  hello("w1", 1, "A", 1, {held("a", 1, HeldState::kRunning, 0.8)});
  EXPECT_THAT(sent<Revoke>(), ElementsAre("w2"));
  ASSERT_THAT(scheduler_.leases(), SizeIs(1));
  EXPECT_EQ(scheduler_.leases()[0].worker, "w1");
  EXPECT_EQ(outcome("a", 1), Outcome::kGranted);
  EXPECT_EQ(outcome("a", 2), Outcome::kRevoked);
  done("w1", "a", 1);
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
}

TEST_F(SchedulerTest, AWorkerThatReturnsLosesWhatRunsElsewhereOrIsDone) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  step(WorkerGone{"w1"});
  hello("w2");
  heartbeat("w2", {held("a", 2), held("b", 2, HeldState::kQueued)});
  done("w2", "b", 2);
  hello("w1", 1, "A", 1, {held("a", 1), held("b", 1)});
  EXPECT_THAT(sent<Revoke>(), ElementsAre("w1", "w1"));
  EXPECT_EQ(outcome("a", 2), Outcome::kGranted);
}

TEST_F(SchedulerTest, AWorkerThatReturnsDrainingGoesOnWithWhatItRuns) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  step(WorkerGone{"w1"});
  step(StagePaused{1});
  hello("w1", 1, "A", 1, {held("a", 1)});
  EXPECT_THAT(sent<Revoke>(), IsEmpty());
  EXPECT_EQ(outcome("a", 1), Outcome::kGranted);
}

TEST_F(SchedulerTest, AfterARestartLeasesWaitLongerThanAWorkerWaitsToConnect) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  restart();
  open(1);
  step(Restored{{{shard("a"), 1, "w1", "A"}, {shard("b"), 1, "w1", "A"}}});
  hello("w2");
  quiet_for(45'000, {{"w2", {}}});
  hello("w1", 1, "A", 1, {held("a", 1), held("b", 1, HeldState::kQueued)});
  EXPECT_THAT(sent<Revoke>(), IsEmpty());
  EXPECT_EQ(outcome("a", 1), Outcome::kGranted);
  EXPECT_EQ(outcome("b", 1), Outcome::kGranted);
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

TEST_F(SchedulerTest, ProgressOfOneRunnerRenewsNoLeaseOfAnother) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1", 2);
  for (int i = 1; i <= 10; ++i) {
    quiet_for(50'000, {{"w1", {held("a", 1), held("b", 1, HeldState::kRunning, 0.05 * i)}}});
  }
  EXPECT_EQ(outcome("a", 1), Outcome::kExpired);
  EXPECT_EQ(outcome("b", 1), Outcome::kGranted);
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
  step(Restored{{{shard("b"), 1, "w1", "A"}}});
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
  step(Restored{{{shard("a"), 1, "w1", "A"}}});
  hello("w2");
  EXPECT_THAT(grants(), IsEmpty());
  for (int i = 0; i < 70; ++i) {
    heartbeat("w2", {});
    after(1000);
    if (!grants().empty()) break;
  }
  EXPECT_THAT(grants(), ElementsAre("w2:a/2"));
}

TEST_F(SchedulerTest, AStageOpenedAfterARestartTakesUpItsLeasesBeforeAnythingIsGranted) {
  plan(1, {"a", "b"});
  open(1);
  hello("w1");
  restart();
  hello("w2");  // there already when the stage has been read again
  StageOpened event{.stage = 1, .sweep = 1, .n_shards = 2, .ranges = {{0, 2, "A"}}};
  event.attempts = {{shard("a"), 1, "w1", "A"}, {shard("b"), 1, "w1", "A"}};
  step(event);
  EXPECT_THAT(grants(), IsEmpty());
  hello("w1", 1, "A", 1, {held("a", 1), held("b", 1, HeldState::kQueued)});
  EXPECT_THAT(sent<Revoke>(), IsEmpty());
  done("w1", "a");
  EXPECT_THAT(sent<Ack>(), ElementsAre("w1"));
}

TEST_F(SchedulerTest, AStageOpenedPausedGrantsNothing) {
  plan(1, {"a"});
  hello("w1");
  step(StageOpened{.stage = 1, .sweep = 1, .n_shards = 1, .ranges = {{0, 1, "A"}}, .paused = true});
  EXPECT_THAT(grants(), IsEmpty());
  step(StageResumed{1});
  EXPECT_THAT(grants(), ElementsAre("w1:a/1"));
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

}  // namespace
}  // namespace headcount::coordinator
