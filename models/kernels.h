// The operations between the matrix products of the fast path, on tensors: on the CPU the fused
// loops of cpu_kernels.cc spread over ATen's threads (cpu_ops.cc), on any other device, and for
// float16, plain ATen operations (aten_ops.cc). All outputs are allocated by the caller. "wide" is
// float64 for a float64 model and float32 otherwise. Rows are the positions of all sequences, one
// after the other.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "models/transformer.h"

namespace headcount::models {

/// A norm's kind and numbers.
struct NormOp {
  NormKind kind = NormKind::kRms;
  double eps = 0;
  const NormWeights& weights;
};

/// What a norm leaves for its backward pass: wide [rows], 1 / rms or 1 / standard deviation, and of
/// a LayerNorm the mean.
struct NormTape {
  at::Tensor inverse, mean;
};

/// Attention of one layer. Sequence b's queries are the rows q_start[b] .. q_start[b + 1] of q, its
/// keys and values those k_start[b] .. k_start[b + 1] of k and v; both begin at position 0 for
/// keys, at q_position for queries.
struct AttentionOp {
  const Config& config;
  int64_t window = 0;  // Config::window_of the layer
  const RotaryTables& tables;
  const std::vector<int64_t>& q_start;
  const std::vector<int64_t>& k_start;
  at::Tensor q_position;  // int64 [query rows]
  at::Tensor q;           // [query rows, n_heads * d_head], rows may be strided
  at::Tensor k, v;        // [key rows, n_kv_heads * d_head], rows may be strided
  at::Tensor gate;        // wide [B, n_heads]; undefined: all one
};

class Ops {
 public:
  virtual ~Ops() = default;
  /// normed = norm(x + delta), sum = x + delta. Undefined delta: of x alone, sum untouched.
  virtual void norm(const NormOp& op, const at::Tensor& x, const at::Tensor& delta, at::Tensor& sum,
                    at::Tensor& normed, NormTape& tape) const = 0;
  /// d_x += derivative of the norm of x.
  virtual void norm_backward(const NormOp& op, const at::Tensor& d_normed, const at::Tensor& x,
                             const NormTape& tape, at::Tensor& d_x) const = 0;
  /// The MLP's middle: out [rows, d] = f(in[:, :d]) * in[:, d:] where gated, else f(in).
  virtual void activate(const Config& config, const at::Tensor& in, at::Tensor& out) const = 0;
  virtual void activate_backward(const Config& config, const at::Tensor& d_out,
                                 const at::Tensor& in, at::Tensor& d_in) const = 0;
  /// z, gated = gate * z: [query rows, n_heads * d_head]; log_sum: wide [query rows, n_heads].
  virtual void attention(const AttentionOp& op, at::Tensor& z, at::Tensor& gated,
                         at::Tensor& log_sum) const = 0;
  /// From d_gated: d_q, d_k, d_v shaped as q, k, v (rows may be strided) and d_gate float64 [B,
  /// n_heads], on their device.
  virtual void attention_backward(const AttentionOp& op, const at::Tensor& z,
                                  const at::Tensor& log_sum, const at::Tensor& d_gated,
                                  at::Tensor& d_q, at::Tensor& d_k, at::Tensor& d_v,
                                  at::Tensor& d_gate) const = 0;
  /// d_gate alone, where nothing below asks for more.
  virtual void gate_dot(const AttentionOp& op, const at::Tensor& z, const at::Tensor& d_gated,
                        at::Tensor& d_gate) const = 0;
  /// log_prob float64 [rows], computed in float64 and without cancellation: a loss of 1e-5 has its
  /// digits; d_logits (undefined: not wanted; may be logits itself) [rows, vocab] = weight *
  /// (onehot - softmax), the target's one without cancellation too.
  virtual void cross_entropy(const at::Tensor& logits, const at::Tensor& target,
                             const at::Tensor& weight, at::Tensor& log_prob,
                             at::Tensor& d_logits) const = 0;
  /// to[row[i]] += from[i], in order of i.
  virtual void add_rows(const at::Tensor& from, const at::Tensor& row, at::Tensor& to) const = 0;
};

/// The operations for tensors of that dtype and device.
const Ops& ops_for(const at::Tensor& like);
/// Those in plain ATen, for any; `fused`: with LibTorch's fused attention, where it has one.
const Ops& aten_ops(bool fused = false);

}  // namespace headcount::models
