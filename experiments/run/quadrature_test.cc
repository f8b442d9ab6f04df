// Rules as such: their weights, exactness and order; Gauss-Legendre against published nodes.
#include "experiments/run/quadrature.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace headcount::experiments {
namespace {

/// The rule applied to f on [0, 1].
double apply(Rule rule, int64_t steps, const std::function<double(double)>& f) {
  double total = 0;
  for (const Node& node : nodes(rule, steps)) total += node.scale * (node.hi - node.lo) * f(node.t);
  return total;
}

TEST(Quadrature, WeightsOfEveryRuleSumToOne) {
  for (const Rule rule :
       {Rule::kRight, Rule::kLeft, Rule::kMidpoint, Rule::kTrapezoid, Rule::kGaussLegendre}) {
    for (const int64_t steps : {1, 2, 7, 8, 50, 192})
      EXPECT_NEAR(apply(rule, steps, [](double) { return 1.0; }), 1, 1e-14);
  }
}

TEST(Quadrature, TrapezoidIsNotTheOneThatLosesAnInterval) {
  // docs/methods.md 3: nodes linspace(0, 1, n) with weights 1 / n and halved ends sum
  // to (n - 1) / n, 2 % low at n = 50.
  constexpr int64_t kNodes = 50;
  double lossy = 0;
  for (int64_t k = 0; k < kNodes; ++k) lossy += (k == 0 || k == kNodes - 1 ? 0.5 : 1.0) / kNodes;
  EXPECT_NEAR(lossy, 0.98, 1e-12);
  const std::vector<Node> list = nodes(Rule::kTrapezoid, kNodes - 1);
  ASSERT_EQ(list.size(), static_cast<size_t>(kNodes));
  EXPECT_EQ(list.front().t, 0);
  EXPECT_EQ(list.back().t, 1);
  EXPECT_NEAR(list.front().scale * (list.front().hi - list.front().lo), 0.5 / (kNodes - 1), 1e-15);
  EXPECT_NEAR(list[7].scale * (list[7].hi - list[7].lo), 1.0 / (kNodes - 1), 1e-15);
}

TEST(Quadrature, GaussLegendreIsExactToDegreeTwoNMinusOneAndNoFurther) {
  for (const int64_t n : {1, 2, 3, 5, 8, 16}) {
    for (int64_t degree = 0; degree <= 2 * n; ++degree) {
      const auto power = static_cast<double>(degree);
      const double error =
          std::abs(apply(Rule::kGaussLegendre, n, [&](double t) { return std::pow(t, power); }) -
                   1 / (power + 1));
      if (degree < 2 * n) {
        EXPECT_LT(error, 1e-14) << n << " nodes, degree " << degree;
      } else if (n <= 5) {
        EXPECT_GT(error, 1e-8) << n << " nodes, degree " << degree;
      }
    }
  }
}

TEST(Quadrature, GaussLegendreOfFiveIsThePublishedOne) {
  // Abramowitz and Stegun, table 25.4, n = 5, moved to [0, 1].
  const GaussLegendre rule = gauss_legendre(5);
  EXPECT_NEAR(rule.x[4], (1 + 0.906179845938664) / 2, 1e-15);
  EXPECT_NEAR(rule.x[3], (1 + 0.538469310105683) / 2, 1e-15);
  EXPECT_NEAR(rule.x[2], 0.5, 1e-16);
  EXPECT_NEAR(rule.weight[4], 0.236926885056189 / 2, 1e-15);
  EXPECT_NEAR(rule.weight[3], 0.478628670499366 / 2, 1e-15);
  EXPECT_NEAR(rule.weight[2], 0.568888888888889 / 2, 1e-15);
}

TEST(Quadrature, ErrorsFallAtTheOrderOfEachRule) {
  const auto f = [](double t) { return std::exp(2 * t); };
  const double exact = (std::exp(2.0) - 1) / 2;
  const auto order = [&](Rule rule) {
    return std::log2(std::abs(apply(rule, 32, f) - exact) / std::abs(apply(rule, 64, f) - exact));
  };
  EXPECT_NEAR(order(Rule::kRight), 1, 0.05);
  EXPECT_NEAR(order(Rule::kLeft), 1, 0.05);
  EXPECT_NEAR(order(Rule::kMidpoint), 2, 0.01);
  EXPECT_NEAR(order(Rule::kTrapezoid), 2, 0.01);
  EXPECT_LT(std::abs(apply(Rule::kGaussLegendre, 8, f) - exact), 1e-13);
}

}  // namespace
}  // namespace headcount::experiments
