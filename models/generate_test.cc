// Decoding: schedules and choices by hand, draws that follow the softmax, sequences that do not
// depend on what is decoded beside them.
#include "models/generate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "models/generate_rows.h"
#include "models/generate_schedule.h"
#include "models/test_models.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using Counts = std::vector<int64_t>;

Counts dream_counts(int64_t n_masked, int64_t n_steps) {
  const std::vector<double> levels = noise_levels(n_steps, 1e-3);
  Counts counts;
  for (int64_t i = 0; i < n_steps; ++i) {
    counts.push_back(revealed_count(levels, i, n_masked));
    n_masked -= counts.back();
  }
  return counts;
}

TEST(Schedules, LladaSpreadsTheRemainderOverTheFirstSteps) {
  EXPECT_EQ(even_schedule(32, 32), Counts(32, 1));
  EXPECT_EQ(even_schedule(10, 4), (Counts{3, 3, 2, 2}));
  EXPECT_EQ(even_schedule(2, 4), (Counts{1, 1, 0, 0}));
}

TEST(Schedules, DreamRoundsDownAndRevealsTheRestAtTheLastStep) {
  EXPECT_EQ(dream_counts(8, 4), (Counts{1, 2, 2, 3}));
  const Counts many = dream_counts(256, 256);
  EXPECT_EQ(many.front(), 0);
  EXPECT_EQ(many.back(), 2);
  EXPECT_EQ(std::accumulate(many.begin(), many.end(), int64_t{0}), 256);
  EXPECT_EQ(dream_counts(5, 1), (Counts{5}));
}

TEST(Schedules, TheLargestAreTakenAndTheLowerIndexOnTies) {
  EXPECT_EQ(largest({1, 3, 3, 2, 3}, 2), (std::vector<size_t>{1, 2}));
  EXPECT_EQ(largest({1, 1}, 5), (std::vector<size_t>{0, 1}));
  EXPECT_TRUE(largest({1, 2}, 0).empty());
}

std::vector<double> logs(std::vector<double> p) {
  for (double& x : p) x = std::log(x);
  return p;
}

TEST(Picks, MarginAndEntropyAreThoseOfTheProbabilities) {
  const Picked picked = pick(logs({.2, .5, .3}), {}, Filter::kTopPFirst, {});
  EXPECT_EQ(picked.token, 1);
  EXPECT_NEAR(picked.probability, .5, 1e-15);
  EXPECT_NEAR(picked.margin, .2, 1e-15);
  EXPECT_NEAR(picked.neg_entropy, .2 * std::log(.2) + .5 * std::log(.5) + .3 * std::log(.3), 1e-9);
  EXPECT_EQ(pick(logs({.25, .5, .5}), {}, Filter::kTopPFirst, {}).token, 1);
}

TEST(Picks, FiltersKeepTheTokenThatCrossesPAndComeInTheirOrder) {
  const auto kept = [](const Sampling& sampling, Filter order) {
    return filtered_probabilities(logs({.1, .4, .2, .3}), sampling, order);
  };
  const auto near = [](const std::vector<double>& a, const std::vector<double>& b) {
    for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12) << i;
  };
  near(kept({.top_p = .5}, Filter::kTopPFirst), {0, 4. / 7, 0, 3. / 7});
  near(kept({.top_k = 3}, Filter::kTopPFirst), {0, 4. / 9, 2. / 9, 3. / 9});
  // 0.4 + 0.3 = 0.7 < 0.75 of all four, but 7/9 > 0.75 of the three that top_k leaves.
  near(kept({.top_k = 3, .top_p = .75}, Filter::kTopPFirst), {0, 4. / 9, 2. / 9, 3. / 9});
  near(kept({.top_k = 3, .top_p = .75}, Filter::kTopKFirst), {0, 4. / 7, 0, 3. / 7});
  near(kept({.temperature = .5}, Filter::kTopKFirst), {.01 / .3, .16 / .3, .04 / .3, .09 / .3});
}

/// Pearson's statistic of the counts against the expected probabilities.
double chi_square(const Counts& counts, const std::vector<double>& p) {
  const double n = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i)
    sum += std::pow(static_cast<double>(counts[i]) - n * p[i], 2) / (n * p[i]);
  return sum;
}

TEST(Picks, DrawsFollowTheSoftmaxAtTheirTemperature) {
  const std::vector<double> logits = {0.3, -1, 1.2, 0.7, -0.4};
  for (const double temperature : {0.6, 1.0, 1.7}) {
    const std::vector<double> p =
        filtered_probabilities(logits, {.temperature = temperature}, Filter::kTopKFirst);
    Counts inverse(5), gumbel(5);
    for (int64_t i = 0; i < 20000; ++i) {
      const Draw draw{.seed = 11, .sequence = 3, .position = i, .step = 2};
      ++inverse[static_cast<size_t>(
          pick(logits, {.temperature = temperature}, Filter::kTopKFirst, draw).token)];
      ++gumbel[static_cast<size_t>(pick_gumbel(logits, temperature, draw).token)];
    }
    // The 99.9 % point of 4 degrees of freedom is 18.5.
    EXPECT_LT(chi_square(inverse, p), 18.5) << temperature;
    EXPECT_LT(chi_square(gumbel, p), 18.5) << temperature;
  }
}

TEST(Picks, GumbelsProbabilityIsOfTheUntouchedSoftmax) {
  const std::vector<double> logits = logs({.2, .5, .3});
  const Picked greedy = pick_gumbel(logits, 0, {});
  EXPECT_EQ(greedy.token, 1);
  EXPECT_NEAR(greedy.probability, .5, 1e-15);
  for (int64_t i = 0; i < 20; ++i) {
    const Picked picked = pick_gumbel(logits, 2, {.seed = 1, .position = i});
    EXPECT_NEAR(picked.probability, std::exp(logits[static_cast<size_t>(picked.token)]), 1e-12);
  }
}

TEST(Picks, WholeTensorsGiveWhatSingleRowsGive) {
  const at::Tensor logits = (at::arange(60, at::kDouble) * 1.7).sin().mul(3).reshape({5, 12});
  const std::vector<Picked> best = best_rows(logits, {.margin = true, .entropy = true});
  const std::vector<Picked> rows = pick_rows(logits, [](std::vector<double>& row, size_t) {
    return pick(row, {}, Filter::kTopPFirst, {});
  });
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(best[i].token, rows[i].token);
    EXPECT_NEAR(best[i].probability, rows[i].probability, 1e-14);
    EXPECT_NEAR(best[i].margin, rows[i].margin, 1e-14);
    EXPECT_NEAR(best[i].neg_entropy, rows[i].neg_entropy, 1e-12);
  }
  const at::Tensor equal = at::zeros({1, 12}, at::kFloat);
  EXPECT_EQ(best_rows(equal, {})[0].token, 0);
}

}  // namespace
}  // namespace headcount::models
