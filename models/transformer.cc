// One forward pass in plain tensor operations.
#include "models/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <numbers>

namespace headcount::models {
namespace {

constexpr int64_t kNeverMasked = 16;  // leading positions a noise level is not counted over

/// x W^T + b. float16 products are summed in float32 and rounded once: a CPU has no others.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (x.scalar_type() != at::kHalf || !x.device().is_cpu()) {
    const at::Tensor y = at::linear(x, weight);
    return bias.defined() ? y + bias : y;
  }
  at::Tensor y = at::linear(x.to(at::kFloat), weight.to(at::kFloat));
  if (bias.defined()) y = y + bias.to(at::kFloat);
  return y.to(at::kHalf);
}

/// Statistics in the wide dtype, the unit vector rounded to x's, then weight and bias (as LLaDA
/// does).
at::Tensor norm(const at::Tensor& x, const NormWeights& n, NormKind kind, double eps) {
  at::Tensor w = x.to(wide(x.scalar_type()));
  if (kind == NormKind::kLayer) w = w - w.mean(-1, true);
  at::Tensor y = (w * at::rsqrt((w * w).mean(-1, true) + eps)).to(x.scalar_type());
  if (n.weight.defined()) y = y * n.weight;
  return n.bias.defined() ? y + n.bias : y;
}

at::Tensor norm(const Config& c, const at::Tensor& x, const NormWeights& n) {
  return norm(x, n, c.norm, c.norm_eps);
}

/// Turns the first n_turning elements of each row of x [B, T, heads, d_head] by its position's
/// angles.
at::Tensor rotate(const Config& c, const at::Tensor& x, const RotaryTables& tables) {
  const int64_t half = c.n_turning() / 2;
  if (half == 0) return x;
  const at::Tensor w = x.narrow(-1, 0, 2 * half).to(tables.cos.scalar_type());
  const at::Tensor cos = tables.cos.unsqueeze(1), sin = tables.sin.unsqueeze(1);
  const bool split = c.rotary == RotaryStyle::kHalfSplit;
  const at::Tensor pairs = split ? w.unflatten(-1, at::IntArrayRef({2, half})).transpose(-1, -2)
                                 : w.unflatten(-1, at::IntArrayRef({half, 2}));
  const at::Tensor a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  const at::Tensor turned = at::stack({a * cos - b * sin, b * cos + a * sin}, -1);
  const at::Tensor rows =
      (split ? turned.transpose(-1, -2) : turned).flatten(-2).to(x.scalar_type());
  const int64_t rest = x.size(-1) - 2 * half;
  return rest == 0 ? rows : at::cat({rows, x.narrow(-1, 2 * half, rest)}, -1);
}

/// [B or 1, 1, T, T] added to the attention scores: -inf where a query may not look.
at::Tensor attention_mask(const Config& config, const Batch& batch, int64_t window,
                          at::ScalarType dtype) {
  const int64_t n = batch.ids.size(1);
  const at::Tensor key = at::arange(n, batch.ids.options()), query = key.unsqueeze(1);
  at::Tensor hidden = at::zeros({1, 1, n, n}, batch.ids.options().dtype(at::kBool));
  if (config.causal) hidden = hidden | (key > query);
  if (window > 0) hidden = hidden | (key <= query - window);
  if (batch.lengths.defined()) {
    const at::Tensor lengths = batch.lengths.to(batch.ids.device());
    hidden = hidden | (key >= lengths.unsqueeze(1)).unsqueeze(1).unsqueeze(1);
    // A padded query may see nothing at all; nobody reads it, but NaN would spread.
    hidden = hidden & (key != query);
  }
  return at::zeros(hidden.sizes(), batch.ids.options().dtype(dtype))
      .masked_fill(hidden, -std::numeric_limits<double>::infinity());
}

