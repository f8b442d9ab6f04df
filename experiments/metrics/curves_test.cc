// Areas against integrals done by hand, and the law of docs/methods.md 6:
// ABC = A_most + A_least.
#include "experiments/metrics/curves.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "experiments/metrics/intervals.h"

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

TEST(Curves, TrapezoidIsExactForPiecewiseLinear) {
  // 0 .. 0.25: mean 0.75; 0.25 .. 1: mean 0.25.
  EXPECT_DOUBLE_EQ(trapezoid(kShares, Numbers{1, 0.5, 0}), 0.25 * 0.75 + 0.75 * 0.25);
}

TEST(Curves, AreaBetweenByHand) {
  // Row 0: gaps 0, 2, 0: area 2 * (0.25 + 0.75) / 2 = 1. Row 1: gaps 0, 4, 0: area 2.
  const ByOrder least{areas_of({{-1, -1, -5}, {-1, -1, -5}})},
      most{areas_of({{-1, -3, -5}, {-1, -5, -5}})};
  const Estimate between = area_between(least, most);
  EXPECT_DOUBLE_EQ(between.value, 1.5);
  EXPECT_DOUBLE_EQ(*between.se, 0.5);
  ASSERT_TRUE(between.interval);
  // One degree of freedom: half the gap of the two rows times 12.7.
  EXPECT_NEAR(between.interval->low, 1.5 - 0.5 * 12.7062047, 1e-6);
  EXPECT_NEAR(between.interval->high, 1.5 + 0.5 * 12.7062047, 1e-6);
  EXPECT_DOUBLE_EQ(area_between(most, least).value, -1.5);
}

TEST(Curves, GapsToRandomAddUpToTheArea) {
  const ByOrder least{areas_of({{0, -1, -4}, {0, -2, -3}})},
      random{areas_of({{0, -2, -4}, {0, -2.5, -3}}), areas_of({{0, -1, -4}, {0, -3, -3}})},
      most{areas_of({{0, -3, -4}, {0, -3, -3}})};
  EXPECT_DOUBLE_EQ(area_between(least, most).value,
                   area_between(random, most).value + area_between(least, random).value);
}

TEST(Curves, TheIntervalIsThatOfTheDifferences) {
  const Numbers rows = normal_values(40, 5, 2);
  ByOrder random;
  for (unsigned order = 0; order < 6; ++order) random.push_back(normal_values(40, 10 + order, 1));
  ByOrder differences = random;
  for (auto& order : differences) {
    for (size_t row = 0; row < order.size(); ++row) order[row] -= rows[row];
  }
  EXPECT_EQ(area_between(random, {rows}), mean_estimate(differences));
  for (auto& order : differences) {
    for (double& area : order) area = -area;
  }
  EXPECT_EQ(area_between({rows}, random), mean_estimate(differences));
}

TEST(Curves, PairingRemovesWhatRowsAndOrdersShare) {
  ByOrder lower = {normal_values(100, 5, 2), normal_values(100, 6, 2)}, upper = lower;
  for (auto& order : upper) {
    for (double& area : order) area += 0.25;
  }
  const Estimate between = area_between(upper, lower);
  EXPECT_NEAR(between.value, 0.25, 1e-12);
  EXPECT_NEAR(between.interval->low, 0.25, 1e-12);
  EXPECT_NEAR(between.interval->high, 0.25, 1e-12);
}

TEST(Curves, OneRowHasNoInterval) {
  const Estimate between = area_between({{3}, {5}}, {{1}});
  EXPECT_EQ(between.value, 3);
  EXPECT_FALSE(between.interval);
}

}  // namespace
}  // namespace headcount::metrics
