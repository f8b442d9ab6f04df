#include "coordinator/alarm_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headcount::coordinator {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

TEST(AlarmLimit, KeepsTwentyAMinuteOfAWorkerAndCountsTheOthers) {
  AlarmLimit limit;
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(limit.admits("w1", 1000));
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(limit.admits("w1", 2000));
  EXPECT_TRUE(limit.admits("w2", 2000)) << "another worker's are not among them";
  EXPECT_THAT(limit.left_out(2000), IsEmpty());
  EXPECT_THAT(limit.left_out(61'000), ElementsAre(Pair("w1", 7)));
  EXPECT_THAT(limit.left_out(62'000), IsEmpty());
  EXPECT_TRUE(limit.admits("w1", 62'000));
}

TEST(AlarmLimit, KeepsFiveHundredOfAWorkerInAll) {
  AlarmLimit limit;
  int n_kept = 0;
  for (Millis now = 0; now < 6'000'000; now += 1000) n_kept += limit.admits("w1", now) ? 1 : 0;
  EXPECT_EQ(n_kept, 500);
}

}  // namespace
}  // namespace headcount::coordinator