/// z before the output projection: [B, T, n_heads, d_head].
at::Tensor attention(const Config& c, const LayerWeights& w, const at::Tensor& x,
                     const RotaryTables& tables, const at::Tensor& mask) {
  const at::Tensor qkv =
      linear(x, w.qkv, w.qkv_bias)
          .unflatten(-1, at::IntArrayRef({c.n_heads + 2 * c.n_kv_heads, c.d_head}));
  const auto heads = [&](int64_t first, int64_t n) { return qkv.narrow(-2, first, n); };
  const auto turned = [&](const at::Tensor& rows, const NormWeights& n) {
    const at::Tensor unit = c.qk_norm ? norm(rows, n, NormKind::kRms, c.norm_eps) : rows;
    return rotate(c, unit, tables).transpose(1, 2);
  };
  const at::Tensor q = turned(heads(0, c.n_heads), w.q_norm);
  at::Tensor k = turned(heads(c.n_heads, c.n_kv_heads), w.k_norm);
  at::Tensor v = heads(c.n_heads + c.n_kv_heads, c.n_kv_heads).transpose(1, 2);
  k = k.repeat_interleave(c.n_heads / c.n_kv_heads, 1).to(mask.scalar_type());
  v = v.repeat_interleave(c.n_heads / c.n_kv_heads, 1).to(mask.scalar_type());
  const double scale = 1.0 / std::sqrt(static_cast<double>(c.d_head));
  const at::Tensor attn_scores =
      at::matmul(q.to(mask.scalar_type()), k.transpose(-1, -2)) * scale + mask;
  const at::Tensor pattern = at::softmax(attn_scores, -1);
  return at::matmul(pattern, v).to(x.scalar_type()).transpose(1, 2);
}

/// The gate product is taken in the wide dtype and rounded once.
at::Tensor gated(const at::Tensor& z, const at::Tensor& gates, int64_t layer) {
  if (!gates.defined()) return z;
  const at::ScalarType dtype = wide(z.scalar_type());
  const at::Tensor gate =
      gates.select(1, layer).to(z.device()).to(dtype).unsqueeze(1).unsqueeze(-1);
  return (z.to(dtype) * gate).to(z.scalar_type());
}

at::Tensor activated(Activation activation, const at::Tensor& x) {
  const at::Tensor w = x.to(wide(x.scalar_type()));
  const auto apply = [&]() -> at::Tensor {
    switch (activation) {
      case Activation::kSilu:
        return at::silu(w);
      case Activation::kGelu:
        return at::gelu(w);
      case Activation::kGeluTanh:
        return at::gelu(w, "tanh");
      case Activation::kRelu:
        return at::relu(w);
      case Activation::kReluSquared:
        return at::relu(w) * at::relu(w);
    }
    return {};
  };
  return apply().to(x.scalar_type());
}

at::Tensor mlp(const Config& c, const LayerWeights& w, const at::Tensor& x) {
  const at::Tensor inner = linear(x, w.gate_up, w.gate_up_bias);
  const at::Tensor active = activated(c.activation, inner.narrow(-1, 0, c.d_mlp));
  return linear(c.gated_mlp ? active * inner.narrow(-1, c.d_mlp, c.d_mlp) : active, w.down,
                w.down_bias);
}

/// The residual stream before the first block: [B, T, d_model].
at::Tensor embed(const Model& model, const Batch& batch) {
  const Config& c = model.config;
  const Weights& w = model.weights;
  const int64_t n_sequences = batch.ids.size(0), n = batch.ids.size(1);
  at::Tensor x = w.embedding.index_select(0, batch.ids.flatten())
                     .unflatten(0, at::IntArrayRef({n_sequences, n}));
  if (c.n_learned_positions > 0) x = x + w.positions.narrow(0, c.position_offset, n);
  if (c.n_time_steps > 0)
    x = x + w.times.index_select(0, noise_levels(c, batch).to(x.device())).unsqueeze(1);
  return c.embedding_norm ? norm(c, x, {}) : x;
}

}  // namespace

