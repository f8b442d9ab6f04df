// Who gets what, and what becomes of results, one rule at a time. Faults in combination:
// tests/simulator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/scheduler_fixture.h"
#include "schemas/error.h"

namespace headcount::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

TEST_F(SchedulerTest, ExecutesAKeyOnceThatIsWantedAgainWhereTheCursorStands) {
  plan(1, {"a", "b", "a"});
  open(1);
  hello("w1");
  ASSERT_THAT(grants(), ElementsAre("w1:a/1", "w1:b/1"));
  done("w1", "a");
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_EQ(scheduler_.stage(1)->n_done, 2);
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

TEST_F(SchedulerTest, RefusesAResultUnderATagItsWorkerWasNotAskedFor) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  hello("w2", 1, "B");
  for (int i = 0; i < 20; ++i) {
    done("w1", "a", 1, 0.5, "B" + std::to_string(i));
    EXPECT_THAT(all<RecordResult>(), IsEmpty());
    EXPECT_THAT(sent<Ack>(), IsEmpty());
    EXPECT_THAT(sent<Revoke>(), ElementsAre("w1"));
    EXPECT_THAT(all<Alarm>(), SizeIs(1));
  }
  EXPECT_EQ(outcome("a", 1), Outcome::kException);
  EXPECT_EQ(outcome("a", 2), Outcome::kGranted);
  done("w1", "a", 2, 0.5, "B");
  EXPECT_THAT(results_, IsEmpty()) << "nor under a tag that others have";
}

TEST_F(SchedulerTest, AResultUnderAnyTagIsRefusedWhereTheModelIsBoundToNone) {
  plan(1, {"a"});
  open(1, std::string(kAnyTag));
  hello("w1", 1, "A");
  done("w1", "a", 1, 0.5, "B");
  EXPECT_THAT(results_, IsEmpty());
  done("w1", "a", 2, 0.5, std::string(kNoopTag));
  EXPECT_THAT(results_, IsEmpty());
  done("w1", "a", 3, 0.5, "A");
  EXPECT_THAT(results_, SizeIs(1));
}

TEST_F(SchedulerTest, AResultOfAJournalCountsAfterItsWorkersLibrariesWereUpgraded) {
  plan(1, {"a"});
  open(1);
  hello("w1", 1, "A");
  restart();
  open(1);
  step(Restored{{{shard("a"), 1, "w1", "A"}}});
  hello("w1", 1, "B", 2, {held("a", 1, HeldState::kDone)});
  done("w1", "a", 1, 0.5, "A");
  EXPECT_THAT(sent<Ack>(), ElementsAre("w1"));
  EXPECT_THAT(results_, SizeIs(1));
  EXPECT_THAT(all<StageComplete>(), SizeIs(1));
}

TEST_F(SchedulerTest, ALateResultEndsNoAttemptOfAnotherWorker) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  step(WorkerGone{"w1"});
  hello("w2");
  done("w1", "a", 2);
  EXPECT_EQ(outcome("a", 1), Outcome::kLate);
  EXPECT_EQ(outcome("a", 2), Outcome::kRevoked);
  EXPECT_THAT(results_, SizeIs(1));
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

TEST_F(SchedulerTest, AWorkerWhoseDiskIsFullGetsNothingUntilItHasRoomAgain) {
  hello("w1");
  Heartbeat full;
  full.incarnation = 1;
  full.runners = {{.device = "cpu", .tag = "A"}};
  full.problem = "cannot write journal: No space left on device";
  says("w1", full);
  plan(1, {"a"});
  open(1);
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_EQ(scheduler_.workers()[0].problem, full.problem);
  EXPECT_THAT(scheduler_.explain(1), ElementsAre("the worker on w1 waits: " + full.problem));
  heartbeat("w1", {});
  EXPECT_THAT(grants(), ElementsAre("w1:a/1"));
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

TEST_F(SchedulerTest, AStageOpenedWhileItsSweepIsPausedGetsNoGrants) {
  plan(1, {"a"});
  hello("w1");
  step(StageOpened{.stage = 1,
                   .sweep = 1,
                   .n_shards = 1,
                   .ranges = {{0, 1, "A"}},
                   .done = {},
                   .quarantined = {},
                   .paused = true});
  EXPECT_THAT(grants(), IsEmpty());
  step(StageResumed{1});
  EXPECT_THAT(grants(), ElementsAre("w1:a/1"));
}

TEST_F(SchedulerTest, ADrainingWorkerGetsNothingOfWhatAppears) {
  hello("w1");
  hello("w2");
  step(Drain{"w1"});
  plan(1, {"a", "b"});
  open(1);
  EXPECT_THAT(grants(), ElementsAre("w2:a/1", "w2:b/1"));
  heartbeat("w2", {held("a", 1), held("b", 1, HeldState::kQueued)}, true);  // SIGTERM there
  says("w2", GiveBack{{{shard("b"), 1}}});
  EXPECT_THAT(grants(), IsEmpty());
}

TEST_F(SchedulerTest, ALateGiveBackEndsNoNewerLease) {
  plan(1, {"a"});
  open(1);
  hello("w1");
  says("w1", GiveBack{{{shard("a"), 1}}});
  ASSERT_THAT(grants(), ElementsAre("w1:a/2"));
  says("w1", GiveBack{{{shard("a"), 1}}});  // doubled on the way
  EXPECT_THAT(grants(), IsEmpty());
  EXPECT_EQ(outcome("a", 2), Outcome::kGranted);
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
