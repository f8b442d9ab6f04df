// Against Python's statistics module (inclusive quantiles) and hand-computed values.
#include "experiments/metrics/statistics.h"

#include <gtest/gtest.h>

#include <vector>

namespace headcount::metrics {
namespace {

TEST(Statistics, QuantilesAreInterpolatedLinearly) {
  const std::vector<double> values{3.5, -1.25, 2.0, 8.75, 0.1};
  EXPECT_NEAR(quantile(values, 0.95), 7.7, 1e-12);
  EXPECT_NEAR(quantile(values, 0.25), 0.1, 1e-12);
  EXPECT_NEAR(quantile(values, 0.5), 2.0, 1e-12);
  EXPECT_EQ(quantile(values, 0), -1.25);
  EXPECT_EQ(quantile(values, 1), 8.75);
  EXPECT_EQ(quantile(std::vector<double>{7}, 0.95), 7);
}

TEST(Statistics, QuantilesOfScoresLieBetweenOrderStatistics) {
  std::vector<double> scores(100);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<double>(i);
  EXPECT_NEAR(quantile(scores, 0.05), 4.95, 1e-12);
  EXPECT_NEAR(quantile(scores, 0.95), 94.05, 1e-12);
}

TEST(Statistics, RelativeL2) {
  EXPECT_NEAR(*relative_l2(std::vector<double>{3, 5}, std::vector<double>{3, 4}), 0.2, 1e-15);
  EXPECT_FALSE(relative_l2(std::vector<double>{1, 1}, std::vector<double>{0, 0}));
}

}  // namespace
}  // namespace headcount::metrics
