// The agent's rules, one by one. Faults in combination: tests/simulator.
#include "worker/agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "schemas/result.h"

namespace headcount::worker {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

ShardKey shard(const std::string& name) { return sha256(name); }

class AgentTest : public ::testing::Test {
 protected:
  static Settings settings() {
    Settings settings;
    settings.version = "1.0";
    settings.host = "node";
    settings.incarnation = 7;
    settings.devices = {"cpu"};
    return settings;
  }
  void step(Event event) { actions_ = agent_.step(std::move(event), now_); }
  void after(Millis delay) {
    for (Millis passed = 0; passed < delay; passed += 500) {
      now_ += 500;
      step(Tick{});
    }
  }
  void receive(Message message) { step(Received{std::move(message)}); }
  void welcomed_and_ready() {
    step(Tick{});
    receive(Welcome{.version = "1.0"});
    step(RunnerIsReady{0, {.device = "cpu", .tag = "A"}});
  }
  void grant(const std::string& name, int64_t attempt = 1, const std::string& tag = "A") {
    Grant message;
    message.key = shard(name);
    message.attempt = attempt;
    message.tag = tag;
    message.shard = "body of " + name;
    message.model_path = "model";
    receive(message);
  }
  void finish(const std::string& name) {
    step(RunnerFinished{0, shard(name), 0.5, "result of " + name});
  }

  template <class A>
  std::vector<A> all() const {
    std::vector<A> found;
    for (const Action& action : actions_) {
      if (const A* it = std::get_if<A>(&action)) found.push_back(*it);
    }
    return found;
  }
  template <class M>
  std::vector<M> sent() const {
    std::vector<M> found;
    for (const Send& send : all<Send>()) {
      if (const M* it = std::get_if<M>(&send.message)) found.push_back(*it);
    }
    return found;
  }

