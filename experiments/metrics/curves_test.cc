// Areas against integrals done by hand, and the laws of numerics-and-validation.md 3.2: ABC =
// A_most + A_least.
#include "experiments/metrics/curves.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace headcount::metrics {
namespace {

using Numbers = std::vector<double>;

const Numbers kShares{0, 0.25, 1};

/// One curve a row, over kShares.
Numbers areas_of(const std::vector<Numbers>& curves) {
  Numbers areas;
  for (const Numbers& curve : curves) areas.push_back(trapezoid(kShares, curve));
  return areas;
}

Numbers normal_values(size_t n, unsigned seed, double deviation) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(1, deviation);
  Numbers values(n);
  for (double& value : values) value = normal(random);
  return values;
}

double variance_of_mean(const Numbers& values) {
  const double n = static_cast<double>(values.size()), deviation = standard_deviation(values);
  return deviation * deviation * (n - 1) / (n * n);
}

TEST(Curves, TrapezoidIsExactForPiecewiseLinear) {
  // 0 .. 0.25: mean 0.75; 0.25 .. 1: mean 0.25.
  EXPECT_DOUBLE_EQ(trapezoid(kShares, Numbers{1, 0.5, 0}), 0.25 * 0.75 + 0.75 * 0.25);
}

TEST(Curves, AreaBetweenByHand) {
  // Row 0: gaps 0, 2, 0: area 2 * (0.25 + 0.75) / 2 = 1. Row 1: gaps 0, 4, 0: area 2.
  const RowAreas least{areas_of({{-1, -1, -5}, {-1, -1, -5}})},
      most{areas_of({{-1, -3, -5}, {-1, -5, -5}})};
  const AreaBetween between = area_between(least, most, {.seed = 1});
  EXPECT_DOUBLE_EQ(between.value, 1.5);
  ASSERT_TRUE(between.interval);
  // A resample is row 0 twice, row 1 twice or both, with probabilities 1/4, 1/4 and 1/2.
  EXPECT_DOUBLE_EQ(between.interval->low, 1);
  EXPECT_DOUBLE_EQ(between.interval->high, 2);
  EXPECT_DOUBLE_EQ(area_between(most, least, {.seed = 1}).value, -1.5);
}

TEST(Curves, GapsToRandomAddUpToTheArea) {
  const RowAreas least{areas_of({{0, -1, -4}, {0, -2, -3}})},
      random{areas_of({{0, -2, -4}, {0, -2.5, -3}}), areas_of({{0, -1, -4}, {0, -3, -3}})},
      most{areas_of({{0, -3, -4}, {0, -3, -3}})};
  const Bootstrap options{.seed = 3, .n_resamples = 100};
  EXPECT_DOUBLE_EQ(
      area_between(least, most, options).value,
      area_between(random, most, options).value + area_between(least, random, options).value);
}

// Worked out apart from this code: Philox, resamples, means and percentiles in exact fractions of
// Python's integers.
TEST(Curves, IntervalOfTwoLevelsAgreesWithExactFractions) {
  const RowAreas upper{{3, 1, 4, 1, 5}, {9, 2, 6, 5, 3}, {5, 8, 9, 7, 9}}, lower{{2, 7, 1, 8, 2}};
  Bootstrap options{.seed = 20261120, .n_resamples = 200};
  const AreaBetween wide = area_between(upper, lower, options);
  EXPECT_DOUBLE_EQ(wide.value, 17.0 / 15);
  ASSERT_TRUE(wide.interval);
  EXPECT_NEAR(wide.interval->low, -1883.0 / 600, 1e-12);
  EXPECT_NEAR(wide.interval->high, 5, 1e-12);
  options.confidence = 0.5;
  const AreaBetween half = area_between(upper, lower, options);
  EXPECT_NEAR(half.interval->low, -1.0 / 3, 1e-12);
  EXPECT_NEAR(half.interval->high, 38.0 / 15, 1e-12);
}

TEST(Curves, RowsAndSeedsBothWidenTheInterval) {
  // Area = effect of the seed + effect of the row: the resampled mean has the variance of both
  // means, each with n in the denominator.
  const Numbers of_seed = normal_values(30, 1, 4), of_row = normal_values(50, 2, 6);
  RowAreas upper;
  for (const double seed : of_seed) {
    upper.emplace_back();
    for (const double row : of_row) upper.back().push_back(seed + row);
  }
  const AreaBetween between = area_between(upper, {Numbers(50, 0.0)}, {.seed = 9});
  const double sd = std::sqrt(variance_of_mean(of_seed) + variance_of_mean(of_row));
  EXPECT_NEAR(between.interval->low, between.value - 1.96 * sd, 0.1 * sd);
  EXPECT_NEAR(between.interval->high, between.value + 1.96 * sd, 0.1 * sd);
}

TEST(Curves, PairingRemovesWhatRowsShare) {
  const Numbers lower = normal_values(100, 5, 2);
  Numbers upper = lower;
  for (double& area : upper) area += 0.25;
  const AreaBetween between = area_between({upper}, {lower}, {.seed = 1});
  EXPECT_NEAR(between.value, 0.25, 1e-12);
  EXPECT_NEAR(between.interval->low, 0.25, 1e-12);
  EXPECT_NEAR(between.interval->high, 0.25, 1e-12);
}

TEST(Curves, OneRowHasNoInterval) {
  const AreaBetween between = area_between({{3}, {5}}, {{1}}, {.seed = 1});
  EXPECT_EQ(between.value, 3);
  EXPECT_FALSE(between.interval);
}

}  // namespace
}  // namespace headcount::metrics
