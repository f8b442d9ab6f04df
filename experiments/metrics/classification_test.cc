// F1 against confusion matrices computed by hand (the fractions are spelt out), perplexity against
// its definition.
#include "experiments/metrics/classification.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace headcount::metrics {
namespace {

// Three classes, ten rows. Confusion by hand (rows: truth):
//        0  1  2
//   0    3  1  0
//   1    1  2  1
//   2    0  0  2
// Class 0: TP 3, FP 1, FN 1: F1 = 6/8. Class 1: TP 2, FP 1, FN 2: F1 = 4/7. Class 2: TP 2, FP 1, FN
// 0: F1 = 4/5.
const std::vector<int32_t> kTruth{0, 0, 0, 0, 1, 1, 1, 1, 2, 2};
const std::vector<int32_t> kPredicted{0, 0, 0, 1, 0, 1, 1, 2, 2, 2};
constexpr double kF1[] = {6.0 / 8, 4.0 / 7, 4.0 / 5};

TEST(Classification, ConfusionCountsTruthByPrediction) {
  const Confusion counted = confusion(kTruth, kPredicted, 3);
  EXPECT_EQ(counted.counts, (std::vector<int64_t>{3, 1, 0, 1, 2, 1, 0, 0, 2}));
}

TEST(Classification, F1OfEveryClassByHand) {
  const Confusion counted = confusion(kTruth, kPredicted, 3);
  for (int32_t k = 0; k < 3; ++k) {
    EXPECT_DOUBLE_EQ(*f1_of_class(counted, k), kF1[k]);
    EXPECT_DOUBLE_EQ(f1(counted, F1::kPositive, k), kF1[k]);
  }
}

TEST(Classification, MacroIsTheMeanOverClassesThatOccur) {
  EXPECT_DOUBLE_EQ(f1(confusion(kTruth, kPredicted, 3), F1::kMacro),
                   (kF1[0] + kF1[1] + kF1[2]) / 3);
  // Classes 3 .. 9 neither true nor predicted: they change nothing.
  EXPECT_DOUBLE_EQ(f1(confusion(kTruth, kPredicted, 10), F1::kMacro),
                   (kF1[0] + kF1[1] + kF1[2]) / 3);
  // A class predicted once and never true has F1 0 and counts.
  const std::vector<int32_t> truth{0, 0}, predicted{0, 1};
  EXPECT_DOUBLE_EQ(f1(confusion(truth, predicted, 3), F1::kMacro), (2.0 / 3 + 0) / 2);
}

TEST(Classification, MicroOfOneAnswerARowIsAccuracy) {
  EXPECT_DOUBLE_EQ(f1(confusion(kTruth, kPredicted, 3), F1::kMicro), 0.7);
  EXPECT_DOUBLE_EQ(accuracy(kTruth, kPredicted).value, 0.7);
}

TEST(Classification, PositiveClassThatNeverOccursIsZero) {
  EXPECT_FALSE(f1_of_class(confusion(kTruth, kPredicted, 4), 3));
  EXPECT_EQ(f1(confusion(kTruth, kPredicted, 4), F1::kPositive, 3), 0);
}

TEST(Classification, BinaryF1ByHand) {
  // TP 2, FP 1, FN 3, TN 4: F1 = 4 / (4 + 1 + 3).
  const std::vector<int32_t> truth{1, 1, 0, 1, 1, 1, 0, 0, 0, 0};
  const std::vector<int32_t> predicted{1, 1, 1, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_DOUBLE_EQ(f1(confusion(truth, predicted, 2), F1::kPositive, 1), 0.5);
}

TEST(Classification, AccuracyHasTheBinomialError) {
  const Estimate result = accuracy(kTruth, kPredicted);
  ASSERT_TRUE(result.se);
  EXPECT_NEAR(*result.se, std::sqrt(0.7 * 0.3 / 9), 1e-12);
  EXPECT_EQ(result.n, 10);
}

TEST(Classification, BootstrapErrorOfMicroF1IsThatOfAccuracy) {
  const Estimate result = f1(kTruth, kPredicted, 3, F1::kMicro, -1, {.seed = 5});
  EXPECT_DOUBLE_EQ(result.value, 0.7);
  ASSERT_TRUE(result.se);
  EXPECT_NEAR(*result.se, std::sqrt(0.7 * 0.3 / 10), 0.005);
}

TEST(Classification, PerplexityPoolsTokens) {
  const std::vector<double> nll{3, 1, 8}, tokens{2, 1, 4};
  const Estimate result = perplexity(nll, tokens, {.seed = 1});
  EXPECT_NEAR(result.value, std::exp(12.0 / 7), 1e-12);
  EXPECT_EQ(result.n, 3);
  EXPECT_GT(*result.se, 0);
  EXPECT_EQ(perplexity(nll, tokens, {.seed = 1}), result);
  EXPECT_FALSE(perplexity(std::vector<double>{3}, std::vector<double>{2}, {}).se);
}

TEST(Classification, PerplexityOfEqualRowsHasNoSpread) {
  const std::vector<double> nll(20, 2.0), tokens(20, 1.0);
  EXPECT_NEAR(*perplexity(nll, tokens, {.seed = 1}).se, 0, 1e-12);
}

}  // namespace
}  // namespace headcount::metrics
