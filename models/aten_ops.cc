// The operations of kernels.h in plain ATen: what a GPU runs, and a second opinion on the CPU's
// loops.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "models/kernels.h"

namespace headcount::models {
namespace {

/// Turns x [rows, heads, d_head] by the angles of `position` (`sign` -1: back), in the tables'
/// dtype.
at::Tensor rotate(const at::Tensor& x, const RotaryTables& tables, const at::Tensor& position,
                  RotaryStyle style, double sign) {
  const at::Tensor w = x.to(tables.cos.scalar_type());
  const at::Tensor cos = tables.cos.index_select(0, position).unsqueeze(1);
  const at::Tensor sin = tables.sin.index_select(0, position).unsqueeze(1) * sign;
  const int64_t half = x.size(-1) / 2;
  const bool split = style == RotaryStyle::kHalfSplit;
  const at::Tensor pairs = split ? w.unflatten(-1, at::IntArrayRef({2, half})).transpose(-1, -2)
                                 : w.unflatten(-1, at::IntArrayRef({half, 2}));
  const at::Tensor a = pairs.select(-1, 0), b = pairs.select(-1, 1);
  const at::Tensor turned = at::stack({a * cos - b * sin, b * cos + a * sin}, -1);
  return (split ? turned.transpose(-1, -2) : turned).flatten(-2);
}

/// One sequence's attention: everything the backward pass needs again, heads first, in the wide
/// dtype.
struct Pattern {
  at::Tensor q, k, v;  // [n_heads, rows, d_head], q and k turned
  at::Tensor scores;   // [n_heads, queries, keys], masked
  at::Tensor positions_k;
};

Pattern pattern_of(const AttentionOp& op, size_t b) {
  const Config& c = op.config;
  const at::ScalarType dtype = op.tables.cos.scalar_type();
  const int64_t q0 = op.q_start[b], nq = op.q_start[b + 1] - q0, k0 = op.k_start[b],
                nk = op.k_start[b + 1] - k0;
  const at::Tensor q_position = op.q_position.narrow(0, q0, nq);
  Pattern p;
  p.positions_k = at::arange(nk, q_position.options());
  const auto heads = [&](const at::Tensor& rows, int64_t n) {
    return rows.unflatten(1, at::IntArrayRef({n, c.d_head}));
  };
  const int64_t group = c.n_heads / c.n_kv_heads;
  p.q = rotate(heads(op.q.narrow(0, q0, nq), c.n_heads), op.tables, q_position, c.rotary, 1)
            .transpose(0, 1);
  p.k = rotate(heads(op.k.narrow(0, k0, nk), c.n_kv_heads), op.tables, p.positions_k, c.rotary, 1)
            .transpose(0, 1)
            .repeat_interleave(group, 0);
  p.v = heads(op.v.narrow(0, k0, nk), c.n_kv_heads)
            .to(dtype)
            .transpose(0, 1)
            .repeat_interleave(group, 0);
  p.scores = at::bmm(p.q, p.k.transpose(1, 2)) / std::sqrt(static_cast<double>(c.d_head));
  if (c.causal) {
    p.scores = p.scores.masked_fill(p.positions_k.unsqueeze(0) > q_position.unsqueeze(1),
                                    -std::numeric_limits<double>::infinity());
  }
  return p;
}

/// The gate of each head of sequence b, [n_heads, 1, 1]; one where none are given.
at::Tensor gate_of(const AttentionOp& op, size_t b, const at::Tensor& like) {
  if (!op.gate.defined()) return at::zeros({op.config.n_heads, 1, 1}, like.options()) + 1;
  return op.gate.select(0, static_cast<int64_t>(b)).to(like.options()).unsqueeze(1).unsqueeze(1);
}

class AtenOps : public Ops {
 public:
  void rms_norm(const at::Tensor& x, const at::Tensor& delta, const at::Tensor& weight, double eps,
                at::Tensor& sum, at::Tensor& normed, at::Tensor& inverse) const override {
    if (delta.defined()) sum.copy_(x + delta);
    const at::Tensor w = (delta.defined() ? sum : x).to(inverse.scalar_type());
    inverse.copy_(at::rsqrt((w * w).mean(-1) + eps));
    normed.copy_((w * inverse.unsqueeze(1)).to(x.scalar_type()) * weight);
  }

  void rms_norm_backward(const at::Tensor& d_normed, const at::Tensor& x, const at::Tensor& weight,
                         const at::Tensor& inverse, at::Tensor& d_x) const override {
    const at::ScalarType dtype = inverse.scalar_type();
    const at::Tensor scale = inverse.unsqueeze(1), unit = x.to(dtype) * scale;
    const at::Tensor d_unit = d_normed.to(dtype) * weight.to(dtype);
    d_x.copy_(d_x.to(dtype) + (d_unit - unit * (d_unit * unit).mean(-1, true)) * scale);
  }

  void swiglu(const at::Tensor& gate_up, at::Tensor& out) const override {
    const at::Tensor w = gate_up.to(wide(out.scalar_type()));
    const at::Tensor g = w.narrow(1, 0, out.size(1)), up = w.narrow(1, out.size(1), out.size(1));
    out.copy_(g * at::sigmoid(g) * up);
  }

