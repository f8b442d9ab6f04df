// The one file that differs between LibTorch 1 and 2.
#include "models/fused_attention.h"

#include <torch/version.h>

#include <cstdlib>
#include <string>

#include "schemas/error.h"

#if TORCH_VERSION_MAJOR >= 2
#include <ATen/core/grad_mode.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/autograd.h>
#endif

namespace headcount::models {

bool has_fused_attention() { return TORCH_VERSION_MAJOR >= 2; }

bool fuses_attention(at::Device device) {
  static const char* const asked = std::getenv("HEADCOUNT_FUSED_ATTENTION");
  const std::string wish = asked == nullptr ? "" : asked;
  return has_fused_attention() && wish != "0" && (!device.is_cpu() || wish == "1");
}

#if TORCH_VERSION_MAJOR >= 2

at::Tensor fused_attention(const FusedAttention& op) {
  if (!op.seen.defined())
    return at::scaled_dot_product_attention(op.q, op.k, op.v, {}, 0.0, op.causal);
  return at::scaled_dot_product_attention(op.q, op.k, op.v, op.seen, 0.0, op.causal);
}

FusedDerivatives fused_attention_backward(const FusedAttention& op, const at::Tensor& d_out) {
  const at::AutoGradMode with_grad(true);
  FusedAttention leaves = op;
  for (at::Tensor* leaf : {&leaves.q, &leaves.k, &leaves.v})
    *leaf = leaf->detach().requires_grad_(true);
  const auto derivatives =
      torch::autograd::grad({fused_attention(leaves)}, {leaves.q, leaves.k, leaves.v}, {d_out});
  return {.q = derivatives[0], .k = derivatives[1], .v = derivatives[2]};
}

#else

at::Tensor fused_attention(const FusedAttention&) {
  HC_CHECK(has_fused_attention());
  return {};
}

FusedDerivatives fused_attention_backward(const FusedAttention&, const at::Tensor&) {
  HC_CHECK(has_fused_attention());
  return {};
}

#endif

}  // namespace headcount::models
