// The integrator against closed forms (docs/methods.md 2 and 3):
// the production code, with polynomials in place of a model.
#include "experiments/run/integrate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "experiments/run/closed_scores.h"

namespace headcount::experiments {
namespace {

using Vector = std::vector<double>;
/// 1/2 a'Ha with H = [[2, 1, 0], [1, 4, -1], [0, -1, 1]]; H1 = [3, 4, 0].
double quadratic(std::span<const double> a, std::span<double> g) {
  g[0] = 2 * a[0] + a[1];
  g[1] = a[0] + 4 * a[1] - a[2];
  g[2] = -a[1] + a[2];
  return 0.5 * (a[0] * g[0] + a[1] * g[1] + a[2] * g[2]);
}
double a2b(std::span<const double> a, std::span<double> g) {
  g[0] = 2 * a[0] * a[1];
  g[1] = a[0] * a[0];
  return a[0] * a[0] * a[1];
}
/// a + 2b - c + ab/2 - bc + 3abc: Shapley value by hand: [1 + 1/4 + 1, 2 + 1/4 - 1/2 + 1, -1 - 1/2
/// + 1].
double multilinear(std::span<const double> x, std::span<double> g) {
  const double a = x[0], b = x[1], c = x[2];
  g[0] = 1 + 0.5 * b + 3 * b * c;
  g[1] = 2 + 0.5 * a - c + 3 * a * c;
  g[2] = -1 - b + 3 * a * b;
  return a + 2 * b - c + 0.5 * a * b - b * c + 3 * a * b * c;
}
const Vector kShapleyOfMultilinear = {2.25, 2.75, -0.5};
struct Quadrature {
  Rule rule = Rule::kTrapezoid;
  int64_t steps = 8;
  double baseline = 0;
  int64_t max_evaluations = 4097;
  double tol = 1e-3;
  int64_t micro_batch = 64;
};

Integrals integrate_paths(const Quadrature& setup, int64_t n_gates, std::vector<Path> paths,
                          const Closed& closed) {
  for (Path& path : paths) path.baseline = setup.baseline;
  return integrate({.n_gates = n_gates,
                    .paths = {std::move(paths)},
                    .rule = setup.rule,
                    .steps = setup.steps,
                    .tol = setup.tol,
                    .max_evaluations = setup.max_evaluations,
                    .micro_batch = setup.micro_batch},
                   batched(closed), [](double) {});
}
Integrals diagonal(const Quadrature& setup, int64_t n_gates, const Closed& closed) {
  return integrate_paths(setup, n_gates, {Path{}}, closed);
}
/// `count` Latin-hypercube paths over n_gates heads of row 7.
std::vector<Path> stochastic(int64_t n_gates, uint32_t count, std::optional<double> width = {}) {
  std::vector<Path> paths;
  for (uint32_t p = 0; p < count; ++p)
    paths.push_back(
        {.thresholds = thresholds({.seed = 1, .row_id = 7}, p, 0, n_gates), .ramp_width = width});
  return paths;
}

double sum(const Vector& v) { return std::accumulate(v.begin(), v.end(), 0.0); }

void expect_near(const Vector& actual, const Vector& expected, double tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], tolerance) << i;
}

constexpr Rule kRules[] = {Rule::kRight,     Rule::kLeft,          Rule::kMidpoint,
                           Rule::kTrapezoid, Rule::kGaussLegendre, Rule::kAdaptive};
constexpr Rule kPathRules[] = {Rule::kRight, Rule::kLeft, Rule::kMidpoint, Rule::kTrapezoid,
                               Rule::kAdaptive};

TEST(Integrate, IsExactForALinearScoreByEveryRuleAndAnyNumberOfSteps) {
  for (const Rule rule : kRules) {
    for (const int64_t steps : {1, 3, 8}) {
      for (const double baseline : {0.0, 0.3}) {
        const double rest = 1 - baseline;
        expect_near(diagonal({.rule = rule, .steps = steps, .baseline = baseline}, 3, linear).ig,
                    {3 * rest, -rest, 2 * rest}, 1e-14);
      }
    }
  }
  for (const Rule rule : kPathRules) {
    for (const std::optional<double> width : {std::optional<double>(), std::optional(0.1)})
      expect_near(
          integrate_paths({.rule = rule, .baseline = 0.3}, 3, stochastic(3, 4, width), linear).ig,
          {2.1, -0.7, 1.4}, 1e-14);
  }
}

