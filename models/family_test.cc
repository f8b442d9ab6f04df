// Every feature a Config can name: the fast path against autograd through the plain transformer, on
// random small models of random feature combinations.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include "models/fused_attention.h"
#include "models/passes.h"
#include "models/random_config.h"
#include "models/test_models.h"

namespace headcount::models {
namespace {

class Families : public testing::TestWithParam<uint64_t> {
 protected:
  const Config config_ = random_config(GetParam());
  const Batch batch_ = ragged_batch(config_);
  const at::Tensor gates_ = some_gates(config_, 3);
};

TEST_P(Families, FastPathEqualsAutogradThroughThePlainTransformer) {
  for (const auto& [dtype, limit] : {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 1e-3}}) {
    const Model model = tiny_model(config_, dtype, 8);
    const GateGradient fast = gate_gradient(model, batch_, gates_),
                       plain = by_autograd(model, batch_, gates_);
    const double size = plain.grad.abs().max().item<double>();
    EXPECT_GT(size, 0.001);
    EXPECT_LE(max_difference(fast.score, plain.score), limit);
    EXPECT_LE(max_difference(fast.grad, plain.grad), limit * std::max(1.0, size));
    EXPECT_LE(max_difference(logits(model, batch_, gates_), forward_logits(model, batch_, gates_)),
              limit);
  }
}

TEST_P(Families, ComputedAgainFromEachLayersInputTheBitsAreTheSame) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Model model = tiny_model(config_, dtype, 4);
    const GateGradient kept = gate_gradient(model, batch_, gates_),
                       again = gate_gradient(model, batch_, gates_, {.checkpointing = true});
    EXPECT_TRUE(kept.score.equal(again.score));
    EXPECT_TRUE(kept.grad.equal(again.grad));
  }
}

TEST_P(Families, PlainAtenOperationsGiveWhatTheLoopsGive) {
  const Model model = tiny_model(config_, at::kDouble, 8);
  const Layout layout = layout_of(model, batch_);
  const Ops& loops = ops_for(model.weights.embedding);
  const Tape first = forward_pass(model, layout, gates_, loops, Keep::kAll),
             second = forward_pass(model, layout, gates_, aten_ops(), Keep::kInputs);
  EXPECT_LE(max_difference(first.hidden, second.hidden), 1e-11);
  const at::Tensor d_hidden =
      at::ones(first.hidden.sizes(), at::kDouble) * 0.1 + first.hidden * 0.05;
  const at::Tensor grad = backward_pass(model, layout, gates_, loops, first, d_hidden);
  EXPECT_LE(
      max_difference(grad, backward_pass(model, layout, gates_, aten_ops(), second, d_hidden)),
      1e-10 * std::max(1.0, grad.abs().max().item<double>()));
}

TEST_P(Families, FusedAttentionOfLibTorchGivesWhatTheLoopsGive) {
  if (!has_fused_attention()) GTEST_SKIP() << "this LibTorch has no fused attention";
  const Model model = tiny_model(config_, at::kDouble, 8);
  const Layout layout = layout_of(model, batch_);
  const Tape plain = forward_pass(model, layout, gates_, aten_ops(), Keep::kAll),
             fused = forward_pass(model, layout, gates_, aten_ops(true), Keep::kAll);
  EXPECT_LE(max_difference(plain.hidden, fused.hidden), 1e-11);
  const at::Tensor d_hidden = at::ones(plain.hidden.sizes(), at::kDouble) * 0.1;
  const at::Tensor grad = backward_pass(model, layout, gates_, aten_ops(), plain, d_hidden);
  const at::NoGradGuard no_grad;
  EXPECT_LE(
      max_difference(grad, backward_pass(model, layout, gates_, aten_ops(true), fused, d_hidden)),
      1e-10 * std::max(1.0, grad.abs().max().item<double>()));
}

TEST_P(Families, SixteenBitModelsAreNearTheFloat32OneOfTheSameNumbers) {
  for (const auto& [dtype, limit] : {std::pair{at::kBFloat16, 0.06}, std::pair{at::kHalf, 0.02}}) {
    const Model narrow = tiny_model(config_, dtype, 2);
    const Model same = widened(narrow);
    const GateGradient found = gate_gradient(narrow, batch_, gates_),
                       exact = gate_gradient(same, batch_, gates_);
    const auto error = [](const at::Tensor& a, const at::Tensor& b) {
      return ((a - b).norm() / b.norm()).item<double>();
    };
    EXPECT_LE(error(found.score, exact.score), limit) << config_.family;
    EXPECT_LE(error(found.grad, exact.grad), 3 * limit) << config_.family;
    EXPECT_EQ(logits(narrow, batch_, gates_).scalar_type(), at::kFloat);
  }
}

INSTANTIATE_TEST_SUITE_P(Random, Families, testing::Range<uint64_t>(0, 48));

}  // namespace
}  // namespace headcount::models
