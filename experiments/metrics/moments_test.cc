// Means against Python's math.fsum and statistics module; the law that order does not show.
#include "experiments/metrics/moments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace headcount::metrics {
namespace {

const std::vector<double> kValues{3.5, -1.25, 2.0, 8.75, 0.1};

TEST(Moments, ExactSumRoundsOnce) {
  EXPECT_EQ(exact_sum(std::vector<double>{1e100, 1.0, -1e100, 1e-3}), 1.001);
  EXPECT_EQ(exact_sum(std::vector<double>(10, 0.1)), 1.0);
  EXPECT_EQ(exact_sum(std::vector<double>{1e16, 1, 1e-16}), 1.0000000000000002e16);
  EXPECT_EQ(exact_sum(std::vector<double>{1e308, 1e292, -1e308}), 1e292);
  EXPECT_EQ(exact_sum({}), 0);
}

TEST(Moments, NoOrderOfTheRowsShows) {
  std::mt19937 random(1);
  std::normal_distribution<double> normal(0, 1e3);
  std::vector<double> values(1000);
  for (double& value : values) value = normal(random) * normal(random);
  const Estimate before = estimate(values);
  double naive_before = 0, naive_after = 0;
  for (const double value : values) naive_before += value;
  std::sort(values.begin(), values.end());
  for (const double value : values) naive_after += value;
  EXPECT_NE(naive_before, naive_after);
  EXPECT_EQ(estimate(values), before);
}

TEST(Moments, StandardErrorHasNMinusOne) {
  const Estimate result = estimate(kValues);
  EXPECT_DOUBLE_EQ(result.value, 2.62);
  EXPECT_EQ(result.n, 5);
  EXPECT_NEAR(standard_deviation(kValues), 3.875016128998691, 1e-12);
  ASSERT_TRUE(result.se);
  EXPECT_NEAR(*result.se, 1.7329598956698333, 1e-12);
}

TEST(Moments, OneRowHasNoError) {
  EXPECT_EQ(estimate(std::vector<double>{4.0}), (Estimate{.value = 4.0, .se = {}, .n = 1}));
  EXPECT_EQ(estimate(std::vector<double>{4.0, 4.0}), (Estimate{.value = 4.0, .se = 0.0, .n = 2}));
}

TEST(Moments, ColumnsAreEstimatedApart) {
  const std::vector<double> rows{1, 10, 2, 20, 6, 60};
  const std::vector<Estimate> columns = column_estimates(rows, 2);
  ASSERT_EQ(columns.size(), 2u);
  EXPECT_EQ(columns[0], estimate(std::vector<double>{1, 2, 6}));
  EXPECT_EQ(columns[1], estimate(std::vector<double>{10, 20, 60}));
}

}  // namespace
}  // namespace headcount::metrics
