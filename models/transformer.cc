// One forward pass in plain tensor operations.
#include "models/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

namespace headcount::models {
namespace {

/// x / rms(x) in the wide dtype, back in x's, times `weight` (as LLaDA does).
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor w = x.to(wide(x.scalar_type()));
  return (w * at::rsqrt((w * w).mean(-1, true) + eps)).to(x.scalar_type()) * weight;
}

/// Turns the pairs of x [B, T, heads, d_head] by their position's angles.
at::Tensor rotate(const at::Tensor& x, const RotaryTables& tables, RotaryStyle style) {
  const at::Tensor w = x.to(tables.cos.scalar_type());
  const at::Tensor cos = tables.cos.unsqueeze(1), sin = tables.sin.unsqueeze(1);
  const int64_t half = x.size(-1) / 2;
  if (style == RotaryStyle::kHalfSplit) {
    const at::Tensor a = w.narrow(-1, 0, half), b = w.narrow(-1, half, half);
    return at::cat({a * cos - b * sin, b * cos + a * sin}, -1).to(x.scalar_type());
  }
  const at::Tensor pairs = w.unflatten(-1, at::IntArrayRef({half, 2}));
  const at::Tensor a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  return at::stack({a * cos - b * sin, b * cos + a * sin}, -1).flatten(-2).to(x.scalar_type());
}

/// [B or 1, 1, T, T] added to the attention scores: -inf where a query may not look.
at::Tensor attention_mask(const Config& config, const Batch& batch, at::ScalarType dtype) {
  const int64_t n = batch.ids.size(1);
  const at::Tensor at_position = at::arange(n, batch.ids.options());
  at::Tensor hidden = at::zeros({1, 1, n, n}, batch.ids.options().dtype(at::kBool));
  if (config.causal) hidden = hidden | (at_position.unsqueeze(0) > at_position.unsqueeze(1));
  if (batch.lengths.defined()) {
    const at::Tensor lengths = batch.lengths.to(batch.ids.device());
    hidden = hidden | (at_position >= lengths.unsqueeze(1)).unsqueeze(1).unsqueeze(1);
  }
  return at::zeros(hidden.sizes(), batch.ids.options().dtype(dtype))
      .masked_fill(hidden, -std::numeric_limits<double>::infinity());
}

/// z before the output projection: [B, T, n_heads, d_head].
at::Tensor attention(const Config& c, const LayerWeights& w, const at::Tensor& x,
                     const RotaryTables& tables, const at::Tensor& mask) {
  const auto heads = [&](const at::Tensor& weight, int64_t n) {
    return at::linear(x, weight).unflatten(-1, at::IntArrayRef({n, c.d_head}));
  };
  const at::Tensor q = rotate(heads(w.q, c.n_heads), tables, c.rotary).transpose(1, 2);
  at::Tensor k = rotate(heads(w.k, c.n_kv_heads), tables, c.rotary).transpose(1, 2);
  at::Tensor v = heads(w.v, c.n_kv_heads).transpose(1, 2);
  k = k.repeat_interleave(c.n_heads / c.n_kv_heads, 1);
  v = v.repeat_interleave(c.n_heads / c.n_kv_heads, 1);
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.d_head));
  const at::Tensor attn_scores =
      at::matmul(q, k.transpose(-1, -2)).to(mask.scalar_type()) * scale + mask;
  const at::Tensor pattern = at::softmax(attn_scores, -1).to(x.scalar_type());
  return at::matmul(pattern, v).transpose(1, 2);
}

/// The gate product is taken in the wide dtype and rounded once.
at::Tensor gated(const at::Tensor& z, const at::Tensor& gates, int64_t layer) {
  if (!gates.defined()) return z;
  const at::ScalarType dtype = wide(z.scalar_type());
  const at::Tensor gate =
      gates.select(1, layer).to(z.device()).to(dtype).unsqueeze(1).unsqueeze(-1);
  return (z.to(dtype) * gate).to(z.scalar_type());
}

}  // namespace

at::ScalarType wide(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

RotaryTables rotary_tables(const Config& config, int64_t n_positions, at::ScalarType dtype,
                           at::Device device) {
  const at::Tensor exponent =
      at::arange(0, config.d_head, 2, at::kDouble) / static_cast<double>(config.d_head);
  const at::Tensor frequency = at::pow(config.rope_theta, -exponent);
  const at::Tensor angles = at::arange(n_positions, at::kDouble).unsqueeze(1) * frequency;
  return {angles.cos().to(wide(dtype)).to(device), angles.sin().to(wide(dtype)).to(device)};
}

at::Tensor forward(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const Config& c = model.config;
  const at::ScalarType dtype = model.weights.embedding.scalar_type();
  const RotaryTables tables = rotary_tables(c, batch.ids.size(1), dtype, batch.ids.device());
  const at::Tensor mask = attention_mask(c, batch, wide(dtype));

  at::Tensor x = model.weights.embedding.index_select(0, batch.ids.flatten())
                     .unflatten(0, at::IntArrayRef({batch.ids.size(0), batch.ids.size(1)}));
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    const LayerWeights& w = model.weights.layers[static_cast<size_t>(layer)];
    const at::Tensor z = attention(c, w, rms_norm(x, w.attn_norm.weight, c.norm_eps), tables, mask);
    x = x + at::linear(gated(z, gates, layer).flatten(-2), w.o);
    const at::Tensor h = rms_norm(x, w.mlp_norm.weight, c.norm_eps);
    x = x + at::linear(at::silu(at::linear(h, w.gate)) * at::linear(h, w.up), w.down);
  }
  const at::Tensor row = batch.sample * batch.ids.size(1) + batch.position;
  return rms_norm(x.flatten(0, 1).index_select(0, row.to(x.device())), model.weights.final_norm.weight,
                  c.norm_eps);
}

at::Tensor forward_logits(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::Tensor hidden = forward(model, batch, gates);
  const at::ScalarType dtype = wide(hidden.scalar_type());
  return at::linear(hidden.to(dtype), model.weights.head.to(dtype));
}

at::Tensor forward_score(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::Tensor log_prob = at::log_softmax(forward_logits(model, batch, gates), -1);
  const at::Tensor target = batch.target.to(log_prob.device()).unsqueeze(1);
  const at::Tensor chosen = log_prob.gather(1, target).squeeze(1);
  const at::Tensor weight = batch.weight.to(log_prob.device()).to(log_prob.scalar_type());
  return at::zeros({batch.ids.size(0)}, log_prob.options())
      .index_add(0, batch.sample.to(log_prob.device()), chosen * weight);
}

}  // namespace headcount::models