TEST(Integrate, RightRuleOverestimatesAQuadraticByOneStepAndMidpointIsExact) {
  for (const int64_t steps : {2, 8}) {
    const double factor = static_cast<double>(steps + 1) / static_cast<double>(steps);
    expect_near(diagonal({.rule = Rule::kRight, .steps = steps}, 3, quadratic).ig,
                {1.5 * factor, 2 * factor, 0}, 1e-14);
    expect_near(diagonal({.rule = Rule::kLeft, .steps = steps}, 3, quadratic).ig,
                {1.5 * (2 - factor), 2 * (2 - factor), 0}, 1e-14);
    for (const Rule rule : {Rule::kMidpoint, Rule::kTrapezoid, Rule::kGaussLegendre})
      expect_near(diagonal({.rule = rule, .steps = steps}, 3, quadratic).ig, {1.5, 2, 0}, 1e-14);
  }
}

TEST(Integrate, DiagonalShareOfASquaredTimesBIsTwoThirds) {
  expect_near(diagonal({.rule = Rule::kGaussLegendre, .steps = 2}, 2, a2b).ig, {2.0 / 3, 1.0 / 3},
              1e-14);
}

TEST(Integrate, StochasticThresholdShareOfASquaredTimesBIsThePublishedOne) {
  // docs/methods.md 2: 0.597 +- 0.004 (simulated); Shapley 1/2.
  const Integrals stp =
      integrate_paths({.rule = Rule::kMidpoint, .steps = 64}, 2, stochastic(2, 8192), a2b);
  EXPECT_NEAR(stp.ig[0], 0.597, 0.004);
  const Integrals narrow =
      integrate_paths({.rule = Rule::kMidpoint, .steps = 512}, 2, stochastic(2, 1024, 0.02), a2b);
  EXPECT_NEAR(narrow.ig[0], 0.5, 0.02);
}

TEST(Integrate, EveryPathGivesTheShapleyValueOfAMultilinearScore) {
  expect_near(diagonal({.rule = Rule::kGaussLegendre, .steps = 2}, 3, multilinear).ig,
              kShapleyOfMultilinear, 1e-13);
  expect_near(
      integrate_paths({.rule = Rule::kMidpoint, .steps = 64}, 3, stochastic(3, 8192), multilinear)
          .ig,
      kShapleyOfMultilinear, 0.02);
  expect_near(integrate_paths({.rule = Rule::kMidpoint, .steps = 256}, 3, stochastic(3, 4096, 0.05),
                              multilinear)
                  .ig,
              kShapleyOfMultilinear, 0.03);
}

TEST(Integrate, ThresholdsOfZeroAreTheDiagonal) {
  for (const Rule rule : kPathRules) {
    const Quadrature setup{.rule = rule, .steps = 16};
    const Vector zero = integrate_paths(setup, 2, {Path{.thresholds = {0, 0}}}, curved).ig;
    expect_near(zero, diagonal(setup, 2, curved).ig, 1e-15);
  }
}

TEST(Integrate, EqualThresholdsOnlyReparametriseTheDiagonal) {
  const Vector exact = diagonal({.rule = Rule::kGaussLegendre, .steps = 64}, 2, curved).ig;
  for (const double u : {0.25, 0.5, 0.9}) {
    const Quadrature setup{.rule = Rule::kTrapezoid, .steps = 4096};
    expect_near(integrate_paths(setup, 2, {Path{.thresholds = {u, u}}}, curved).ig, exact, 1e-4);
  }
}

TEST(Integrate, NarrowRampsInsertOneHeadAfterTheOther) {
  // Head 1 first, then 0, then 2: differences of the multilinear score along that order.
  const Vector u = {0.5, 0.1, 0.8};
  const Vector v = integrate_paths({.rule = Rule::kMidpoint, .steps = 4096}, 3,
                                   {Path{.thresholds = u, .ramp_width = 0.01}}, multilinear)
                       .ig;
  expect_near(v, {1.5, 2, -1 - 1 + 3}, 1e-3);
}

