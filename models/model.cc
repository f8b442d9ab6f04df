// The four questions a Model answers.
#include "models/model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/ones.h>

#include "models/transformer.h"

namespace headcount::models {

GateGradient gate_gradient(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::AutoGradMode recording(true);
  const at::Tensor variable = gates.detach().to(at::kDouble).requires_grad_(true);
  const at::Tensor score = forward_score(model, batch, variable);
  score.sum().backward();
  return {score.detach().to(at::kDouble).cpu(), variable.grad().cpu()};
}

at::Tensor score(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  return forward_score(model, batch, gates).to(at::kDouble).cpu();
}

at::Tensor logits(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  return forward_logits(model, batch, gates);
}

at::Tensor target_log_probs(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  const at::Tensor log_prob = at::log_softmax(forward_logits(model, batch, gates), -1);
  return log_prob.gather(1, batch.target.to(log_prob.device()).unsqueeze(1))
      .squeeze(1)
      .to(at::kDouble)
      .cpu();
}

}  // namespace headcount::models
