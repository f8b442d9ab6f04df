// Masks and thresholds: laws of the draws, and the published mean increments of the
// stochastic-threshold path.
#include "experiments/run/paths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/run/masks.h"
#include "schemas/philox.h"

namespace headcount::experiments {
namespace {

TEST(Masks, AreNestedInTheProbabilityAndNeverEmpty) {
  for (uint64_t row = 0; row < 200; ++row) {
    std::set<int32_t> smaller;
    for (const double p : {0.01, 0.15, 0.5, 0.9, 1.0}) {
      const auto list =
          masked_positions({.seed = 3, .row_id = row, .draw = 1, .probability = p}, 10, 18);
      const std::set<int32_t> masked(list.begin(), list.end());
      ASSERT_FALSE(masked.empty());
      EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
      EXPECT_GE(*masked.begin(), 10);
      EXPECT_LT(*masked.rbegin(), 18);
      EXPECT_TRUE(std::includes(masked.begin(), masked.end(), smaller.begin(), smaller.end()));
      smaller = masked;
    }
    EXPECT_EQ(smaller.size(), 8U);
  }
}

TEST(Masks, ForceThePositionOfTheSmallestUniform) {
  const uint64_t row = 42;
  int32_t expected = 0;
  double smallest = 2;
  for (int32_t i = 0; i < 8; ++i) {
    const double u = random_uniform(3, Purpose::kMask, row, 0, static_cast<uint32_t>(i));
    if (u < smallest) {
      smallest = u;
      expected = i;
    }
  }
  EXPECT_EQ(masked_positions({.seed = 3, .row_id = row, .probability = smallest}, 5, 13),
            std::vector<int32_t>{5 + expected});
}

TEST(Masks, HaveTheAskedShare) {
  size_t masked = 0;
  for (uint64_t row = 0; row < 2000; ++row)
    masked += masked_positions({.seed = 9, .row_id = row, .probability = 0.3}, 0, 50).size();
  EXPECT_NEAR(static_cast<double>(masked) / 100000, 0.3, 0.006);  // four standard errors
}

TEST(Paths, StartAtTheBaselineAndEndAtOneExactly) {
  for (const std::optional<double> width : {std::optional<double>(), std::optional(0.3)}) {
    const Path path{.baseline = 0.3, .thresholds = {0, 0.4, 0.999999}, .ramp_width = width};
    std::vector<double> gates(3);
    gates_at(path, 0, gates);
    EXPECT_EQ(gates, (std::vector<double>{0.3, 0.3, 0.3}));
    gates_at(path, 1, gates);
    EXPECT_EQ(gates, (std::vector<double>{1, 1, 1}));
    std::vector<double> before = {0.3, 0.3, 0.3};
    for (int k = 1; k <= 100; ++k) {
      gates_at(path, k / 100.0, gates);
      for (size_t head = 0; head < 3; ++head) EXPECT_GE(gates[head], before[head]);
      before = gates;
    }
  }
}

TEST(Paths, RampOfWidthOneWithoutThresholdIsTheDiagonalAtDoubleSpeed) {
  std::vector<double> gates(1);
  const Path path{.thresholds = {0}, .ramp_width = 1};
  gates_at(path, 0.25, gates);
  EXPECT_DOUBLE_EQ(gates[0], 0.5);
}

TEST(Paths, MeanIncrementsAreThePublishedOnes) {
  // docs/methods.md 2, K = 8; E[gate(t)] = t + (1 - t) ln(1 - t).
  const double published[] = {.0082, .0261, .0470, .0722, .1038, .1462, .2116, .3849};
  constexpr int64_t kHeads = 4096;
  double mean[9] = {};
  for (uint32_t p = 0; p < 16; ++p) {
    const Path path{.thresholds = thresholds({.seed = 5, .row_id = 1}, p, 0, kHeads)};
    std::vector<double> gates(kHeads);
    for (int k = 0; k <= 8; ++k) {
      gates_at(path, k / 8.0, gates);
      for (const double gate : gates) mean[k] += gate / (16.0 * kHeads);
    }
  }
  for (int k = 1; k <= 8; ++k) {
    EXPECT_NEAR(mean[k] - mean[k - 1], published[k - 1], 0.003) << k;
    const double t = k / 8.0;
    EXPECT_NEAR(mean[k], k == 8 ? 1 : t + (1 - t) * std::log(1 - t), 0.004) << k;
  }
}

TEST(Thresholds, OfALatinHypercubeFillEveryStratumOnceInEachBlock) {
  const ThresholdDraw draw{.seed = 11, .row_id = 5, .path_block = 4};
  std::set<std::vector<int>> orders;
  for (uint32_t block = 0; block < 3; ++block) {
    std::vector<std::vector<double>> u;
    for (uint32_t j = 0; j < 4; ++j) u.push_back(thresholds(draw, 4 * block + j, 0, 64));
    for (size_t head = 0; head < 64; ++head) {
      std::vector<int> order;
      for (uint32_t j = 0; j < 4; ++j) order.push_back(static_cast<int>(u[j][head] * 4));
      orders.insert(order);
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
    }
  }
  EXPECT_EQ(orders.size(), 24U);  // 192 permutations drawn: every one of the 24 comes up
}

/// The gate of the only head at t.
double gate(const Path& path, double t) {
  double found = 0;
  gates_at(path, t, std::span(&found, 1));
  return found;
}

TEST(Ramp, IsWhereTheGateRises) {
  const Path paths[] = {{},
                        {.baseline = 0.25, .thresholds = {0.4}},
                        {.thresholds = {0.0}},
                        {.thresholds = {0.4}, .ramp_width = 0.1},
                        {.baseline = 0.25, .thresholds = {0.9}, .ramp_width = 3}};
  for (const Path& path : paths) {
    const Ramp ramp = ramp_of(path, 0);
    EXPECT_GE(ramp.begin, 0);
    EXPECT_LE(ramp.end, 1 + 1e-15);
    EXPECT_NEAR(gate(path, ramp.begin), path.baseline, 1e-14);
    EXPECT_NEAR(gate(path, ramp.end), 1, 1e-14);
    for (const double x : {0.1, 0.5, 0.9})
      EXPECT_NEAR(gate(path, ramp.begin + x * (ramp.end - ramp.begin)),
                  path.baseline + (1 - path.baseline) * x, 1e-14);
  }
}

TEST(Ramp, HasTheTimesOfItsFormula) {
  const Ramp whole = ramp_of({}, 3);
  EXPECT_EQ(whole.begin, 0);
  EXPECT_EQ(whole.end, 1);
  const Ramp to_end = ramp_of({.thresholds = {0.1, 0.4}}, 1);
  EXPECT_EQ(to_end.begin, 0.4);
  EXPECT_DOUBLE_EQ(to_end.end, 1);
  const Ramp narrow = ramp_of({.thresholds = {0.4}, .ramp_width = 0.1}, 0);
  EXPECT_DOUBLE_EQ(narrow.begin, 0.4 / 1.1);
  EXPECT_DOUBLE_EQ(narrow.end, 0.5 / 1.1);
  EXPECT_DOUBLE_EQ(ramp_of({.thresholds = {1 - 1e-7}}, 0).end, 1 - 1e-7 + 1e-6);
}

TEST(Kinks, AreWhereRampsBeginAndEndInsideThePathEachOnce) {
  EXPECT_TRUE(kinks({}).empty());
  EXPECT_EQ(kinks({.thresholds = {0.5, 0, 0.25, 0.5}}), (std::vector<double>{0.25, 0.5}));
  const auto narrow = kinks({.thresholds = {0.5, 0}, .ramp_width = 0.25});
  ASSERT_EQ(narrow.size(), 3U);
  EXPECT_DOUBLE_EQ(narrow[0], 0.2);
  EXPECT_DOUBLE_EQ(narrow[1], 0.4);
  EXPECT_DOUBLE_EQ(narrow[2], 0.6);
}

TEST(Thresholds, DoNotDependOnTheLayerRange) {
  for (const bool latin : {false, true}) {
    const ThresholdDraw draw{.seed = 11, .row_id = 5, .latin_hypercube = latin};
    const std::vector<double> all = thresholds(draw, 2, 0, 32), some = thresholds(draw, 2, 8, 16);
    EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin() + 8));
  }
}

TEST(Thresholds, DifferBetweenRowsPathsAndHeads) {
  std::set<double> seen;
  for (uint64_t row = 0; row < 10; ++row) {
    for (uint32_t path = 0; path < 10; ++path) {
      for (const double u : thresholds({.seed = 1, .row_id = row}, path, 0, 10)) seen.insert(u);
    }
  }
  EXPECT_EQ(seen.size(), 1000U);
}

}  // namespace
}  // namespace headcount::experiments
