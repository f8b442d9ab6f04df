// Quantiles against published tables, intervals against numbers worked out by hand, and what they
// are for: how often they hold the truth.
#include "experiments/metrics/intervals.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace headcount::metrics {
namespace {

using Numbers = std::vector<double>;

TEST(Intervals, StudentQuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(student_quantile(1), 12.7062047, 1e-6);
  EXPECT_NEAR(student_quantile(2), 4.3026527, 1e-6);
  EXPECT_NEAR(student_quantile(3), 3.1824463, 1e-6);
  EXPECT_NEAR(student_quantile(9), 2.2621572, 1e-6);
  EXPECT_NEAR(student_quantile(19), 2.0930241, 1e-6);
  EXPECT_NEAR(student_quantile(127), 1.9788195, 1e-6);
  EXPECT_NEAR(student_quantile(1'000'000), 1.96, 3e-3);
}

TEST(Intervals, ASymmetricSampleHasStudentsInterval) {
  const Estimate of = mean_estimate({{1, 2, 3, 4, 5}});
  EXPECT_DOUBLE_EQ(of.value, 3);
  const double half = 2.7764451 * std::sqrt(2.5 / 5);
  EXPECT_NEAR(of.interval->low, 3 - half, 1e-6);
  EXPECT_NEAR(of.interval->high, 3 + half, 1e-6);
}

TEST(Intervals, SkewnessMovesTheIntervalToTheLongTail) {
  const Estimate of = mean_estimate({{0, 0, 0, 0, 0, 0, 0, 0, 0, 10}});
  EXPECT_DOUBLE_EQ(of.value, 1);
  // By hand: se 1, skewness sqrt(10), raised by 1.85 and of the mean 1.85, t = 2.2621572.
  const double a = 1.85, t = 2.2621572;
  EXPECT_NEAR(of.interval->low, 1 - 3 / a * (std::cbrt(1 + a * (t - a / 6)) - 1), 1e-6);
  EXPECT_NEAR(of.interval->high, 1 - 3 / a * (std::cbrt(1 + a * (-t - a / 6)) - 1), 1e-6);
}

TEST(Intervals, SmallNumbersHaveThoseOfLargeOnes) {
  const Estimate large = mean_estimate({{0, 0, 0, 0, 10}});
  const Estimate small = mean_estimate({{0, 0, 0, 0, 10e-120}});  // whose cubes underflow
  EXPECT_NEAR(small.interval->low / 1e-120, large.interval->low, 1e-6);
  EXPECT_NEAR(small.interval->high / 1e-120, large.interval->high, 1e-6);
}

TEST(Intervals, ALossHasNoneBelowZero) {
  const ByOrder rows = {{0, 0, 3}}, far = {{7, 8, 9}};
  const Estimate plain = mean_estimate(rows), loss = not_negative(plain);
  ASSERT_LT(plain.interval->low, 0);
  EXPECT_EQ(loss.interval->low, 0);
  EXPECT_EQ(loss.interval->high, plain.interval->high);
  EXPECT_EQ(not_negative(mean_estimate(far)).interval, mean_estimate(far).interval);
  EXPECT_FALSE(not_negative(mean_estimate({{4}})).interval);
}

TEST(Intervals, RowsAndOrdersAddAsSquares) {
  // No row differs within an order: the orders' interval alone; and the other way round.
  const ByOrder orders = {{1, 1, 1}, {2, 2, 2}, {3, 3, 3}, {4, 4, 4}, {5, 5, 5}};
  EXPECT_EQ(mean_estimate(orders).interval, mean_estimate({{1, 2, 3, 4, 5}}).interval);
  const Numbers rows = {1, 2, 3, 4, 5};
  EXPECT_EQ(mean_estimate({rows, rows}).interval, mean_estimate({rows}).interval);
  ByOrder both;
  for (const double order : rows) {
    both.emplace_back();
    for (const double row : rows) both.back().push_back(order + row);
  }
  const double half = 2.7764451 * std::sqrt(2.5 / 5);
  EXPECT_NEAR(mean_estimate(both).interval->high - 6, std::hypot(half, half), 1e-6);
}

TEST(Intervals, OneRowHasNoneForAMean) {
  EXPECT_FALSE(mean_estimate({{4}}).interval);
  EXPECT_FALSE(mean_estimate({{4}, {5}}).interval);
}

TEST(Intervals, WilsonIsThatOfThePaper) {
  // Newcombe 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
  const auto share = [](int hits, int n) {
    Numbers values(static_cast<size_t>(n));
    for (int i = 0; i < hits; ++i) values[static_cast<size_t>(i)] = 1;
    return *share_estimate({values}).interval;
  };
  EXPECT_NEAR(share(81, 263).low, 0.2553, 1e-4);
  EXPECT_NEAR(share(81, 263).high, 0.3662, 1e-4);
  EXPECT_NEAR(share(15, 148).low, 0.0624, 1e-4);
  EXPECT_NEAR(share(15, 148).high, 0.1605, 1e-4);
  EXPECT_EQ(share(0, 20).low, 0);
  EXPECT_EQ(share(0, 64).low, 0);
  EXPECT_EQ(share(64, 64).high, 1);
  EXPECT_NEAR(share(0, 20).high, 0.1611, 1e-4);
  EXPECT_NEAR(share(1, 29).low, 0.0061, 1e-4);
  EXPECT_NEAR(share(1, 29).high, 0.1718, 1e-4);
  EXPECT_NEAR(share(64, 64).low, 0.9434, 1e-4);
}

TEST(Intervals, AShareOverOrdersKeepsRoomForOrdersNotSeen) {
  // Ten orders right everywhere, and four more: mean 12 / 14, variance of the mean of fourteen
  // (12 / 14) (2 / 14) / 13.
  const Estimate sure = share_estimate(ByOrder(10, Numbers(100, 1)));
  EXPECT_EQ(sure.value, 1);
  EXPECT_EQ(sure.se, 0);
  EXPECT_NEAR(sure.interval->low, 12. / 14 - 1.959964 * std::sqrt(24. / 196 / 13), 1e-6);
  EXPECT_EQ(sure.interval->high, 1);
  // Orders that are all or nothing are ten tries, however many rows each has.
  ByOrder lottery(5, Numbers(100, 1));
  lottery.resize(10, Numbers(100, 0));
  EXPECT_NEAR(share_estimate(lottery).interval->low, 0.5 - 1.959964 * std::sqrt(0.25 / 13), 1e-6);
  EXPECT_FALSE(share_estimate({{1}, {0}}).interval);
}

TEST(Intervals, ARangeIsThatOfTheOrdersMeans) {
  ByOrder orders;
  for (int i = 0; i <= 40; ++i) orders.push_back({static_cast<double>(i), static_cast<double>(i)});
  const Estimate of = range_estimate(orders);
  EXPECT_DOUBLE_EQ(of.value, 20);
  EXPECT_DOUBLE_EQ(of.interval->low, 1);
  EXPECT_DOUBLE_EQ(of.interval->high, 39);
  EXPECT_FALSE(range_estimate({{1, 2}}).interval);
}

// ---- coverage: 2,000 trials of 128 rows; a true 95 % shows 93 % or more but once in 25,000

constexpr int kTrials = 2000;
constexpr size_t kRows = 128;

/// The share of trials whose interval held `truth`.
double covered(double truth, const std::function<Estimate(std::mt19937&)>& trial) {
  std::mt19937 random(20261121);
  int held = 0;
  for (int i = 0; i < kTrials; ++i) {
    const Interval interval = *trial(random).interval;
    if (interval.low <= truth && truth <= interval.high) ++held;
  }
  return static_cast<double>(held) / kTrials;
}

/// Losses whose orders have that mean and spread, log-normal, rows and orders acting together.
ByOrder skewed(std::mt19937& random, size_t n_orders, double mean, double spread) {
  std::normal_distribution<double> normal;
  const double variance = std::log(1 + spread * spread / (mean * mean));
  Numbers of_row(kRows);
  for (double& row : of_row) row = normal(random);
  ByOrder values(n_orders, Numbers(kRows));
  for (auto& order : values) {
    const double level = mean * std::exp(std::sqrt(variance) * normal(random) - variance / 2);
    for (size_t row = 0; row < kRows; ++row)
      order[row] = level * (1 + 0.5 * of_row[row] + 0.5 * normal(random));
  }
  return values;
}

TEST(Intervals, MeansOverOrdersAndRowsCover) {
  for (const size_t n_orders : {10u, 20u}) {
    const auto trial = [&](std::mt19937& random) {
      std::normal_distribution<double> normal;
      Numbers of_row(kRows);
      for (double& row : of_row) row = 3 * normal(random);
      ByOrder values(n_orders, Numbers(kRows));
      for (auto& order : values) {
        const double level = 3 + normal(random);
        for (size_t row = 0; row < kRows; ++row) order[row] = level + of_row[row] + normal(random);
      }
      return mean_estimate(values);
    };
    EXPECT_GE(covered(3, trial), 0.93) << n_orders << " orders";
  }
}

TEST(Intervals, MeansOfSkewedOrdersCover) {
  // The spreads between random orders that pruning the addition model shows: k = 4, k = 16.
  for (const auto& [mean, spread] : {std::pair(1.3, 1.9), std::pair(5.7, 1.9)}) {
    const auto trial = [mean = mean, spread = spread](std::mt19937& random) {
      return mean_estimate(skewed(random, 20, mean, spread));
    };
    EXPECT_GE(covered(mean, trial), 0.93) << mean << " ± " << spread;
  }
}

TEST(Intervals, SharesCoverNearTheirEnds) {
  for (const double share : {0.02, 0.5, 0.98}) {
    const auto trial = [&](std::mt19937& random) {
      std::bernoulli_distribution hit(share);
      Numbers values(kRows);
      for (double& value : values) value = hit(random) ? 1 : 0;
      return share_estimate({values});
    };
    EXPECT_GE(covered(share, trial), 0.93) << share;
  }
}

TEST(Intervals, SharesOverOrdersCover) {
  // An order leaves the model whole (right with 0.95) or breaks it (0.05).
  for (const double share : {0.5, 0.9}) {
    const auto trial = [&](std::mt19937& random) {
      std::bernoulli_distribution whole(share), hit(0.95);
      ByOrder values(20, Numbers(kRows));
      for (auto& order : values) {
        const bool right = whole(random);
        for (double& value : order) value = hit(random) == right ? 1 : 0;
      }
      return share_estimate(values);
    };
    EXPECT_GE(covered(0.05 + 0.9 * share, trial), 0.93) << share;
  }
}

}  // namespace
}  // namespace headcount::metrics
