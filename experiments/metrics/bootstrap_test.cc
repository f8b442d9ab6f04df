// The bootstrap against the normal theory of a mean, and the laws of counter-based resampling.
#include "experiments/metrics/bootstrap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

namespace headcount::metrics {
namespace {

std::vector<double> normal_values(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(1, 2);
  std::vector<double> values(n);
  for (double& value : values) value = normal(random);
  return values;
}

Statistic mean_of(const std::vector<double>& values) {
  return [&values](std::span<const uint32_t> rows) {
    double sum = 0;
    for (const uint32_t row : rows) sum += values[row];
    return sum / static_cast<double>(rows.size());
  };
}

TEST(Bootstrap, ErrorOfAMeanIsItsStandardError) {
  const std::vector<double> values = normal_values(200, 3);
  const Estimate result = bootstrap({.seed = 9}, values.size(), mean_of(values));
  const Estimate theory = estimate(values);
  EXPECT_NEAR(result.value, theory.value, 1e-12);
  ASSERT_TRUE(result.se);
  EXPECT_NEAR(*result.se, *theory.se, 0.03 * *theory.se);
  ASSERT_TRUE(result.interval);
  EXPECT_NEAR(result.interval->low, theory.value - 1.96 * *theory.se, 0.1 * *theory.se);
  EXPECT_NEAR(result.interval->high, theory.value + 1.96 * *theory.se, 0.1 * *theory.se);
}

TEST(Bootstrap, SameSeedSameResampleWhateverWasDrawnBefore) {
  std::vector<uint32_t> a(50), b(50), other_seed(50);
  resample({.seed = 4}, 17, a);
  resample({.seed = 4}, 3, b);
  resample({.seed = 4}, 17, b);
  resample({.seed = 5}, 17, other_seed);
  EXPECT_EQ(a, b);
  EXPECT_NE(a, other_seed);
}

TEST(Bootstrap, EveryRowIsDrawnEquallyOften) {
  std::vector<int64_t> drawn(10);
  std::vector<uint32_t> rows(10);
  for (uint32_t r = 0; r < 10'000; ++r) {
    resample({.seed = 2}, r, rows);
    for (const uint32_t row : rows) ++drawn[row];
  }
  double chi_square = 0;  // 9 degrees of freedom: 99.9 % lie below 27.9
  for (const int64_t count : drawn) {
    const double off = static_cast<double>(count) - 10'000;
    chi_square += off * off / 10'000;
  }
  EXPECT_LT(chi_square, 27.9);
}

TEST(Bootstrap, OneRowHasNoSpread) {
  const std::vector<double> values{3};
  EXPECT_EQ(bootstrap({}, 1, mean_of(values)), (Estimate{.value = 3, .se = {}, .n = 1}));
}

TEST(Bootstrap, UndefinedResamplesAreLeftOut) {
  // 1 where row 0 was drawn at least once; else, with probability (1 - 1/4)^4, undefined.
  const auto only_with_row_0 = [](std::span<const uint32_t> rows) {
    return std::count(rows.begin(), rows.end(), 0u) > 0 ? 1.0
                                                        : std::numeric_limits<double>::quiet_NaN();
  };
  const Estimate result = bootstrap({.seed = 6, .n_resamples = 4000}, 4, only_with_row_0);
  EXPECT_EQ(result, (Estimate{.value = 1, .se = 0.0, .n = 4}));
  const auto never = [](std::span<const uint32_t>) {
    return std::numeric_limits<double>::infinity();
  };
  EXPECT_FALSE(bootstrap({.seed = 6, .n_resamples = 10}, 4, never).se);
}

}  // namespace
}  // namespace headcount::metrics
