// Brute force against closed forms, and the adaptive rule against brute force.
#include "experiments/run/brute_force.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "experiments/run/closed_scores.h"

namespace headcount::experiments {
namespace {

using Vector = std::vector<double>;

Integration along(int64_t n_gates, Path path) {
  return {.n_gates = n_gates,
          .paths = {{Path{.baseline = path.baseline}}, {Path{.baseline = path.baseline}, path}},
          .steps = 11,
          .tol = 1e-6,
          .max_evaluations = 1 << 20};
}
/// Of the second path of the second row.
BruteForce brute(const Path& path, int64_t n_gates, const Closed& closed, double allowed = 1e-9) {
  return brute_force(along(n_gates, path), batched(closed), 1, 1, allowed);
}
void expect_near(const Vector& actual, const Vector& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

const Path kPaths[] = {{},
                       {.baseline = 0.3},
                       {.thresholds = {0.1, 0.8, 0.45}},
                       {.baseline = 0.2, .thresholds = {0.1, 0.8, 0.45}},
                       {.thresholds = {0.5, 0.1, 0.8}, .ramp_width = 0.01},
                       {.thresholds = {0, 1 - 1e-5, 0.999}}};

TEST(BruteForce, IsTheIncrementsForALinearScoreOnEveryPath) {
  for (const Path& path : kPaths) {
    const double rest = 1 - path.baseline;
    expect_near(brute(path, 3, linear).ig, {3 * rest, -rest, 2 * rest}, 1e-12);
  }
}

TEST(BruteForce, SharesAProductAlongRampsAsTheClosedFormDoes) {
  // J = a b with thresholds 0 and u, both ramps to the end: a = t, b = (t - u) / (1 - u).
  const Closed product = [](std::span<const double> x, std::span<double> g) {
    g[0] = x[1];
    g[1] = x[0];
    return x[0] * x[1];
  };
  const double u = 0.3;
  expect_near(brute({.thresholds = {0, u}}, 2, product).ig, {(1 - u) / 2, (1 + u) / 2}, 1e-12);
}

TEST(BruteForce, FindsSpikesAndKinksOfTheScore) {
  expect_near(brute({}, 2, dip).ig, {-9, 9}, 1e-8);
  expect_near(brute({.thresholds = {0.6, 0.2}}, 2, dip).ig, {-9, 9}, 1e-8);
  const Closed ramp = [](std::span<const double> x, std::span<double> g) {
    g[0] = x[0] > 0.37 ? 2 : 0;
    return 2 * std::max(0.0, x[0] - 0.37);
  };
  EXPECT_NEAR(brute({}, 1, ramp).ig[0], 1.26, 1e-8);
}

TEST(BruteForce, TheAdaptiveRuleAgreesWithinItsTolerance) {
  for (const Path& path : kPaths) {
    for (const Closed& closed : {Closed(curved), Closed(dip)}) {
      Path two = path;
      if (!two.thresholds.empty()) two.thresholds.resize(2);
      const BruteForce witness = brute(two, 2, closed);
      Integration one = along(2, two);
      one.paths = {{two}};
      const Integrals found = integrate(one, batched(closed), [](double) {});
      EXPECT_EQ(found.unconverged[0], 0);
      const double climb = std::abs(found.score_one[0] - found.score_base[0]);
      EXPECT_LE(std::hypot(found.ig[0] - witness.ig[0], found.ig[1] - witness.ig[1]),
                1e-6 * std::max(1.0, climb));
    }
  }
}

TEST(BruteForce, SaysHowFarItsLastHalvingsMovedAndGoesOnUntilThatIsLittle) {
  const BruteForce rough = brute({}, 2, dip, 1e-2), fine = brute({}, 2, dip, 1e-10);
  EXPECT_LE(rough.moved, 1e-2);
  EXPECT_LE(fine.moved, 1e-10);
  EXPECT_GT(fine.evaluations, rough.evaluations);
  EXPECT_EQ(rough.evaluations % 8, 0);
}

TEST(BruteForce, EndsWhereNoHalvingHelps) {
  // Gradients that jump at every float never settle.
  const Closed rough = [](std::span<const double> x, std::span<double> g) {
    g[0] = x[0] > 1.0 / 3 ? 1e6 : -1e6;
    return 1e6 * std::abs(x[0] - 1.0 / 3);
  };
  EXPECT_NEAR(brute({}, 1, rough, 0).ig[0], 1e6 / 3, 1e-5);
}

}  // namespace
}  // namespace headcount::experiments
