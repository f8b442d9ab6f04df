// The adaptive rule against closed forms: where it looks, when it stops, what it spends.
#include "experiments/run/adaptive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "experiments/run/closed_scores.h"
#include "schemas/philox.h"

namespace headcount::experiments {
namespace {

using Vector = std::vector<double>;
constexpr int64_t kSteps = 11;
constexpr int64_t kLeast = 4 * kSteps + 1;

Integration along(int64_t n_gates, std::vector<Path> paths, double tol) {
  return {.n_gates = n_gates,
          .paths = {std::move(paths)},
          .steps = kSteps,
          .tol = tol,
          .max_evaluations = 4097};
}
Integrals result(const Integration& integration, const Closed& closed,
                 std::vector<Vector>* seen = nullptr) {
  return integrate(integration, batched(closed, seen), [](double) {});
}
Integrals diagonal(int64_t n_gates, double tol, const Closed& closed) {
  return result(along(n_gates, {Path{}}, tol), closed);
}
Vector fixed(Rule rule, int64_t steps, int64_t n_gates, const Closed& closed) {
  Integration integration = along(n_gates, {Path{}}, 1);
  integration.rule = rule;
  integration.steps = steps;
  return result(integration, closed).ig;
}

double distance(const Vector& a, const Vector& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}
double sum(const Vector& v) { return std::accumulate(v.begin(), v.end(), 0.0); }

/// Latin-hypercube paths of row 7.
std::vector<Path> stochastic(int64_t n_gates, uint32_t count, std::optional<double> width = {}) {
  std::vector<Path> paths;
  for (uint32_t p = 0; p < count; ++p)
    paths.push_back(
        {.thresholds = thresholds({.seed = 1, .row_id = 7}, p, 0, n_gates), .ramp_width = width});
  return paths;
}

/// a^4 + 2 a b^3 - b^2: gradients are cubic along the diagonal.
double quartic(std::span<const double> x, std::span<double> g) {
  const double a = x[0], b = x[1];
  g[0] = 4 * a * a * a + 2 * b * b * b;
  g[1] = 6 * a * b * b - 2 * b;
  return a * a * a * a + 2 * a * b * b * b - b * b;
}

/// tanh(500 a).
double steep(std::span<const double> a, std::span<double> g) {
  const double t = std::tanh(500 * a[0]);
  g[0] = 500 * (1 - t * t);
  return t;
}

TEST(Adaptive, StartsFromIntervalsGradedTowardsTheBaseline) {
  EXPECT_EQ(graded(1), (Vector{0, 1}));
  EXPECT_EQ(graded(4), (Vector{0, 0.125, 0.25, 0.5, 1}));
  EXPECT_EQ(graded(kSteps)[1], 0x1p-10);
}

TEST(Adaptive, StopsOnTheVectorWithinItsTolerance) {
  const Vector exact = fixed(Rule::kGaussLegendre, 64, 2, curved);
  for (const double tol : {1e-2, 1e-4, 1e-8}) {
    for (const int64_t steps : {int64_t{1}, int64_t{3}, kSteps}) {
      Integration integration = along(2, {Path{}}, tol);
      integration.steps = steps;
      const Integrals i = result(integration, curved);
      EXPECT_EQ(i.unconverged[0], 0);
      EXPECT_LE(distance(i.ig, exact), tol * std::max(1.0, i.score_one[0] - i.score_base[0]));
    }
  }
}

TEST(Adaptive, SeesANarrowDipNearTheBaselineThatEqualIntervalsMiss) {
  for (const double tol : {1e-2, 1e-3}) {
    const Integrals i = diagonal(2, tol, dip);
    EXPECT_EQ(i.unconverged[0], 0);
    EXPECT_LE(distance(i.ig, {-9, 9}), tol);  // J does not change: tol x tol_floor
  }
  EXPECT_EQ(fixed(Rule::kTrapezoid, 4, 2, dip), (Vector{0, 0}));
}

TEST(Adaptive, SeesInTheScoresWhatItsGradientsMiss) {
  // A rise of five where no node of the start lies: all gradients are zero.
  const Closed rise = [](std::span<const double> a, std::span<double> g) {
    const double j = 5 * step(a[0], 0.6, 0.62, g[0]);
    g[0] *= 5;
    return j;
  };
  const Integrals i = diagonal(1, 1e-3, rise);
  EXPECT_EQ(i.unconverged[0], 0);
  EXPECT_NEAR(i.ig[0], 5, 5e-3);
}

TEST(Adaptive, GoesOnForWhatNoRoundingOfTheScoreExplains) {
  // The same dip where a ramp of width 0.01 crosses it in 1e-4 of the path, away from the baseline:
  // three halvings do not find it.
  for (const Path& path : {Path{.thresholds = {0.5, 0.1}, .ramp_width = 0.01},
                           Path{.thresholds = {0.5, 0.9}, .ramp_width = 0.01}}) {
    const Integrals i = result(along(2, {path}, 1e-3), dip);
    EXPECT_EQ(i.unconverged[0], 0);
    EXPECT_LE(distance(i.ig, {-9, 9}), 1e-2);
    EXPECT_LT(i.evaluations[0], 500);
  }
}

TEST(Adaptive, TakesNoSmallChangeOfAScoreForItsRounding) {
  // A dip of 0.06 nats on a level of -9 is below what 16-bit weights round, and not what sums do.
  const Closed small = [](std::span<const double> a, std::span<double> g) {
    const double j = dip(a, g) / 150 - 9;
    for (double& x : g) x /= 150;
    return j;
  };
  const Path narrow{.thresholds = {0.5, 0.1}, .ramp_width = 0.01};
  const Integrals i = result(along(2, {narrow}, 1e-3), small);
  EXPECT_EQ(i.unconverged[0], 0);
  EXPECT_LE(distance(i.ig, {-0.06, 0.06}), 1e-2);
}

TEST(Adaptive, EndsWithoutConvergingWhereTheScoreJumps) {
  // No gradient explains the jump, and floats between which to look run out before the limit does.
  const Closed jump = [](std::span<const double> a, std::span<double> g) {
    g[0] = 0;
    return a[0] > 1.0 / 3 ? 5.0 : 0.0;
  };
  const Integrals i = diagonal(1, 1e-3, jump);
  EXPECT_EQ(i.unconverged[0], 1);
  EXPECT_LT(i.evaluations[0], 300);
  // So does a gate whose ramp rounding cuts off at 1, where the score is curved in it.
  EXPECT_EQ(result(along(2, {Path{.thresholds = {0, 1 - 1e-7}}}, 1e-3), curved).unconverged[0], 1);
}

TEST(Adaptive, IsExactForCubicGradientsWithTheFewestEvaluations) {
  const Integrals i = diagonal(2, 1e-12, quartic);
  EXPECT_LT(distance(i.ig, {1.5, 0.5}), 1e-14);
  EXPECT_EQ(i.evaluations[0], kLeast);
}

TEST(Adaptive, WeightsAQuadraticGradientExactlyOverAKinkInsideAnInterval) {
  // Gate b opens at 0.3, in the middle of nothing: b (1 + a^2) gives it the mean of 1 + t^2 since.
  const Closed product = [](std::span<const double> x, std::span<double> g) {
    g[0] = 2 * x[0] * x[1];
    g[1] = 1 + x[0] * x[0];
    return x[1] * (1 + x[0] * x[0]);
  };
  const double mean = 1 + (1 - 0.027) / 3 / 0.7;
  const Integrals coarse = result(along(2, {Path{.thresholds = {0, 0.3}}}, 1), product);
  EXPECT_EQ(coarse.evaluations[0], kLeast);
  EXPECT_NEAR(coarse.ig[1], mean, 1e-14);
  // Ramps that end inside an interval: b rises from 0.2 / 1.5 to 0.7 / 1.5 while a rises to 1 / 3.
  const Path ramps{.thresholds = {0, 0.2}, .ramp_width = 0.5};
  const Closed of_a = [](std::span<const double> x, std::span<double> g) {
    g[0] = 0;
    g[1] = x[1];
    return x[1] * x[1] / 2;
  };
  EXPECT_NEAR(result(along(2, {ramps}, 1e-6), of_a).ig[1], 0.5, 1e-6);
}

TEST(Adaptive, GivesEveryHeadItsWholeIncrementHoweverShortItsRamp) {
  // A score of constant gradients is the sum of increments, in the fewest evaluations.
  const double last = std::nextafter(1.0, 0.0);
  for (const double u : {0.0, 0.3, 0.5, 1 - 1e-7, 1 - 1e-12, last}) {
    for (const std::optional<double> width :
         {std::optional<double>(), std::optional(0.1), std::optional(1e-9), std::optional(1e-17)}) {
      for (const double baseline : {0.0, 0.3}) {
        const Path path{.baseline = baseline, .thresholds = {u, 0.7, 0.1}, .ramp_width = width};
        const Integrals i = result(along(3, {path}, 1e-6), linear);
        const double rest = 1 - baseline;
        EXPECT_LT(distance(i.ig, {3 * rest, -rest, 2 * rest}), 1e-13) << u;
        EXPECT_EQ(i.evaluations[0], kLeast) << u;
      }
    }
  }
}

TEST(Adaptive, SumsToTheClimbOfTheScoreOnEveryPath) {
  std::vector<Path> paths = stochastic(2, 4);
  for (const Path& path : stochastic(2, 4, 0.1)) paths.push_back(path);
  paths.push_back({});
  for (Path path : paths) {
    for (const double baseline : {0.0, 0.3}) {
      path.baseline = baseline;
      for (const double tol : {1e-2, 1e-5}) {
        const Integrals i = result(along(2, {path}, tol), curved);
        EXPECT_EQ(i.unconverged[0], 0);
        const double climb = i.score_one[0] - i.score_base[0];
        EXPECT_NEAR(sum(i.ig), climb, tol * std::max(1.0, climb));
      }
    }
  }
}

TEST(Adaptive, HalvesWhereTheScoreClimbs) {
  const Integrals i = diagonal(1, 1e-3, steep);
  EXPECT_NEAR(i.ig[0], 1, 1e-3);
  EXPECT_LT(i.evaluations[0], 100);
  EXPECT_GT(std::abs(fixed(Rule::kTrapezoid, 256, 1, steep)[0] - 1), 0.1);
}

TEST(Adaptive, ToleratesAgainstTheFloorWhereTheScoreClimbsLess) {
  const Closed little = [](std::span<const double> a, std::span<double> g) {
    const double j = 0.01 * curved(a, g);
    for (double& x : g) x *= 0.01;
    return j;
  };
  Integration integration = along(2, {Path{}}, 1e-2);
  EXPECT_EQ(result(integration, little).evaluations[0], kLeast);
  integration.tol_floor = 1e-6;
  EXPECT_EQ(result(integration, little).evaluations[0], diagonal(2, 1e-2, curved).evaluations[0]);
  integration.tol = 1e-6;
  EXPECT_GT(result(integration, little).evaluations[0], kLeast);
}

/// `closed` with a rounding error of up to `size`, the same for the same gates, in its value only.
Closed noisy(const Closed& closed, double size) {
  return [=](std::span<const double> a, std::span<double> g) {
    uint64_t bits = 0;
    for (const double x : a) {
      uint64_t word = 0;
      std::memcpy(&word, &x, sizeof word);
      bits = bits * 31 + word;
    }
    return closed(a, g) + size * (2 * random_uniform(bits, Purpose::kThreshold, 0, 0, 0) - 1);
  };
}

TEST(Adaptive, LeavesRoundingOfTheScoreAloneAfterThreeHalvings) {
  Integration integration = along(2, {Path{}}, 1e-5);
  const Integrals i = result(integration, noisy(curved, 3e-5));
  EXPECT_EQ(i.unconverged[0], 0);
  // Every interval in eight, some more as shares shrink, and what the gradients ask for.
  EXPECT_LE(i.evaluations[0], 12 * 4 * kSteps + result(integration, curved).evaluations[0]);
  EXPECT_LT(distance(i.ig, fixed(Rule::kGaussLegendre, 64, 2, curved)), 3e-5);
}

TEST(Adaptive, DoesNotHalveForDifferencesBelowTheScoresRounding) {
  const auto high = [](const Closed& closed) {
    return Closed(
        [=](std::span<const double> a, std::span<double> g) { return closed(a, g) + 100; });
  };
  Integration integration = along(2, {Path{}}, 1e-4);
  const double clean = result(integration, high(curved)).evaluations[0];
  EXPECT_GT(result(integration, high(noisy(curved, 1e-3))).evaluations[0], 2 * clean);
  integration.score_rounding = 1e-4;  // of 100
  EXPECT_EQ(result(integration, high(noisy(curved, 1e-3))).evaluations[0],
            result(integration, high(curved)).evaluations[0]);
}

TEST(Adaptive, EndsWhereSixteenBitWeightsRoundTheScoreMoreThanUsual) {
  Integration integration = along(2, {Path{}}, 1e-4);
  integration.score_rounding = 1e-3;
  const Integrals i = result(integration, noisy(curved, 3.5e-3));
  EXPECT_EQ(i.unconverged[0], 0);
  EXPECT_LE(i.evaluations[0], 12 * 4 * kSteps + result(integration, curved).evaluations[0]);
}

TEST(Adaptive, StopsEachPathByItselfAndCountsTheUnconverged) {
  // Row 0 is linear (no halving), row 1 cannot within its limit.
  size_t sharp = 0;
  const ScoreFunction score = [&](const Samples& samples, bool) {
    Scored out;
    for (size_t i = 0; i < samples.row.size(); ++i) {
      const double a = samples.gates[i], t = std::tanh(1e5 * a);
      const bool row_one = samples.row[i] == 1;
      if (row_one) ++sharp;
      out.score.push_back(row_one ? t : a);
      out.gradient.push_back(row_one ? 1e5 * (1 - t * t) : 1);
    }
    return out;
  };
  Integration integration = along(1, {Path{}}, 1e-3);
  integration.paths.push_back({Path{}});
  integration.max_evaluations = kLeast + 7;
  const Integrals i = integrate(integration, score, [](double) {});
  EXPECT_EQ(i.unconverged, (Vector{0, 1}));
  EXPECT_EQ(i.evaluations, (Vector{kLeast, kLeast + 4}));
  EXPECT_EQ(sharp, static_cast<size_t>(kLeast + 4));
}

TEST(Adaptive, NeverSpendsMoreThanItMay) {
  for (const int64_t most : {kLeast, kLeast + 3, int64_t{64}, int64_t{300}}) {
    Integration integration = along(1, {Path{}}, 1e-12);
    integration.max_evaluations = most;
    std::vector<Vector> seen;
    const Integrals i = result(integration, steep, &seen);
    EXPECT_EQ(i.unconverged[0], 1);
    EXPECT_LE(i.evaluations[0], static_cast<double>(most));
    EXPECT_GT(i.evaluations[0], static_cast<double>(most - 4));
    EXPECT_EQ(seen.size(), static_cast<size_t>(i.evaluations[0]));
    EXPECT_EQ(std::set<Vector>(seen.begin(), seen.end()).size(), seen.size());  // none twice
  }
}

TEST(Adaptive, SpendsWhatIsLeftOnTheWorstInterval) {
  // A little wave in [1/8, 1/4], a great one in [1/2, 1]: four more gradients go to the latter.
  const Closed waves = [](std::span<const double> a, std::span<double> g) {
    double little = 0, great = 0;
    const double j = step(a[0], 0.16, 0.2, little) + 10 * step(a[0], 0.6, 0.7, great);
    g[0] = little + 10 * great;
    return j;
  };
  Integration integration = along(1, {Path{}}, 1e-6);
  integration.max_evaluations = kLeast + 4;
  std::vector<Vector> seen;
  const Integrals i = result(integration, waves, &seen);
  EXPECT_EQ(i.evaluations[0], kLeast + 4);
  for (size_t k = kLeast; k < seen.size(); ++k) EXPECT_GT(seen[k][0], 0.5);
}

TEST(Adaptive, PathsOfARowShareNothingButTheirEnds) {
  const std::vector<Path> paths = stochastic(2, 3);
  const Integrals together = result(along(2, paths, 1e-4), curved);
  Vector mean(2);
  double evaluations = 2;
  for (const Path& path : paths) {
    const Integrals alone = result(along(2, {path}, 1e-4), curved);
    for (size_t head = 0; head < 2; ++head) mean[head] += alone.ig[head] / 3;
    evaluations += alone.evaluations[0] - 2;
  }
  EXPECT_LT(distance(together.ig, mean), 1e-15);
  EXPECT_EQ(together.evaluations[0], evaluations);
}

/// Three rows of two paths.
Integration audited(std::vector<int64_t> rows) {
  Integration integration = along(2, stochastic(2, 2), 1e-3);
  integration.paths.push_back(stochastic(2, 2, 0.3));
  integration.paths.push_back({Path{}, Path{.thresholds = {0.1, 0.2}}});
  integration.audited = std::move(rows);
  return integration;
}

TEST(Adaptive, AuditChangesNeitherTheIntegralsNorWhatTheySpend) {
  const Integrals plain = result(audited({}), curved), more = result(audited({0, 2}), curved);
  EXPECT_TRUE(plain.audit.empty());
  EXPECT_EQ(plain.ig, more.ig);
  EXPECT_EQ(plain.evaluations, more.evaluations);
  EXPECT_EQ(plain.unconverged, more.unconverged);
}

TEST(Adaptive, AuditOfARowIsTheSameWhicheverOthersAreAudited) {
  const Vector all = result(audited({0, 1, 2}), curved).audit;
  ASSERT_EQ(all.size(), 6U);
  for (const int64_t row : {0, 1, 2}) {
    const auto begin = all.begin() + 2 * row;
    EXPECT_EQ(result(audited({row}), curved).audit, Vector(begin, begin + 2));
  }
}

TEST(Adaptive, AuditHalvesEveryFinalInterval) {
  Integration integration = along(2, {Path{}}, 1);  // the start is final
  integration.audited = {0};
  std::vector<Vector> seen;
  const Integrals i = result(integration, curved, &seen);
  EXPECT_EQ(i.evaluations[0], kLeast);
  EXPECT_EQ(seen.size(), static_cast<size_t>(kLeast + 4 * kSteps));

  // Simpson's on the quarters of each interval, extrapolated from its halves, by hand.
  Vector expected(2);
  const auto times = graded(kSteps);
  for (size_t k = 0; k + 1 < times.size(); ++k) {
    for (const double half : {0.0, 0.5}) {
      const double width = (times[k + 1] - times[k]) / 2, lo = times[k] + 2 * half * width;
      constexpr double kCoarse[] = {1, 0, 4, 0, 1}, kFine[] = {1, 4, 2, 4, 1};
      for (int node = 0; node < 5; ++node) {
        const double t = lo + width * node / 4;
        Vector g(2);
        curved(Vector{t, t}, g);
        const double fine = kFine[node] / 12, coarse = kCoarse[node] / 6;
        for (size_t head = 0; head < 2; ++head)
          expected[head] += width * g[head] * (fine + (fine - coarse) / 15);
      }
    }
  }
  EXPECT_LT(distance(i.audit, expected), 1e-14);
  EXPECT_GT(distance(i.audit, i.ig), 1e-12);
}

TEST(Adaptive, GivesTheSameBitsForAnyMicroBatch) {
  Integration integration = audited({1});
  integration.micro_batch = 1;
  const Integrals one = result(integration, curved);
  for (const int64_t micro_batch : {7, 1000}) {
    integration.micro_batch = micro_batch;
    const Integrals many = result(integration, curved);
    EXPECT_EQ(one.ig, many.ig);
    EXPECT_EQ(one.audit, many.audit);
    EXPECT_EQ(one.evaluations, many.evaluations);
  }
}

TEST(Adaptive, ProgressGrowsToOneThroughTheAudit) {
  for (const bool with_audit : {false, true}) {
    Integration integration = audited({});
    if (with_audit) integration.audited = {1};
    integration.tol = 1e-7;
    integration.micro_batch = 3;
    Vector reported;
    integrate(integration, batched(curved), [&](double share) { reported.push_back(share); });
    EXPECT_TRUE(std::is_sorted(reported.begin(), reported.end()));
    EXPECT_GT(reported.front(), 0);
    EXPECT_LE(reported.back(), 1);
    if (with_audit) {
      EXPECT_DOUBLE_EQ(reported.back(), 1);
    }
  }
}

TEST(Adaptive, AScoreThatIsNotANumberStopsAtOnceAndDoesNotConverge) {
  const Closed broken = [](std::span<const double> a, std::span<double> g) {
    g[0] = 1;
    return a[0] > 0.4 ? std::nan("") : a[0];
  };
  const Integrals i = diagonal(1, 1e-3, broken);
  EXPECT_EQ(i.unconverged[0], 1);
  EXPECT_EQ(i.evaluations[0], kLeast);
}

}  // namespace
}  // namespace headcount::experiments