  Millis now_ = 0;
  Agent agent_{settings(), {}};
  std::vector<Action> actions_;  // of the last step
};

TEST_F(AgentTest, StartsItsRunnersAndSaysHelloFirst) {
  step(Tick{});
  EXPECT_THAT(all<StartRunner>(), SizeIs(1));
  ASSERT_THAT(sent<Hello>(), SizeIs(1));
  EXPECT_EQ(sent<Hello>()[0].incarnation, 7u);
  EXPECT_THAT(sent<Heartbeat>(), IsEmpty());
}

TEST_F(AgentTest, SaysHelloAgainUntilItIsWelcomed) {
  step(Tick{});
  after(2000);
  EXPECT_THAT(sent<Hello>(), SizeIs(1));
  receive(Welcome{.version = "1.0"});
  EXPECT_THAT(sent<Heartbeat>(), SizeIs(1));
  after(10'000);
  EXPECT_THAT(sent<Hello>(), IsEmpty());
}

TEST_F(AgentTest, PersistsAResultBeforeItIsSentAndForgetsItWhenAcknowledged) {
  welcomed_and_ready();
  grant("a");
  ASSERT_THAT(all<RunOn>(), SizeIs(1));
  EXPECT_EQ(all<RunOn>()[0].shard.shard, "body of a");
  finish("a");
  ASSERT_THAT(actions_, SizeIs(2));
  EXPECT_TRUE(std::holds_alternative<Persist>(actions_[0]));
  ASSERT_THAT(sent<ShardDone>(), SizeIs(1));
  EXPECT_EQ(sent<ShardDone>()[0].hash, sha256("result of a"));
  EXPECT_EQ(sent<ShardDone>()[0].tag, "A");
  receive(Ack{.key = shard("a")});
  EXPECT_THAT(all<Forget>(), SizeIs(1));
  EXPECT_THAT(agent_.held(), IsEmpty());
}

TEST_F(AgentTest, SendsAResultAgainUntilItIsAcknowledged) {
  welcomed_and_ready();
  grant("a");
  finish("a");
  after(9'500);
  EXPECT_THAT(sent<ShardDone>(), IsEmpty());
  after(500);
  EXPECT_THAT(sent<ShardDone>(), SizeIs(1));
  step(Reconnected{});
  receive(Welcome{.version = "1.0"});
  EXPECT_THAT(sent<ShardDone>(), SizeIs(1));
}

TEST_F(AgentTest, ResultsOfAnEarlierLifeAreSentOnceItIsWelcomed) {
  ShardDone kept;
  kept.key = shard("a");
  kept.attempt = 3;
  kept.tag = "A";
  kept.result = "result of a";
  agent_ = Agent(settings(), {kept});
  step(Tick{});
  ASSERT_THAT(sent<Hello>(), SizeIs(1));
  ASSERT_THAT(sent<Hello>()[0].held, SizeIs(1));
  EXPECT_EQ(sent<Hello>()[0].held[0].state, HeldState::kDone);
  EXPECT_THAT(sent<ShardDone>(), IsEmpty());
  receive(Welcome{.version = "1.0"});
  ASSERT_THAT(sent<ShardDone>(), SizeIs(1));
  EXPECT_EQ(sent<ShardDone>()[0].attempt, 3);
}

TEST_F(AgentTest, AnswersNoopShardsItself) {
  agent_ =
      Agent({.version = "1.0", .host = "node", .incarnation = 1, .devices = {}, .until = {}}, {});
  step(Tick{});
  receive(Welcome{.version = "1.0"});
  grant("a", 1, std::string(kNoopTag));
  EXPECT_THAT(all<Persist>(), IsEmpty());
  ASSERT_THAT(sent<ShardDone>(), SizeIs(1));
  EXPECT_EQ(decode_result(sent<ShardDone>()[0].result).arrays.at(0).name, "noop");
  receive(Ack{.key = shard("a")});
  EXPECT_THAT(agent_.held(), IsEmpty());
}

TEST_F(AgentTest, RunsShardsInTheOrderGranted) {
  welcomed_and_ready();
  grant("z");
  grant("a");
  finish("z");
  ASSERT_THAT(all<RunOn>(), SizeIs(1));
  EXPECT_EQ(all<RunOn>()[0].shard.key, shard("a"));
}

TEST_F(AgentTest, ADoubledGrantChangesNothingAndAnsweredOnesAreAnsweredAgain) {
  welcomed_and_ready();
  grant("a");
  grant("a");
  EXPECT_THAT(actions_, IsEmpty());
  finish("a");
  grant("a");
  EXPECT_THAT(sent<ShardDone>(), SizeIs(1));
}

TEST_F(AgentTest, ANewerAttemptAtAHeldShardTakesItsNumber) {
  welcomed_and_ready();
  grant("a", 1);
  grant("a", 2);
  receive(Revoke{.key = shard("a"), .attempt = 1});  // an old one, late
  finish("a");
  ASSERT_THAT(sent<ShardDone>(), SizeIs(1));
  EXPECT_EQ(sent<ShardDone>()[0].attempt, 2);
}

TEST_F(AgentTest, RevokingARunningShardKillsItsRunnerAndBlamesNobody) {
  welcomed_and_ready();
  grant("a");
  grant("b");
  receive(Revoke{.key = shard("a"), .attempt = 1});
  EXPECT_THAT(all<KillRunner>(), SizeIs(1));
  step(RunnerExited{0, Cause::kKilled, "signal 9"});
  EXPECT_THAT(sent<ShardFailed>(), IsEmpty());
  EXPECT_THAT(all<StartRunner>(), SizeIs(1));
  step(RunnerIsReady{0, {.device = "cpu", .tag = "A"}});
  ASSERT_THAT(all<RunOn>(), SizeIs(1));
  EXPECT_EQ(all<RunOn>()[0].shard.key, shard("b"));
}

TEST_F(AgentTest, RecallGivesBackOnlyWhatHasNotStarted) {
  welcomed_and_ready();
  grant("a");
  grant("b");
  receive(Recall{.key = shard("a"), .attempt = 1});
  EXPECT_THAT(sent<GiveBack>(), IsEmpty());
  receive(Recall{.key = shard("b"), .attempt = 1});
  ASSERT_THAT(sent<GiveBack>(), SizeIs(1));
  EXPECT_THAT(agent_.held(), SizeIs(1));
}

TEST_F(AgentTest, ReportsAFailureAndRestartsACrashedRunner) {
  welcomed_and_ready();
  grant("a");
  step(RunnerExited{0, Cause::kSignal, "signal 11"});
  ASSERT_THAT(sent<ShardFailed>(), SizeIs(1));
  EXPECT_EQ(sent<ShardFailed>()[0].cause, Cause::kSignal);
  EXPECT_THAT(all<StartRunner>(), SizeIs(1));
  EXPECT_THAT(agent_.held(), IsEmpty());
}

TEST_F(AgentTest, ARunnerWithABrokenDeviceIsReplaced) {
  welcomed_and_ready();
  grant("a");
  step(RunnerReported{0, shard("a"), Cause::kCuda, "illegal memory access"});
  EXPECT_THAT(all<KillRunner>(), SizeIs(1));
  EXPECT_THAT(sent<ShardFailed>(), SizeIs(1));
}

TEST_F(AgentTest, KillsARunnerWithoutProgressAndSaysThatItStalled) {
  welcomed_and_ready();
  grant("a");
  after(200'000);
  step(RunnerProgressed{0, shard("a"), 0.5});
  after(299'500);
  EXPECT_THAT(all<KillRunner>(), IsEmpty());
  after(500);
  EXPECT_THAT(all<KillRunner>(), SizeIs(1));
  ASSERT_THAT(sent<ShardFailed>(), SizeIs(1));
  EXPECT_EQ(sent<ShardFailed>()[0].cause, Cause::kStall);
}

TEST_F(AgentTest, ANightAsleepIsNoStall) {
  welcomed_and_ready();
  grant("a");
  now_ += 8 * 3'600'000;
  step(Tick{});
  EXPECT_THAT(all<KillRunner>(), IsEmpty());
}

TEST_F(AgentTest, DrainGivesBackWhatWaitsAndEndsWhenTheRestIsAcknowledged) {
  welcomed_and_ready();
  grant("a");
  grant("b");
  step(DrainRequested{});
  ASSERT_THAT(sent<GiveBack>(), SizeIs(1));
  EXPECT_TRUE(sent<Heartbeat>().at(0).draining);
  grant("c");
  EXPECT_THAT(sent<GiveBack>(), SizeIs(1));
  finish("a");
  EXPECT_THAT(all<Exit>(), IsEmpty());
  receive(Ack{.key = shard("a")});
  ASSERT_THAT(all<Exit>(), SizeIs(1));
  EXPECT_EQ(all<Exit>()[0].kind, Exit::Kind::kDone);
}

TEST_F(AgentTest, AShardThatWouldEndTooLateIsGivenBack) {
  Settings until = settings();
  until.until = 10'000;
  agent_ = Agent(until, {});
  welcomed_and_ready();
  grant("a");
  step(RunnerFinished{0, shard("a"), 4, "result"});
  receive(Ack{.key = shard("a")});
  now_ += 7'000;
  grant("b");
  EXPECT_THAT(sent<GiveBack>(), SizeIs(1));
  EXPECT_THAT(all<Exit>(), SizeIs(1));
}

TEST_F(AgentTest, EndsAfterIdlingAsLongAsItWasTold) {
  Settings idle = settings();
  idle.idle_exit_ms = 60'000;
  agent_ = Agent(idle, {});
  welcomed_and_ready();
  after(59'500);
  EXPECT_THAT(all<Exit>(), IsEmpty());
  after(500);
  EXPECT_THAT(all<Exit>(), SizeIs(1));
}

TEST_F(AgentTest, GivesUpARunnerThatNeverStartsAndFailsWhenNoneIsLeft) {
  step(Tick{});
  receive(Welcome{.version = "1.0"});
  for (int i = 1; i < settings().max_failed_starts; ++i) {
    step(RunnerExited{0, Cause::kException, "libtorch.so is missing"});
    EXPECT_THAT(all<StartRunner>(), IsEmpty()) << "not at once";
    bool started = false;
    for (int s = 0; s < 100 && !started; ++s) {
      after(1000);
      started = !all<StartRunner>().empty();
    }
    ASSERT_TRUE(started);
  }
  step(RunnerExited{0, Cause::kException, "libtorch.so is missing"});
  ASSERT_THAT(all<Exit>(), SizeIs(1));
  EXPECT_EQ(all<Exit>()[0].kind, Exit::Kind::kTryAgain);
  EXPECT_EQ(all<Exit>()[0].reason, "no runner can be started: libtorch.so is missing");
}

TEST_F(AgentTest, GivesBackAShardOfATagItHasNot) {
  welcomed_and_ready();
  grant("a", 1, "B");
  EXPECT_THAT(sent<GiveBack>(), SizeIs(1));
  grant("b", 1, std::string(kAnyTag));
  EXPECT_THAT(all<RunOn>(), SizeIs(1));
}

TEST_F(AgentTest, EndsWithTheCoordinatorsSentenceWhenRefusedAtFirst) {
  step(Tick{});
  receive(Refused{.reason = "install the same version on both"});
  ASSERT_THAT(all<Exit>(), SizeIs(1));
  EXPECT_EQ(all<Exit>()[0].reason,
            "the coordinator refuses this worker: install the same version on both");
}

TEST_F(AgentTest, GoesOnWhenRefusedLaterAndSaysHelloAgain) {
  welcomed_and_ready();
  grant("a", 1, "A");
  EXPECT_THAT(all<RunOn>(), SizeIs(1));
  receive(Refused{.reason = "install the same version on both"});
  EXPECT_THAT(all<Exit>(), IsEmpty());
  EXPECT_THAT(sent<Hello>(), IsEmpty()) << "not at once";
  after(settings().resend_ms / 5);
  EXPECT_THAT(sent<Hello>(), SizeIs(1));
  EXPECT_THAT(all<KillRunner>(), IsEmpty());
}

TEST_F(AgentTest, EndsOnceItsKeyIsRevoked) {
  welcomed_and_ready();
  receive(Refused{.reason = "this key was revoked", .revoked = true});
  ASSERT_THAT(all<Exit>(), SizeIs(1));
  EXPECT_EQ(all<Exit>()[0].kind, Exit::Kind::kFailed);
}

TEST_F(AgentTest, StartsNothingNewWhileItsDiskIsFullAndFinishesWhatRuns) {
  welcomed_and_ready();
  grant("a");
  grant("b");
  step(DiskFailed{"cannot write journal: No space left on device"});
  ASSERT_THAT(sent<GiveBack>(), SizeIs(1));
  EXPECT_THAT(sent<GiveBack>()[0].shards, ElementsAre(std::pair(shard("b"), int64_t{1})));
  ASSERT_THAT(sent<Heartbeat>(), SizeIs(1)) << "at once";
  EXPECT_EQ(sent<Heartbeat>()[0].problem, "cannot write journal: No space left on device");
  grant("c");
  EXPECT_THAT(sent<GiveBack>(), SizeIs(1));
  finish("a");
  EXPECT_THAT(sent<ShardDone>(), SizeIs(1)) << "what is acknowledged needs no disk";
  receive(Ack{.key = shard("a")});
  step(DiskWorks{});
  ASSERT_THAT(sent<Heartbeat>(), SizeIs(1));
  EXPECT_EQ(sent<Heartbeat>()[0].problem, "");
  grant("c", 2);
  EXPECT_THAT(all<RunOn>(), SizeIs(1));
}

TEST_F(AgentTest, AnOutageOfFiveMinutesCostsNeitherWhatRunsNorWhatIsFinished) {
  welcomed_and_ready();
  grant("a");
  grant("b");
  grant("c");
  finish("a");
  for (int minute = 0; minute < 5; ++minute) {
    for (int s = 0; s < 120; ++s) {
      after(500);
      EXPECT_THAT(all<KillRunner>(), IsEmpty());
      EXPECT_THAT(all<Exit>(), IsEmpty());
      EXPECT_THAT(all<Forget>(), IsEmpty());
    }
    step(RunnerProgressed{0, shard("b"), 0.1 * (minute + 1)});
  }
  step(Reconnected{});
  ASSERT_THAT(sent<Hello>(), SizeIs(1));
  std::map<ShardKey, HeldState> held;
  const Hello hello = sent<Hello>()[0];
  for (const Held& one : hello.held) held[one.key] = one.state;
  EXPECT_EQ(held, (std::map<ShardKey, HeldState>{{shard("a"), HeldState::kDone},
                                                 {shard("b"), HeldState::kRunning},
                                                 {shard("c"), HeldState::kQueued}}));
  receive(Welcome{.version = "1.0"});
  EXPECT_THAT(sent<ShardDone>(), SizeIs(1));
  EXPECT_THAT(sent<Heartbeat>(), SizeIs(1));
  // The coordinator granted it again meanwhile, to the same worker: what runs goes on under the new
  // number.
  grant("b", 2);
  EXPECT_THAT(all<RunOn>(), IsEmpty());
  finish("b");
  ASSERT_THAT(sent<ShardDone>(), SizeIs(1));
  EXPECT_EQ(sent<ShardDone>()[0].attempt, 2);
  EXPECT_THAT(all<RunOn>(), SizeIs(1)) << "the queued one is next";
}

TEST_F(AgentTest, WhatWaitsInItsQueueIsComputedWhileNobodyAnswers) {
  welcomed_and_ready();
  grant("a");
  grant("b");
  after(60'000);
  finish("a");
  EXPECT_THAT(all<RunOn>(), SizeIs(1));
  after(60'000);
  finish("b");
  EXPECT_THAT(agent_.held(), SizeIs(2));
  EXPECT_EQ(agent_.counts().unacknowledged, 2);
}

TEST_F(AgentTest, AStallLimitPassesDuringAnOutageToo) {
  welcomed_and_ready();
  grant("a");
  Millis killed_after = 0;
  for (; killed_after < 400'000 && all<KillRunner>().empty(); killed_after += 500) after(500);
  EXPECT_EQ(killed_after, 300'000);
}

}  // namespace
}  // namespace headcount::worker
