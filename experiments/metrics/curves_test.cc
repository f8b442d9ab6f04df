// Areas against integrals done by hand, and the laws of numerics-and-validation.md 3.2: ABC =
// A_most + A_least.
#include "experiments/metrics/curves.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace headcount::metrics {
namespace {

const std::vector<double> kKappa{0, 0.25, 1};

TEST(Curves, TrapezoidIsExactForPiecewiseLinear) {
  // 0 .. 0.25: mean 0.75; 0.25 .. 1: mean 0.25.
  EXPECT_DOUBLE_EQ(trapezoid(kKappa, std::vector<double>{1, 0.5, 0}), 0.25 * 0.75 + 0.75 * 0.25);
}

TEST(Curves, NormalisedRunsFromOneToZero) {
  const auto result = normalised(std::vector<double>{-1, -3, -5}, -1, -5);
  ASSERT_TRUE(result);
  EXPECT_EQ(*result, (std::vector<double>{1, 0.5, 0}));
  EXPECT_FALSE(normalised(std::vector<double>{2, 2}, 2, 2));
}

TEST(Curves, AreaBetweenByHand) {
  // Row 0: gaps 0, 2, 0: area 2 * (0.25 + 0.75) / 2 = 1. Row 1: gaps 0, 4, 0: area 2.
  const Curve least{.kappa = kKappa, .values = {-1, -1, -5, -1, -1, -5}};
  const Curve most{.kappa = kKappa, .values = {-1, -3, -5, -1, -5, -5}};
  const Bootstrapped area = area_between(least, most, {.seed = 1});
  EXPECT_DOUBLE_EQ(area.value, 1.5);
  EXPECT_GE(area.interval.low, 1);
  EXPECT_LE(area.interval.high, 2);
  EXPECT_NEAR(area.se, 0.5 / std::sqrt(2),
              0.01);  // two rows of deviation 0.5 (n in the denominator)
  EXPECT_DOUBLE_EQ(area_between(most, least, {.seed = 1}).value, -1.5);
}

TEST(Curves, NormalisedAreaDividesByTheRangeOfTheSameRows) {
  const Curve least{.kappa = kKappa, .values = {-1, -1, -5, -1, -1, -5}};
  const Curve most{.kappa = kKappa, .values = {-1, -3, -5, -1, -5, -5}};
  const std::vector<double> none{-1, -1}, all{-5, -5};
  EXPECT_DOUBLE_EQ(normalised_area_between(least, most, none, all, {.seed = 1}).value, 1.5 / 4);
}

TEST(Curves, GapsToRandomAddUpToTheArea) {
  const Curve least{.kappa = kKappa, .values = {0, -1, -4, 0, -2, -3}};
  const Curve random{.kappa = kKappa, .values = {0, -2, -4, 0, -2.5, -3}};
  const Curve most{.kappa = kKappa, .values = {0, -3, -4, 0, -3, -3}};
  const Bootstrap options{.seed = 3, .n_resamples = 100};
  EXPECT_DOUBLE_EQ(
      area_between(least, most, options).value,
      area_between(random, most, options).value + area_between(least, random, options).value);
}

}  // namespace
}  // namespace headcount::metrics
