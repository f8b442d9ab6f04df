// AdamW against the algorithm written out with scalars; schedule and clipping against their
// definitions.
#include "models/training/adamw.h"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace headcount::models::training {
namespace {

at::Tensor parameter(double value, at::IntArrayRef shape) {
  return at::full(shape, value, at::kDouble).set_requires_grad(true);
}

TEST(AdamW, FollowsAlgorithm2StepByStep) {
  const AdamWOptions options{.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-8, .weight_decay = 0.1};
  const at::Tensor weight = parameter(2.0, {1, 1});
  AdamW optimizer({weight}, options);
  double x = 2, mean = 0, square = 0;
  for (int t = 1; t <= 5; ++t) {
    const double rate = 0.01 * t;
    weight.mul(weight).sum().mul(1.5).backward();  // gradient 3 x
    const double g = 3 * x;
    mean = 0.9 * mean + 0.1 * g;
    square = 0.98 * square + 0.02 * g * g;
    x = x * (1 - rate * 0.1) - rate * (mean / (1 - std::pow(0.9, t))) /
                                   (std::sqrt(square / (1 - std::pow(0.98, t))) + 1e-8);
    optimizer.step(rate);
    EXPECT_NEAR(weight.item<double>(), x, 1e-12) << t;
    EXPECT_FALSE(weight.grad().defined());
  }
}

TEST(AdamW, VectorsAreNotDecayed) {
  const at::Tensor norm = parameter(1.0, {4});
  AdamW optimizer({norm}, {.weight_decay = 0.5});
  norm.mul(0).sum().backward();
  optimizer.step(0.1);
  EXPECT_TRUE(norm.eq(1.0).all().item<bool>());
}

TEST(AdamW, ParameterWithoutGradientStays) {
  const at::Tensor used = parameter(1.0, {2, 2}), unused = parameter(3.0, {2, 2});
  AdamW optimizer({used, unused}, {});
  used.sum().backward();
  optimizer.step(0.1);
  EXPECT_TRUE(unused.eq(3.0).all().item<bool>());
  EXPECT_FALSE(used.eq(1.0).any().item<bool>());
}

TEST(ClipGradients, ScalesTheJointNormDown) {
  const at::Tensor a = parameter(0, {1}), b = parameter(0, {1});
  a.mul(3).sum().backward();
  b.mul(4).sum().backward();
  EXPECT_NEAR(clip_gradients({a, b}, 1), 5, 1e-12);
  EXPECT_NEAR(a.grad().item<double>(), 0.6, 1e-12);
  EXPECT_NEAR(b.grad().item<double>(), 0.8, 1e-12);
  EXPECT_NEAR(clip_gradients({a, b}, 2), 1, 1e-12);
  EXPECT_NEAR(a.grad().item<double>(), 0.6, 1e-12);
}

TEST(CosineSchedule, RisesThenFallsToItsFloor) {
  EXPECT_DOUBLE_EQ(cosine_schedule(0, 101, 10, 1, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(cosine_schedule(9, 101, 10, 1, 0.1), 1);
  EXPECT_DOUBLE_EQ(cosine_schedule(10, 101, 10, 1, 0.1), 1);
  EXPECT_NEAR(cosine_schedule(55, 101, 10, 1, 0.1), 0.55, 1e-12);
  EXPECT_NEAR(cosine_schedule(100, 101, 10, 1, 0.1), 0.1, 1e-12);
}

}  // namespace
}  // namespace headcount::models::training
