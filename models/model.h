// One transformer for every family; what differs between them is in Config. LM head on the
// supervised positions only; per-sample head gates between attention and its output projection.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/batch.h"
#include "models/files/config.h"

namespace headcount::models {

/// A norm's two vectors, [d_model] or [d_head] each. The weight is always there (ones where the
/// family has none), the bias is undefined where the family has none.
struct NormWeights {
  at::Tensor weight, bias;
};

/// Biases are undefined where the family has none, gate where its MLP is not gated.
struct LayerWeights {
  NormWeights attn_norm;
  at::Tensor q, k, v;   // [n_heads * d_head, d_model], [n_kv_heads * d_head, d_model] twice; views
                        // of qkv
  at::Tensor qkv;       // the three, one below the other: one product instead of three
  at::Tensor qkv_bias;  // [(n_heads + 2 n_kv_heads) * d_head]
  NormWeights q_norm, k_norm;  // undefined unless config.qk_norm; no bias
  at::Tensor o;                // [d_model, n_heads * d_head]
  at::Tensor o_bias;           // [d_model]
  NormWeights mlp_norm;        // undefined where attention and MLP share attn_norm
  at::Tensor gate, up;         // [d_mlp, d_model]; views of gate_up
  at::Tensor gate_up;          // the two, one below the other; up alone where not gated
  at::Tensor gate_up_bias;     // [2 d_mlp] or [d_mlp]
  at::Tensor down;             // [d_model, d_mlp]
  at::Tensor down_bias;        // [d_model]
};

struct Weights {
  at::Tensor embedding;  // [vocab_size, d_model]
  at::Tensor positions;  // [n_learned_positions, d_model] or undefined
  at::Tensor times;      // [n_time_steps, d_model] or undefined
  std::vector<LayerWeights> layers;
  NormWeights final_norm;
  at::Tensor head;       // [vocab_size, d_model]; the embedding itself where tied
  at::Tensor head_bias;  // [vocab_size] or undefined
};

struct Model {
  Config config;
  Weights weights;
};

/// Reads the weights as `dtype` on `device`. Throws Error on non-finite weights, naming the tensor.
Model load(const ModelFiles& files, at::ScalarType dtype, at::Device device);
/// Weights of mean 0 and standard deviation 0.02 (norms: all one) from `seed`, for shapes without a
/// checkpoint. Each is a sum of four uniform numbers of Philox, so that every machine gets the same
/// bits.
Model random_model(const Config& config, uint64_t seed, at::ScalarType dtype, at::Device device);

/// A model of given weights, named and shaped as weight_shapes(config) says, in that order; they
/// are copied where layout asks for it.
Model make_model(const Config& config, const std::vector<at::Tensor>& weights);

/// J = -loss in nats, and its derivative in every head gate.
struct GateGradient {
  at::Tensor score;  // float64 [B], on the CPU
  at::Tensor grad;   // float64 [B, n_layers, n_heads], on the CPU
};

struct PassOptions {
  /// Only every layer's input is kept on the way up and the rest computed again on the way down:
  /// a quarter more work for a twentieth of the memory, the same bits.
  bool checkpointing = false;
};

/// One forward and one gate-only backward (weights frozen): docs/methods.md 4.
/// `gates`: float64 or float32 [B, n_layers, n_heads]; the product gate * z is taken in float32
/// (float64 for a float64 model) and rounded once; gate reductions likewise, cross-entropy in
/// float64 from the logits. Deterministic: the same bits for the same arguments and thread count.
GateGradient gate_gradient(const Model& model, const Batch& batch, const at::Tensor& gates,
                           const PassOptions& options = {});

/// J alone: float64 [B] on the CPU. `gates` undefined: all one.
at::Tensor score(const Model& model, const Batch& batch, const at::Tensor& gates);

/// float32 (float64 for a float64 model) logits [S, vocab_size] at the supervised positions;
/// `target` and `weight` are not read.
at::Tensor logits(const Model& model, const Batch& batch, const at::Tensor& gates);

/// Log-probability of each target: float64 [S] on the CPU.
at::Tensor target_log_probs(const Model& model, const Batch& batch, const at::Tensor& gates);

}  // namespace headcount::models
