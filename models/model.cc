// The four questions a Model answers, by the fast path.
#include "models/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "models/layer_pass.h"

namespace headcount::models {
namespace {

at::Tensor wide_gates(const Model& model, const at::Tensor& gates) {
  if (!gates.defined()) return gates;
  const at::Tensor& like = model.weights.embedding;
  return gates.detach().to(like.device()).to(wide(like.scalar_type())).contiguous();
}

at::Tensor on(const Model& model, const at::Tensor& t) {
  return t.to(model.weights.embedding.device()).contiguous();
}

/// J[b]: each sequence's weighted log-probabilities, summed in order.
at::Tensor score_of(const Layout& layout, const Batch& batch, const at::Tensor& log_prob) {
  const at::Tensor own = log_prob.cpu(), weight = batch.weight.cpu().to(at::kDouble).contiguous();
  at::Tensor score = at::zeros({static_cast<int64_t>(layout.start.size()) - 1}, at::kDouble);
  for (size_t s = 0; s < layout.sample.size(); ++s) {
    score.data_ptr<double>()[layout.sample[s]] +=
        weight.data_ptr<double>()[s] * own.data_ptr<double>()[s];
  }
  return score;
}

/// The power of two a float16 model's derivatives are multiplied by on their way down, so that they
/// neither vanish (below 6e-8) nor overflow (above 65504); 1 for other dtypes.
double raised_by(const Batch& batch, at::ScalarType dtype) {
  if (dtype != at::kHalf) return 1;
  const double largest = batch.weight.numel() == 0 ? 0 : batch.weight.abs().max().item<double>();
  return largest > 0 ? std::exp2(6 - std::floor(std::log2(largest))) : 1;
}

at::Tensor log_probs(const Model& model, const Layout& layout, const Batch& batch,
                     const at::Tensor& gates) {
  const Ops& ops = ops_for(model.weights.embedding);
  const Tape tape = forward_pass(model, layout, wide_gates(model, gates), ops, Keep::kHidden);
  const at::Tensor rows = head_logits(model, tape.hidden);
  at::Tensor log_prob = at::empty({rows.size(0)}, rows.options().dtype(at::kDouble)), none;
  ops.cross_entropy(rows, on(model, batch.target), on(model, batch.weight), log_prob, none);
  return log_prob;
}

}  // namespace

GateGradient gate_gradient(const Model& model, const Batch& batch, const at::Tensor& gates,
                           const PassOptions& options) {
  const at::NoGradGuard no_grad;
  const Layout layout = layout_of(model, batch);
  const Ops& ops = ops_for(model.weights.embedding);
  const at::Tensor wide = wide_gates(model, gates);
  const Tape tape =
      forward_pass(model, layout, wide, ops, options.checkpointing ? Keep::kInputs : Keep::kAll);
  at::Tensor rows = head_logits(model, tape.hidden);
  at::Tensor log_prob = at::empty({rows.size(0)}, rows.options().dtype(at::kDouble));
  at::Tensor d_logits = rows.scalar_type() == tape.hidden.scalar_type()
                            ? rows
                            : at::empty(rows.sizes(), tape.hidden.options());
  const double raised = raised_by(batch, tape.hidden.scalar_type());
  ops.cross_entropy(rows, on(model, batch.target), on(model, batch.weight) * raised, log_prob,
                    d_logits);
  at::Tensor d_hidden = at::empty(tape.hidden.sizes(), tape.hidden.options());
  project_back(d_logits, model.weights.head, d_hidden);
  return {score_of(layout, batch, log_prob),
          backward_pass(model, layout, wide, ops, tape, d_hidden) / raised};
}

at::Tensor score(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  const Layout layout = layout_of(model, batch);
  return score_of(layout, batch, log_probs(model, layout, batch, gates));
}

at::Tensor logits(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  const Layout layout = layout_of(model, batch);
  const Ops& ops = ops_for(model.weights.embedding);
  return head_logits(
      model, forward_pass(model, layout, wide_gates(model, gates), ops, Keep::kHidden).hidden);
}

at::Tensor target_log_probs(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  return log_probs(model, layout_of(model, batch), batch, gates).cpu();
}

}  // namespace headcount::models
