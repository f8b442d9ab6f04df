// Whose turn it is: priorities, equal shares of the runners' time, and what a worker that takes and
// never finishes is left with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/scheduler/scheduler_fixture.h"

namespace headcount::coordinator {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Le;
using ::testing::SizeIs;

/// Sweep n has one stage, n, of shards "n.0", "n.1", ... which take `seconds(n)` each.
class SharesTest : public SchedulerTest {
 protected:
  void submit(SweepId sweep, int64_t n_shards, int64_t priority = 0) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < n_shards; ++i)
      names.push_back(std::to_string(sweep) + "." + std::to_string(i));
    for (const std::string& name : names) sweep_of_[shard(name)] = sweep;
    plan(sweep, names);
    step(StageOpened{.stage = sweep,
                     .sweep = sweep,
                     .priority = priority,
                     .n_shards = n_shards,
                     .ranges = {{0, n_shards, "A"}},
                     .done = {},
                     .quarantined = {}});
    take_grants();
  }
  /// One worker of one runner computes for so long, shard after shard in the order granted.
  void compute_for(Millis duration, const std::map<SweepId, double>& seconds) {
    const Millis until = now_ + duration;
    while (now_ < until && !queue_.empty()) {
      const SendGrant grant = queue_.front();
      queue_.erase(queue_.begin());
      const SweepId sweep = sweep_of_.at(grant.key);
      const double took = seconds.at(sweep);
      for (Millis left = static_cast<Millis>(1000 * took); left > 0; left -= 1000) {
        now_ += std::min<Millis>(left, 1000);
        heartbeat("w1", held_now(grant));
        take_grants();
      }
      n_computed_[sweep] += 1;
      computed_s_[sweep] += took;
      says("w1", ShardDone{.key = grant.key,
                           .attempt = grant.attempt,
                           .tag = "A",
                           .device = "cpu",
                           .hash = sha256("right"),
                           .seconds = took,
                           .result = "right"});
      take_grants();
    }
  }
  void join(const std::string& worker) {
    hello(worker);
    take_grants();
  }

  std::map<SweepId, double> computed_s_;
  std::map<SweepId, int> n_computed_;

 private:
  void take_grants() {
    for (const SendGrant& grant : all<SendGrant>()) queue_.push_back(grant);
  }
  std::vector<Held> held_now(const SendGrant& running) const {
    std::vector<Held> held = {{running.key, running.attempt, HeldState::kRunning, 0.5}};
    for (const SendGrant& grant : queue_)
      held.push_back({grant.key, grant.attempt, HeldState::kQueued, 0});
    return held;
  }
  std::map<ShardKey, SweepId> sweep_of_;
  std::vector<SendGrant> queue_;
};