TEST(Integrate, SumsToTheClimbOfTheScoreOnEveryPath) {
  const std::vector<Path> paths = stochastic(2, 4);
  for (const Path& path : paths) {
    for (const Rule rule : {Rule::kMidpoint, Rule::kTrapezoid}) {
      double last = 1e9;
      for (const int64_t steps : {16, 64, 256}) {
        const Integrals i =
            integrate_paths({.rule = rule, .steps = steps, .baseline = 0.1}, 2, {path}, curved);
        const double residual = std::abs(sum(i.ig) - (i.score_one[0] - i.score_base[0]));
        EXPECT_LT(residual, last);
        last = residual;
      }
      EXPECT_LT(last, 1e-3);
    }
  }
}

TEST(Integrate, ReportsTheScoreAtBothEndsWhateverTheRule) {
  for (const Rule rule : kRules) {
    const Integrals i = diagonal({.rule = rule, .baseline = 0.2}, 2, curved);
    EXPECT_DOUBLE_EQ(i.score_one[0], std::tanh(4) * std::exp(1));
    EXPECT_DOUBLE_EQ(i.score_base[0], std::tanh(0.8) * std::exp(0.2));
  }
}

TEST(Integrate, HalfIsTheRuleWithHalfTheSteps) {
  for (const Rule rule : {Rule::kRight, Rule::kLeft, Rule::kMidpoint, Rule::kTrapezoid}) {
    const std::vector<Path> paths = stochastic(2, 4);
    const Quadrature half{.rule = rule, .steps = 6}, full{.rule = rule, .steps = 12};
    expect_near(integrate_paths(full, 2, paths, curved).ig_half,
                integrate_paths(half, 2, paths, curved).ig, 1e-15);
    EXPECT_TRUE(integrate_paths({.rule = rule, .steps = 7}, 2, paths, curved).ig_half.empty());
  }
  expect_near(diagonal({.rule = Rule::kGaussLegendre, .steps = 8}, 2, curved).ig_half,
              diagonal({.rule = Rule::kGaussLegendre, .steps = 4}, 2, curved).ig, 1e-15);
}

TEST(Integrate, SharesEndPointsBetweenPathsAndNodesBetweenTheRuleAndItsHalf) {
  const auto evaluations = [](Rule rule, int64_t steps, size_t n_paths) {
    std::vector<Vector> seen;
    std::vector<Path> paths = stochastic(2, static_cast<uint32_t>(n_paths));
    integrate({.n_gates = 2, .paths = {paths}, .rule = rule, .steps = steps},
              batched(curved, &seen), [](double) {});
    return seen.size();
  };
  EXPECT_EQ(evaluations(Rule::kTrapezoid, 8, 4), 4U * 7 + 2);
  EXPECT_EQ(evaluations(Rule::kRight, 8, 4), 4U * 7 + 2);  // one of the ends without gradient
  EXPECT_EQ(evaluations(Rule::kMidpoint, 7, 4), 4U * 7 + 2);
  EXPECT_EQ(evaluations(Rule::kMidpoint, 8, 4), 4U * 12 + 2);
}

TEST(Integrate, GivesTheSameBitsForAnyMicroBatchOfAScoreThatDoes) {
  for (const Rule rule : kPathRules) {
    const std::vector<Path> paths = stochastic(2, 4);
    const Integrals one = integrate_paths({.rule = rule, .micro_batch = 1}, 2, paths, curved);
    const Integrals many = integrate_paths({.rule = rule, .micro_batch = 1000}, 2, paths, curved);
    EXPECT_EQ(one.ig, many.ig);
    EXPECT_EQ(one.ig_half, many.ig_half);
  }
}

TEST(Integrate, ReachesFullProgress) {
  for (const Rule rule : {Rule::kMidpoint, Rule::kTrapezoid}) {
    Vector reported;
    integrate({.n_gates = 2, .paths = {{Path{}}, {Path{}}}, .rule = rule, .micro_batch = 2},
              batched(curved), [&](double share) { reported.push_back(share); });
    EXPECT_TRUE(std::is_sorted(reported.begin(), reported.end()));
    EXPECT_DOUBLE_EQ(reported.back(), 1);
  }
}

}  // namespace
}  // namespace headcount::experiments
