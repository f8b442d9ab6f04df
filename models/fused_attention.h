// LibTorch 2's fused attention: scores and pattern never stand in memory, forward or backward. What
// a GPU runs wherever nothing needs the pattern itself. LibTorch 1 has none.
#pragma once

#include <ATen/core/Tensor.h>

namespace headcount::models {

/// Whether it is used on such a device: LibTorch 2 has it, and the device is a GPU or
/// HEADCOUNT_FUSED_ATTENTION is 1 (0: nowhere).
bool fuses_attention(at::Device device);

/// Whether this LibTorch has it at all.
bool has_fused_attention();

/// Heads of equally long sequences: q [sequences, heads, queries, d_head], k and v [sequences,
/// heads, keys, d_head], of one dtype; scores are divided by sqrt(d_head).
struct FusedAttention {
  at::Tensor q, k, v;
  bool causal = false;  // query i sees keys 0 .. i
  at::Tensor seen;      // bool, expands to [sequences, heads, queries, keys]; undefined: all
};

/// softmax(q k^T / sqrt(d_head)) v.
at::Tensor fused_attention(const FusedAttention& op);

/// Its derivatives. Deterministic where LibTorch is told to be.
struct FusedDerivatives {
  at::Tensor q, k, v;
};
FusedDerivatives fused_attention_backward(const FusedAttention& op, const at::Tensor& d_out);

}  // namespace headcount::models
