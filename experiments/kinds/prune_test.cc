// Which heads are removed: order, ties, layers, nested random sets.
#include "experiments/kinds/prune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "schemas/error.h"

namespace headcount::experiments {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const double kNone = std::nan("");
/// Three layers of four heads; layer 2 is the strongest, head 3 of layer 0 was not scored.
const std::vector<double> kValue = {0.1, -0.5, 0.2, kNone, 0.3, 0.3, 0.0, 0.3, 0.9, 0.8, 0.7, 0.6};

std::vector<int64_t> heads(const std::string& which, int64_t k, Scope scope = Scope::kGlobal,
                           int64_t prune_seed = -1) {
  Scores scores;
  scores.value = kValue;
  return pruned_heads({which, k, prune_seed}, scope, scores, 4, 7);
}

TEST(Prune, MostAndLeastFollowTheScores) {
  EXPECT_THAT(heads("most", 3), ElementsAre(8, 9, 10));
  EXPECT_THAT(heads("least", 3), ElementsAre(0, 1, 6));
  EXPECT_THAT(heads("most", 0), IsEmpty());
  EXPECT_THAT(heads("none", 0), IsEmpty());
}

TEST(Prune, EqualScoresGoByTheLowerIndexBothWays) {
  EXPECT_THAT(heads("most", 5), ElementsAre(4, 8, 9, 10, 11));
  EXPECT_THAT(heads("least", 5), ElementsAre(0, 1, 2, 4, 6));
}

TEST(Prune, EqualScoresGoByTheSignedMeanFirst) {
  // What view = "relu" leaves of means 0.5, -0.3, -0.1, -0.2, and the same value twice.
  Scores scores;
  scores.value = {0.5, 0, 0, 0};
  scores.signed_mean = {0.5, -0.3, -0.1, -0.2};
  const auto heads_of = [&](const char* which, int64_t k) {
    return pruned_heads({.which = which, .k = k}, Scope::kGlobal, scores, 4, 7);
  };
  EXPECT_THAT(heads_of("most", 2), ElementsAre(0, 2));
  EXPECT_THAT(heads_of("most", 3), ElementsAre(0, 2, 3));
  EXPECT_THAT(heads_of("least", 1), ElementsAre(1));
  EXPECT_THAT(heads_of("least", 2), ElementsAre(1, 3));
}

TEST(Prune, UnscoredHeadsStay) {
  const auto all = heads("most", 99);
  EXPECT_EQ(all.size(), 11u);
  EXPECT_EQ(std::count(all.begin(), all.end(), 3), 0);
}

TEST(Prune, ScopeLayerTakesKOfEveryLayer) {
  EXPECT_THAT(heads("most", 1, Scope::kLayer), ElementsAre(2, 4, 8));
  EXPECT_THAT(heads("least", 2, Scope::kLayer), ElementsAre(0, 1, 4, 6, 10, 11));
}

TEST(Prune, RandomSetsOfOneSeedAreNestedAndSeedsDiffer) {
  std::set<std::vector<int64_t>> first_pairs;
  for (int64_t seed = 0; seed < 20; ++seed) {
    for (int64_t k = 1; k < 11; ++k) {
      const auto small = heads("random", k, Scope::kGlobal, seed),
                 large = heads("random", k + 1, Scope::kGlobal, seed);
      ASSERT_EQ(small.size(), static_cast<size_t>(k));
      EXPECT_TRUE(std::includes(large.begin(), large.end(), small.begin(), small.end()));
    }
    first_pairs.insert(heads("random", 2, Scope::kGlobal, seed));
  }
  EXPECT_GT(first_pairs.size(), 10u);
}

TEST(Prune, EveryHeadIsEquallyLikelyToGoFirst) {
  std::vector<int> n(12);
  constexpr int kSeeds = 11000;
  for (int64_t seed = 0; seed < kSeeds; ++seed)
    ++n[static_cast<size_t>(heads("random", 1, Scope::kGlobal, seed)[0])];
  for (size_t head = 0; head < n.size(); ++head) {
    if (head == 3) continue;
    EXPECT_NEAR(n[head], 1000, 150) << head;  // five standard deviations
  }
}

TEST(Prune, RandomSetsCopyTheLayerCountsOfEitherRanking) {
  const auto counts = [](const std::vector<int64_t>& chosen) {
    std::vector<int> n(3);
    for (const int64_t head : chosen) ++n[static_cast<size_t>(head / 4)];
    return n;
  };
  for (const auto& [random_arm, ranked] :
       {std::pair("random_as_most", "most"), std::pair("random_as_least", "least")}) {
    std::set<std::vector<int64_t>> sets;
    for (int64_t seed = 0; seed < 5; ++seed) {
      std::vector<int64_t> before;
      for (const int64_t k : {1, 3, 5, 6, 8}) {
        const auto random = heads(random_arm, k, Scope::kLayerMatched, seed);
        EXPECT_EQ(counts(random), counts(heads(ranked, k))) << ranked << " " << k;
        EXPECT_TRUE(std::includes(random.begin(), random.end(), before.begin(), before.end()));
        before = random;
      }
      sets.insert(before);
    }
    EXPECT_GT(sets.size(), 1u);
  }
  EXPECT_EQ(heads("least", 3, Scope::kLayerMatched), heads("least", 3));
  EXPECT_EQ(heads("random_as_least", 2, Scope::kLayer, 1), heads("random", 2, Scope::kLayer, 1));
}

TEST(Prune, ScopesHaveNames) {
  EXPECT_EQ(scope_of("layer_matched"), Scope::kLayerMatched);
  EXPECT_THROW(scope_of("model"), Error);
}

}  // namespace
}  // namespace headcount::experiments
