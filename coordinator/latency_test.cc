#include "coordinator/latency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace headcount::coordinator {
namespace {

TEST(Latency, QuantilesAreThoseOfTheSortedSampleWithinFivePercent) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> times(0.0, 2.0);
  Latency latency;
  std::vector<double> all;
  for (int i = 0; i < 20'000; ++i) {
    all.push_back(times(random));
    latency.add(all.back());
  }
  std::sort(all.begin(), all.end());
  for (const double q : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const double exact =
        all[static_cast<size_t>(std::ceil(q * static_cast<double>(all.size()))) - 1];
    EXPECT_GE(latency.quantile_ms(q), exact * (1 - 1e-9)) << q;
    EXPECT_LE(latency.quantile_ms(q), exact * 1.05 * (1 + 1e-9)) << q;
  }
}

TEST(Latency, IsZeroBeforeAnythingHappenedAndBoundedForWhatNeverEnds) {
  Latency latency;
  EXPECT_EQ(latency.quantile_ms(0.99), 0);
  latency.add(0);
  EXPECT_DOUBLE_EQ(latency.quantile_ms(0.99), 1e-3);
  latency.add(1e12);
  EXPECT_GT(latency.quantile_ms(1), 1e5);
  EXPECT_EQ(latency.count(), 2);
}

}  // namespace
}  // namespace headcount::coordinator