  void swiglu_backward(const at::Tensor& d_out, const at::Tensor& gate_up,
                       at::Tensor& d_gate_up) const override {
    const int64_t d = d_out.size(1);
    const at::Tensor w = gate_up.to(wide(d_out.scalar_type())), grad = d_out.to(w.scalar_type());
    const at::Tensor g = w.narrow(1, 0, d), up = w.narrow(1, d, d), sigmoid = at::sigmoid(g);
    d_gate_up.narrow(1, 0, d).copy_(grad * up * sigmoid * (1 + g * (1 - sigmoid)));
    d_gate_up.narrow(1, d, d).copy_(grad * g * sigmoid);
  }

  void attention(const AttentionOp& op, at::Tensor& z, at::Tensor& gated,
                 at::Tensor& log_sum) const override {
    for (size_t b = 0; b + 1 < op.q_start.size(); ++b) {
      const Pattern p = pattern_of(op, b);
      const at::Tensor sum = at::logsumexp(p.scores, -1);
      const at::Tensor out = at::bmm(at::exp(p.scores - sum.unsqueeze(-1)), p.v);
      const int64_t q0 = op.q_start[b], nq = op.q_start[b + 1] - q0;
      log_sum.narrow(0, q0, nq).copy_(sum.transpose(0, 1));
      z.narrow(0, q0, nq).copy_(out.transpose(0, 1).flatten(1));
      gated.narrow(0, q0, nq).copy_((out * gate_of(op, b, out)).transpose(0, 1).flatten(1));
    }
  }

  void attention_backward(const AttentionOp& op, const at::Tensor& z, const at::Tensor& log_sum,
                          const at::Tensor& d_gated, at::Tensor& d_q, at::Tensor& d_k,
                          at::Tensor& d_v, at::Tensor& d_gate) const override {
    gate_dot(op, z, d_gated, d_gate);
    const Config& c = op.config;
    const double scale = 1.0 / std::sqrt(static_cast<double>(c.d_head));
    const auto fold =
        [&](const at::Tensor& heads) {  // query heads that share a key/value head, summed
          return heads.unflatten(0, at::IntArrayRef({c.n_kv_heads, c.n_heads / c.n_kv_heads}))
              .sum(1)
              .transpose(0, 1);
        };
    for (size_t b = 0; b + 1 < op.q_start.size(); ++b) {
      const Pattern p = pattern_of(op, b);
      const int64_t q0 = op.q_start[b], nq = op.q_start[b + 1] - q0, k0 = op.k_start[b],
                    nk = op.k_start[b + 1] - k0;
      const auto heads = [&](const at::Tensor& rows) {
        return rows.narrow(0, q0, nq)
            .unflatten(1, at::IntArrayRef({c.n_heads, c.d_head}))
            .transpose(0, 1)
            .to(p.q.scalar_type());
      };
      const at::Tensor pattern =
          at::exp(p.scores - log_sum.narrow(0, q0, nq).transpose(0, 1).unsqueeze(-1));
      const at::Tensor d_z = heads(d_gated) * gate_of(op, b, p.q);
      const at::Tensor d_pattern = at::bmm(d_z, p.v.transpose(1, 2));
      const at::Tensor d_scores = pattern * (d_pattern - (d_z * heads(z)).sum(-1, true)) * scale;
      const at::Tensor dq = at::bmm(d_scores, p.k).transpose(0, 1);
      const at::Tensor dk = fold(at::bmm(d_scores.transpose(1, 2), p.q));
      d_q.narrow(0, q0, nq).copy_(
          rotate(dq, op.tables, op.q_position.narrow(0, q0, nq), c.rotary, -1).flatten(1));
      d_k.narrow(0, k0, nk).copy_(rotate(dk, op.tables, p.positions_k, c.rotary, -1).flatten(1));
      d_v.narrow(0, k0, nk).copy_(fold(at::bmm(pattern.transpose(1, 2), d_z)).flatten(1));
    }
  }

  void gate_dot(const AttentionOp& op, const at::Tensor& z, const at::Tensor& d_gated,
                at::Tensor& d_gate) const override {
    const Config& c = op.config;
    const at::ScalarType dtype = wide(z.scalar_type());
    const at::Tensor dots = (z.to(dtype) * d_gated.to(dtype))
                                .unflatten(1, at::IntArrayRef({c.n_heads, c.d_head}))
                                .sum(-1);
    for (size_t b = 0; b + 1 < op.q_start.size(); ++b) {
      const int64_t q0 = op.q_start[b], nq = op.q_start[b + 1] - q0;
      d_gate.select(0, static_cast<int64_t>(b))
          .copy_(dots.narrow(0, q0, nq).sum(0, false, at::kDouble));
    }
  }

  void cross_entropy(const at::Tensor& logits, const at::Tensor& target, const at::Tensor& weight,
                     at::Tensor& log_prob, at::Tensor& d_logits) const override {
    const at::Tensor all = at::log_softmax(logits, -1);
    const at::Tensor column = target.to(all.device()).unsqueeze(1);
    log_prob.copy_(all.gather(1, column).squeeze(1));
    if (!d_logits.defined()) return;
    const at::Tensor w = weight.to(all.device()).to(all.scalar_type()).unsqueeze(1);
    const at::Tensor pull = -w * at::exp(all);
    d_logits.copy_(pull.scatter_add(1, column, w));
  }

  void add_rows(const at::Tensor& from, const at::Tensor& row, at::Tensor& to) const override {
    to.index_add_(0, row, from);
  }
};

}  // namespace

const Ops& aten_ops() {
  static const AtenOps ops;
  return ops;
}

}  // namespace headcount::models
