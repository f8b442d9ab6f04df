// The planner's threads with readers that are slow, hang or are told to give up.
#include "coordinator/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace headcount::coordinator {
namespace {

using testing::HasSubstr;

PlanDone wait_for_one(Planner& planner) {
  for (int i = 0; i < 6000; ++i) {
    if (auto done = planner.take()) return std::move(*done);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ADD_FAILURE() << "nothing was read in a minute";
  return {};
}

TEST(Planner, AReaderThatNeverReturnsHoldsUpNoOther) {
  std::promise<void> mount_is_back;
  const std::shared_future<void> back = mount_is_back.get_future().share();
  Planner planner([back](const PlanJob& job, const experiments::Tell&) {
    if (job.file == "dead") back.wait();
    PlanDone done;
    done.error = job.file;
    return done;
  });
  for (uint64_t i = 1; i <= 3; ++i) planner.start({.number = i, .file = "dead"});
  for (uint64_t i = 4; i <= 6; ++i) planner.start({.number = i, .file = "fine"});
  for (uint64_t i = 4; i <= 6; ++i) {
    const PlanDone done = wait_for_one(planner);
    EXPECT_EQ(done.number, i);
    EXPECT_EQ(done.error, "fine");
  }
  EXPECT_THAT(planner.doing(1), HasSubstr("reading its files, for"));
  EXPECT_EQ(planner.doing(4), "");
  EXPECT_FALSE(planner.stop()) << "it does not wait for the dead ones";
  mount_is_back.set_value();
}

TEST(Planner, ManyReadersThatNeverReturnHoldUpNoOtherEither) {
  std::promise<void> mount_is_back;
  const std::shared_future<void> back = mount_is_back.get_future().share();
  Planner planner([back](const PlanJob& job, const experiments::Tell&) {
    if (job.file == "dead") back.wait();
    return PlanDone();
  });
  for (uint64_t i = 1; i <= 12; ++i) planner.start({.number = i, .file = "dead"});
  planner.start({.number = 13, .file = "fine"});
  EXPECT_EQ(wait_for_one(planner).number, 13u);
  mount_is_back.set_value();
}

TEST(Planner, WhatIsForgottenIsGivenUpNotBegunAndNotAnswered) {
  std::mutex mutex;
  std::vector<uint64_t> begun;
  Planner planner([&](const PlanJob& job, const experiments::Tell& tell) -> PlanDone {
    {
      const std::lock_guard lock(mutex);
      begun.push_back(job.number);
    }
    while (job.number == 1) {
      tell("model big");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return {};
  });
  for (uint64_t i = 1; i <= 3; ++i) planner.start({.number = i});
  while (planner.doing(1).find("model big") == std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  planner.forget(2);
  planner.forget(1);
  EXPECT_EQ(wait_for_one(planner).number, 3u);
  EXPECT_TRUE(planner.stop());
  EXPECT_EQ(begun, (std::vector<uint64_t>{1, 3}));
}

TEST(Planner, SaysWhatItReadsAndGivesUpAtTheEnd) {
  Planner planner([](const PlanJob&, const experiments::Tell& tell) -> PlanDone {
    for (;;) {
      tell("model big: 4.1 of 16.0 GB");
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  planner.start({.number = 1});
  for (int i = 0; i < 3000 && planner.doing(1).find("16.0 GB") == std::string::npos; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_THAT(planner.doing(1), HasSubstr("reading model big: 4.1 of 16.0 GB"));
  EXPECT_TRUE(planner.stop());
}

TEST(Planner, MemoryThatDoesNotSufficeIsASentence) {
  Planner planner(
      [](const PlanJob&, const experiments::Tell&) -> PlanDone { throw std::bad_alloc(); });
  planner.start({.number = 7});
  const PlanDone done = wait_for_one(planner);
  EXPECT_EQ(done.number, 7u);
  EXPECT_THAT(done.error, HasSubstr("memory"));
}

TEST(Planner, NoMoreThanEightReadAtATimeHoweverSilently) {
  std::atomic<int> n_reading = 0, most = 0;
  std::atomic<bool> enough = false;
  Planner planner([&](const PlanJob&, const experiments::Tell&) {
    const int now = ++n_reading;
    for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
    }
    volatile double work = 1;
    while (!enough) {  // as a parser: it computes and says nothing
      for (int i = 0; i < 1000; ++i) work = work * 1.0000001;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    --n_reading;
    return PlanDone{};
  });
  for (uint64_t number = 1; number <= 12; ++number) planner.start({.number = number});
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(9);
  while (std::chrono::steady_clock::now() < until) {
    planner.take();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(most, 8);
  enough = true;
}

}  // namespace
}  // namespace headcount::coordinator
