// The transformer as the papers write it, in plain differentiable tensor operations: the witness
// the fast path (models/passes.h) is tested against, and the place to read what is computed.
// Pre-norm blocks x += o(gate * attention(norm(x))), x += mlp(norm(x)), or the two side by side.
#pragma once

#include "models/model.h"

namespace headcount::models {

/// Hidden states behind the final norm at the supervised positions: [S, d_model] of the model's
/// dtype. Differentiable in the gates
/// ([B, n_layers, n_heads], undefined: all one) and in every weight of `model`.
at::Tensor forward(const Model& model, const Batch& batch, const at::Tensor& gates);

/// forward() through the LM head: [S, vocab_size] in float32 (float64 for a float64 model).
/// Differentiable likewise.
at::Tensor forward_logits(const Model& model, const Batch& batch, const at::Tensor& gates);

/// J of each sequence, [B] in float64: J[b] = sum over its supervised s of weight[s] *
/// log softmax(logits[s])[target[s]].
at::Tensor forward_score(const Model& model, const Batch& batch, const at::Tensor& gates);

/// cos and sin of the rotary angles position * theta^(-2i / n_turning), slowed as rope_scaling
/// says, each [n_positions, n_turning / 2], in float32 (float64 for float64); angles are taken in
/// float64.
struct RotaryTables {
  at::Tensor cos, sin;
};
RotaryTables rotary_tables(const Config& config, int64_t n_positions, at::ScalarType dtype,
                           at::Device device);

/// Batch::time, or what stands there for it: int64 [B]. Of a model with n_time_steps.
at::Tensor noise_levels(const Config& config, const Batch& batch);

/// The position whose logits predict each supervised token: int64 [S]. Batch::position but for a
/// shifted model without raw_rows.
at::Tensor logit_rows(const Config& config, const Batch& batch);

/// The dtype norms, softmax, rotary angles and losses of a `dtype` model are computed in: float64
/// for float64, else float32.
at::ScalarType wide(at::ScalarType dtype);

}  // namespace headcount::models