TEST_F(SharesTest, SweepsOfOnePriorityGetEqualTimeHoweverLongTheirShardsAre) {
  join("w1");
  submit(1, 2000);
  submit(2, 2000);
  compute_for(400'000, {{1, 0.5}, {2, 4.0}});
  EXPECT_THAT(computed_s_[1] / computed_s_[2], AllOf(Ge(0.9), Le(1.1)))
      << computed_s_[1] << " s and " << computed_s_[2] << " s";
}

TEST_F(SharesTest, AShortSweepBesideALongOneIsNotStarvedNorTheLongOne) {
  join("w1");
  submit(1, 2000);
  compute_for(200'000, {{1, 1.0}});
  submit(2, 20);
  compute_for(45'000, {{1, 1.0}, {2, 1.0}});
  EXPECT_EQ(n_computed_[2], 20) << "half of 45 seconds";
  EXPECT_THAT(computed_s_[1], Ge(220)) << "what it had before is not held against it";
}

TEST_F(SharesTest, ALowerPriorityKeepsOneGrantInTwenty) {
  join("w1");
  submit(1, 2000, -5);
  submit(2, 2000, 10);
  compute_for(10'000, {{1, 1.0}, {2, 1.0}});  // what was lent before is finished
  n_computed_.clear();
  compute_for(400'000, {{1, 1.0}, {2, 1.0}});
  EXPECT_THAT(n_computed_[1], AllOf(Ge(19), Le(21)));
  EXPECT_THAT(n_computed_[2], Ge(378));
}

TEST_F(SharesTest, ExplainNamesWhatIsAhead) {
  join("w1");
  submit(1, 100, 10);
  submit(2, 100);
  submit(3, 100);
  EXPECT_THAT(scheduler_.explain(2), Contains(HasSubstr("sweep 1 of higher priority ahead")));
  EXPECT_THAT(scheduler_.explain(2), Contains(HasSubstr("sweep 3 of the same priority")));
  EXPECT_THAT(scheduler_.explain(1), testing::Not(Contains(HasSubstr("ahead"))));
}

TEST_F(SharesTest, AViewCountsWhatIsQueuedAndWhatRuns) {
  submit(1, 10);
  join("w1");
  EXPECT_EQ(scheduler_.stage(1)->n_queued, 2);
  heartbeat("w1", {{shard("1.0"), 1, HeldState::kRunning, 0.1},
                   {shard("1.1"), 1, HeldState::kQueued, 0}});
  EXPECT_EQ(scheduler_.stage(1)->n_queued, 1);
  EXPECT_EQ(scheduler_.stage(1)->n_running, 1);
  step(StageClosed{1});
  EXPECT_THAT(scheduler_.leases(), IsEmpty());
}

TEST_F(SharesTest, AWorkerThatFinishesNothingHoldsNoMoreThanTwoShardsARunner) {
  submit(1, 5000);
  hello("w1");
  for (int i = 0; i < 50; ++i) done("w1", "1." + std::to_string(i), 1, 1e-4);
  const size_t before = scheduler_.leases().size();
  hello("liar", 5000);
  EXPECT_THAT(scheduler_.workers(), Contains(testing::Field(&WorkerView::runners, SizeIs(256))));
  EXPECT_THAT(scheduler_.leases().size() - before, Le(512u + 200u));
  int n_done = 50;
  for (int i = 50; i < 5000; ++i) {
    const auto leases = scheduler_.leases();
    const auto own = std::find_if(leases.begin(), leases.end(),
                                  [](const LeaseView& lease) { return lease.worker == "w1"; });
    if (own == leases.end()) break;
    says("w1", ShardDone{.key = own->key,
                         .attempt = own->attempt,
                         .tag = "A",
                         .device = "cpu",
                         .hash = sha256("right"),
                         .seconds = 1e-4,
                         .result = "right"});
    ++n_done;
  }
  EXPECT_THAT(n_done, Ge(5000 - 512));
}

TEST_F(SharesTest, WhatIsRecalledInVainGoesToTheIdleWorker) {
  submit(1, 2);
  hello("liar");
  hello("w1");
  const std::map<std::string, std::vector<Held>> says_nothing_new = {
      {"liar",
       {{shard("1.0"), 1, HeldState::kRunning, 0}, {shard("1.1"), 1, HeldState::kQueued, 0}}},
      {"w1", {}}};
  for (int i = 0; i < 12; ++i) {
    quiet_for(1000, says_nothing_new);
    if (!grants().empty()) break;
  }
  ASSERT_THAT(all<SendGrant>(), SizeIs(1));
  EXPECT_EQ(all<SendGrant>()[0].worker, "w1");
  EXPECT_THAT(sent<Revoke>(), ElementsAre("liar"));
}

TEST_F(SharesTest, ProgressTooSlowToBeTrueRenewsNoLease) {
  submit(1, 3);
  hello("w1");
  done("w1", "1.0", 1, 10);
  double progress = 0;
  for (int i = 0; i < 800; ++i) {
    progress += 1e-6;
    heartbeat("w1", {{shard("1.1"), 1, HeldState::kRunning, progress}});
    after(1000);
    if (scheduler_.leases().empty() || scheduler_.leases()[0].attempt > 1) break;
  }
  std::vector<Outcome> ends;
  for (const EndedAttempt& ended : this->ended(shard("1.1"))) ends.push_back(ended.outcome);
  EXPECT_THAT(ends, Contains(Outcome::kExpired));
}

}  // namespace
}  // namespace headcount::coordinator