at::ScalarType wide(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

at::Tensor noise_levels(const Config& c, const Batch& batch) {
  if (batch.time.defined()) return batch.time;
  const int64_t n = batch.ids.size(1);
  const at::Tensor at_position = at::arange(n, batch.ids.options());
  at::Tensor counted = (at_position >= kNeverMasked).expand({batch.ids.size(0), n});
  if (batch.lengths.defined())
    counted = counted & (at_position < batch.lengths.to(batch.ids.device()).unsqueeze(1));
  const at::Tensor masked = (counted & (batch.ids == c.mask_id)).sum(1).to(at::kDouble);
  const at::Tensor share = masked / at::clamp(counted.sum(1), 1);
  return at::clamp((share * c.n_time_steps).round() - 1, 0).to(at::kLong);
}

at::Tensor logit_rows(const Config& c, const Batch& batch) {
  return c.shifted && !batch.raw_rows ? at::clamp(batch.position - 1, 0) : batch.position;
}

RotaryTables rotary_tables(const Config& config, int64_t n_positions, at::ScalarType dtype,
                           at::Device device) {
  const at::Tensor exponent = at::arange(0, config.n_turning(), 2, at::kDouble) /
                              static_cast<double>(std::max<int64_t>(1, config.n_turning()));
  at::Tensor frequency = at::pow(config.rope_theta, -exponent);
  if (const RopeScaling& s = config.rope_scaling; s.factor != 1) {
    const at::Tensor turns =
        static_cast<double>(s.original_positions) * frequency / (2 * std::numbers::pi);
    const at::Tensor keep =
        at::clamp((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0, 1);
    frequency = frequency * (keep + (1 - keep) / s.factor);
  }
  if (config.rotary_backwards) frequency = -frequency;
  const at::Tensor angles = at::arange(n_positions, at::kDouble).unsqueeze(1) * frequency;
  return {angles.cos().to(wide(dtype)).to(device), angles.sin().to(wide(dtype)).to(device)};
}

at::Tensor forward(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const Config& c = model.config;
  const at::ScalarType dtype = model.weights.embedding.scalar_type();
  const RotaryTables tables = rotary_tables(c, batch.ids.size(1), dtype, batch.ids.device());
  at::Tensor x = embed(model, batch);
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    const LayerWeights& w = model.weights.layers[static_cast<size_t>(layer)];
    const at::Tensor mask = attention_mask(c, batch, c.window_of(layer), wide(dtype));
    const at::Tensor h = norm(c, x, w.attn_norm);
    const at::Tensor z = attention(c, w, h, tables, mask);
    const at::Tensor attn = linear(gated(z, gates, layer).flatten(-2), w.o, w.o_bias);
    if (c.residual == Residual::kSequential) {
      x = x + attn;
      x = x + mlp(c, w, norm(c, x, w.mlp_norm));
    } else {
      x = x + attn + mlp(c, w, c.residual == Residual::kParallel ? norm(c, x, w.mlp_norm) : h);
    }
  }
  const at::Tensor row = batch.sample * batch.ids.size(1) + logit_rows(c, batch);
  return norm(c, x.flatten(0, 1).index_select(0, row.to(x.device())), model.weights.final_norm);
}

at::Tensor forward_logits(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::Tensor hidden = forward(model, batch, gates);
  const at::ScalarType dtype = wide(hidden.scalar_type());
  const at::Tensor logits = at::linear(hidden.to(dtype), model.weights.head.to(dtype));
  return model.weights.head_bias.defined() ? logits + model.weights.head_bias.to(dtype) : logits;
}

at::Tensor forward_score(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::Tensor log_prob =
      at::log_softmax(forward_logits(model, batch, gates).to(at::kDouble), -1);
  const at::Tensor target = batch.target.to(log_prob.device()).unsqueeze(1);
  const at::Tensor chosen = log_prob.gather(1, target).squeeze(1);
  const at::Tensor weight = batch.weight.to(log_prob.device()).to(log_prob.scalar_type());
  return at::zeros({batch.ids.size(0)}, log_prob.options())
      .index_add(0, batch.sample.to(log_prob.device()), chosen * weight);
}

}  // namespace headcount::models
