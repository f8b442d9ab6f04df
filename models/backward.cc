// Part of models/passes.h.
// The backward pass: from dJ/dhidden to every gate, from the last layer to the first layer's
// attention output.
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <optional>

#include "models/layer_pass.h"

namespace headcount::models {
namespace {

at::Tensor rows_of(const at::Tensor& buffer, int64_t n) { return buffer.narrow(0, 0, n); }

/// Buffers every layer writes anew.
struct BackwardScratch {
  at::Tensor d_active, d_gate_up, d_mlp_in, d_normed, d_gated, d_qkv;
  at::Tensor d_gate;  // float64 [B, n_heads]
  explicit BackwardScratch(const Pass& pass)
      : d_active(pass.rows(pass.most_rows(), pass.model.config.d_mlp)),
        d_gate_up(pass.rows(pass.most_rows(), pass.layer(0).gate_up.size(0))),
        d_mlp_in(pass.rows(pass.most_rows(), pass.model.config.d_model)),
        d_normed(pass.rows(pass.layout.ids.size(0), pass.model.config.d_model)),
        d_gated(pass.rows(pass.most_rows(), pass.d_attn())),
        d_qkv(pass.rows(pass.layout.ids.size(0), pass.d_attn() + 2 * pass.d_kv())),
        d_gate(at::zeros(
            {static_cast<int64_t>(pass.layout.start.size()) - 1, pass.model.config.n_heads},
            pass.narrow.dtype(at::kDouble))) {}
};

/// The layer's tape, computed again from its input with the operations of the forward pass.
LayerTape again(const Pass& pass, size_t l, const at::Tensor& x, Scratch& scratch) {
  LayerTape t = pass.layer_tape(l);
  t.x = x;
  at::Tensor normed = rows_of(scratch.normed, x.size(0)), none;
  pass.ops.norm(pass.norm_op(pass.layer(l).attn_norm), x, none, none, normed, t.norm);
  fill(pass, l, scratch, t);
  return t;
}

/// Derivative by the MLP's input, in scratch.d_mlp_in, of the residual stream behind the layer.
at::Tensor mlp_backward(const Pass& pass, size_t l, const LayerTape& t, const at::Tensor& d_x,
                        BackwardScratch& scratch) {
  const LayerWeights& w = pass.layer(l);
  const int64_t rows = pass.n_queries(l);
  at::Tensor d_active = rows_of(scratch.d_active, rows),
             d_gate_up = rows_of(scratch.d_gate_up, rows),
             d_mlp_in = rows_of(scratch.d_mlp_in, rows);
  project_back(d_x, w.down, d_active);
  pass.ops.activate_backward(pass.model.config, d_active, t.gate_up, d_gate_up);
  project_back(d_gate_up, w.gate_up, d_mlp_in);
  return d_mlp_in;
}

/// Through a per-head norm: `d` is the derivative by its outcome, d_rows that by q or k.
void head_norm_backward(const Pass& pass, const NormWeights& weights, const at::Tensor& rows,
                        const at::Tensor& d, at::Tensor& d_rows) {
  const HeadNorm forward = head_norm(pass, weights, rows);
  at::Tensor d_raw = at::zeros_like(forward.rows);
  pass.ops.norm_backward(
      {.kind = NormKind::kRms, .eps = pass.model.config.norm_eps, .weights = weights},
      d.view(forward.rows.sizes()), forward.rows, forward.tape, d_raw);
  d_rows.copy_(d_raw.view(rows.sizes()));
}

/// From d_gated to d_q, d_k, d_v and the layer's gates.
void attention_backward(const Pass& pass, size_t l, const LayerTape& t, const at::Tensor& d_gated,
                        at::Tensor& d_q, at::Tensor& d_k, at::Tensor& d_v, at::Tensor& d_gate) {
  const AttentionOp op = attention_op(pass, l, t);
  if (!pass.model.config.qk_norm) {
    pass.ops.attention_backward(op, t.z, t.log_sum, d_gated, d_q, d_k, d_v, d_gate);
    return;
  }
  const LayerWeights& w = pass.layer(l);
  at::Tensor d_q_unit = pass.rows(d_q.size(0), d_q.size(1)),
             d_k_unit = pass.rows(d_k.size(0), d_k.size(1));
  pass.ops.attention_backward(op, t.z, t.log_sum, d_gated, d_q_unit, d_k_unit, d_v, d_gate);
  head_norm_backward(pass, w.q_norm, t.q, d_q_unit, d_q);
  head_norm_backward(pass, w.k_norm, t.k, d_k_unit, d_k);
}

/// Derivative by the layer's normed input, in scratch.d_normed; the layer's gates in
/// scratch.d_gate.
void attention_branch(const Pass& pass, size_t l, const LayerTape& t, const at::Tensor& d_gated,
                      BackwardScratch& scratch) {
  const LayerWeights& w = pass.layer(l);
  const int64_t d_attn = pass.d_attn(), d_kv = pass.d_kv(), rows = pass.n_queries(l);
  at::Tensor d_q = pass.last(l) ? pass.rows(rows, d_attn) : scratch.d_qkv.narrow(1, 0, d_attn);
  at::Tensor d_k = scratch.d_qkv.narrow(1, d_attn, d_kv),
             d_v = scratch.d_qkv.narrow(1, d_attn + d_kv, d_kv);
  attention_backward(pass, l, t, d_gated, d_q, d_k, d_v, scratch.d_gate);
  if (!pass.last(l)) {
    project_back(scratch.d_qkv, w.qkv, scratch.d_normed);
    return;
  }
  project_back(scratch.d_qkv.narrow(1, d_attn, 2 * d_kv), w.qkv.narrow(0, d_attn, 2 * d_kv),
               scratch.d_normed);
  at::Tensor d_chosen = pass.rows(rows, pass.model.config.d_model);
  project_back(d_q, w.q, d_chosen);
  pass.ops.add_rows(d_chosen, pass.layout.supervised, scratch.d_normed);
}

/// Rows of supervised positions as rows of all.
at::Tensor spread(const Pass& pass, const at::Tensor& supervised) {
  at::Tensor all = at::zeros({pass.layout.ids.size(0), pass.model.config.d_model}, pass.narrow);
  pass.ops.add_rows(supervised, pass.layout.supervised, all);
  return all;
}

}  // namespace

at::Tensor backward_pass(const Model& model, const Layout& layout, const at::Tensor& gates,
                         const Ops& ops, const Tape& tape, const at::Tensor& d_hidden) {
  const Config& c = model.config;
  const Pass pass(model, layout, gates, ops, tables_for(model, layout));
  const auto n_sequences = static_cast<int64_t>(layout.start.size()) - 1;
  at::Tensor d_gates =
      at::zeros({n_sequences, c.n_layers, c.n_heads}, pass.narrow.dtype(at::kDouble));
  BackwardScratch scratch(pass);
  std::optional<Scratch> forward;  // for layers computed again
  if (tape.keep == Keep::kInputs) forward.emplace(pass);

  at::Tensor d_x = at::zeros({layout.supervised.size(0), c.d_model}, pass.narrow);
  ops.norm_backward(pass.norm_op(model.weights.final_norm), d_hidden, tape.x, tape.norm, d_x);
  for (size_t l = model.weights.layers.size(); l-- > 0;) {
    const LayerWeights& w = pass.layer(l);
    const bool kept = tape.layers[l].z.defined();
    const LayerTape t = kept ? tape.layers[l] : again(pass, l, tape.layers[l].x, *forward);
    at::Tensor d_mlp_in, d_gated = rows_of(scratch.d_gated, pass.n_queries(l));
    if (c.residual == Residual::kSequential) {
      d_mlp_in = mlp_backward(pass, l, t, d_x, scratch);
      ops.norm_backward(pass.norm_op(w.mlp_norm), d_mlp_in, t.mid, t.mid_norm, d_x);
    }
    project_back(d_x, w.o, d_gated);
    if (l == 0) {
      ops.gate_dot(attention_op(pass, l, t), t.z, d_gated, scratch.d_gate);
      d_gates.select(1, 0).copy_(scratch.d_gate);
      break;
    }
    if (c.residual != Residual::kSequential) d_mlp_in = mlp_backward(pass, l, t, d_x, scratch);
    attention_branch(pass, l, t, d_gated, scratch);
    d_gates.select(1, static_cast<int64_t>(l)).copy_(scratch.d_gate);
    if (c.residual == Residual::kParallel)
      ops.norm_backward(pass.norm_op(w.mlp_norm), d_mlp_in, t.mid, t.mid_norm, d_x);
    if (c.residual == Residual::kParallelOneNorm)
      scratch.d_normed.add_(pass.last(l) ? spread(pass, d_mlp_in) : d_mlp_in);
    if (pass.last(l)) d_x = spread(pass, d_x);
    ops.norm_backward(pass.norm_op(w.attn_norm), scratch.d_normed, t.x, t.norm, d_x);
  }
  return d_gates.cpu();
}

}  // namespace headcount::models
