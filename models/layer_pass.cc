// One layer's forward direction, piece by piece.
#include "models/layer_pass.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>

#include <algorithm>

namespace headcount::models {
namespace {

at::Tensor rows_of(const at::Tensor& buffer, int64_t n) { return buffer.narrow(0, 0, n); }

at::Tensor part(const at::Tensor& bias, int64_t begin, int64_t size) {
  return bias.defined() ? bias.narrow(0, begin, size) : bias;
}

/// The buffer q, k and v (or k and v) are columns of.
at::Tensor whole(const at::Tensor& first, int64_t width) {
  return first.as_strided({first.size(0), width}, {first.stride(0), 1});
}

/// A CPU has no float16 products: float32's, rounded once.
bool widens(const at::Tensor& x) { return x.scalar_type() == at::kHalf && x.device().is_cpu(); }

}  // namespace

RotaryTables tables_for(const Model& model, const Layout& layout) {
  int64_t longest = 0;
  for (size_t b = 0; b + 1 < layout.start.size(); ++b)
    longest = std::max(longest, layout.start[b + 1] - layout.start[b]);
  return rotary_tables(model.config, longest, model.weights.embedding.scalar_type(),
                       model.weights.embedding.device());
}

void project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
             at::Tensor& out) {
  if (widens(x)) {
    at::Tensor product = at::mm(x.to(at::kFloat), weight.to(at::kFloat).t());
    if (bias.defined()) product.add_(bias);
    out.copy_(product);
  } else if (bias.defined()) {
    at::addmm_out(out, bias, x, weight.t());
  } else {
    at::mm_out(out, x, weight.t());
  }
}

void project_back(const at::Tensor& d, const at::Tensor& weight, at::Tensor& out) {
  if (widens(d)) {
    out.copy_(at::mm(d.to(at::kFloat), weight.to(at::kFloat)));
  } else {
    at::mm_out(out, d, weight);
  }
}

Pass::Pass(const Model& model_, const Layout& layout_, const at::Tensor& gates_, const Ops& ops_,
           const RotaryTables& tables_)
    : model(model_),
      layout(layout_),
      gates(gates_),
      ops(ops_),
      tables(tables_),
      narrow(model.weights.embedding.options()),
      broad(narrow.dtype(wide(model.weights.embedding.scalar_type()))) {}

int64_t Pass::most_rows() const { return std::max(layout.ids.size(0), layout.supervised.size(0)); }

at::Tensor Pass::rows(int64_t n, int64_t width) const { return at::empty({n, width}, narrow); }

NormTape Pass::norm_tape(int64_t n) const {
  NormTape tape{.inverse = at::empty({n}, broad), .mean = {}};
  if (model.config.norm == NormKind::kLayer) tape.mean = at::empty({n}, broad);
  return tape;
}

LayerTape Pass::layer_tape(size_t l) const {
  const Config& c = model.config;
  const int64_t n = layout.ids.size(0), queries = n_queries(l);
  LayerTape tape;
  tape.norm = norm_tape(n);
  if (last(l)) {
    tape.q = rows(queries, d_attn());
    const at::Tensor kv = rows(n, 2 * d_kv());
    tape.k = kv.narrow(1, 0, d_kv());
    tape.v = kv.narrow(1, d_kv(), d_kv());
  } else {
    const at::Tensor qkv = rows(n, d_attn() + 2 * d_kv());
    tape.q = qkv.narrow(1, 0, d_attn());
    tape.k = qkv.narrow(1, d_attn(), d_kv());
    tape.v = qkv.narrow(1, d_attn() + d_kv(), d_kv());
  }
  tape.z = rows(queries, d_attn());
  tape.log_sum = at::empty({queries, c.n_heads}, broad);
  if (c.residual == Residual::kSequential) tape.mid = rows(queries, c.d_model);
  if (c.residual != Residual::kParallelOneNorm) tape.mid_norm = norm_tape(queries);
  tape.gate_up = rows(queries, c.gated_mlp ? 2 * c.d_mlp : c.d_mlp);
  return tape;
}

NormOp Pass::norm_op(const NormWeights& weights) const {
  return {.kind = model.config.norm, .eps = model.config.norm_eps, .weights = weights};
}

at::Tensor Pass::gate(size_t l) const {
  return gates.defined() ? gates.select(1, static_cast<int64_t>(l)).contiguous() : at::Tensor();
}

at::Tensor embed(const Pass& pass) {
  const Config& c = pass.model.config;
  const Weights& w = pass.model.weights;
  at::Tensor x = at::index_select(w.embedding, 0, pass.layout.ids);
  if (c.n_learned_positions > 0)
    x.add_(at::index_select(w.positions, 0, pass.layout.position + c.position_offset));
  if (c.n_time_steps > 0) x.add_(at::index_select(w.times, 0, pass.layout.time));
  if (!c.embedding_norm) return x;
  const NormWeights ones{.weight = at::ones({c.d_model}, pass.narrow), .bias = {}};
  at::Tensor normed = pass.rows(x.size(0), c.d_model), none;
  NormTape tape = pass.norm_tape(x.size(0));
  pass.ops.norm(pass.norm_op(ones), x, none, none, normed, tape);
  return normed;
}

Scratch::Scratch(const Pass& pass)
    : normed(pass.rows(pass.most_rows(), pass.model.config.d_model)),
      gated(pass.rows(pass.most_rows(), pass.d_attn())),
      delta(pass.rows(pass.most_rows(), pass.model.config.d_model)),
      active(pass.rows(pass.most_rows(), pass.model.config.d_mlp)) {}

HeadNorm head_norm(const Pass& pass, const NormWeights& weights, const at::Tensor& rows) {
  const Config& c = pass.model.config;
  HeadNorm out;
  out.rows = rows.contiguous().view({-1, c.d_head});
  at::Tensor normed = at::empty_like(out.rows), none;
  out.tape.inverse = at::empty({out.rows.size(0)}, pass.broad);
  pass.ops.norm({.kind = NormKind::kRms, .eps = c.norm_eps, .weights = weights}, out.rows, none,
                none, normed, out.tape);
  out.normed = normed.view(rows.sizes());
  return out;
}

AttentionOp attention_op(const Pass& pass, size_t l, const LayerTape& tape) {
  const Layout& layout = pass.layout;
  const bool last = pass.last(l), normed = pass.model.config.qk_norm;
  const LayerWeights& w = pass.layer(l);
  return {.config = pass.model.config,
          .window = pass.model.config.window_of(static_cast<int64_t>(l)),
          .tables = pass.tables,
          .q_start = last ? layout.supervised_start : layout.start,
          .k_start = layout.start,
          .q_position = last ? layout.supervised_position : layout.position,
          .q = normed ? head_norm(pass, w.q_norm, tape.q).normed : tape.q,
          .k = normed ? head_norm(pass, w.k_norm, tape.k).normed : tape.k,
          .v = tape.v,
          .gate = pass.gate(l)};
}

void fill_queries(const Pass& pass, size_t l, const Scratch& scratch, LayerTape& tape) {
  const LayerWeights& w = pass.layer(l);
  const int64_t d_attn = pass.d_attn(), d_kv = pass.d_kv();
  const at::Tensor normed = rows_of(scratch.normed, pass.layout.ids.size(0));
  if (pass.last(l)) {
    const at::Tensor chosen = at::index_select(normed, 0, pass.layout.supervised);
    project(chosen, w.q, part(w.qkv_bias, 0, d_attn), tape.q);
    at::Tensor kv = whole(tape.k, 2 * d_kv);
    project(normed, w.qkv.narrow(0, d_attn, 2 * d_kv), part(w.qkv_bias, d_attn, 2 * d_kv), kv);
  } else {
    at::Tensor qkv = whole(tape.q, d_attn + 2 * d_kv);
    project(normed, w.qkv, w.qkv_bias, qkv);
  }
}

void fill_rest(const Pass& pass, size_t l, const AttentionOp& op, Scratch& scratch,
               LayerTape& tape) {
  const LayerWeights& w = pass.layer(l);
  const int64_t rows = pass.n_queries(l);
  at::Tensor gated = rows_of(scratch.gated, rows), normed = rows_of(scratch.normed, rows), none;
  pass.ops.attention(op, tape.z, gated, tape.log_sum);
  const auto chosen = [&](const at::Tensor& all) {
    return pass.last(l) ? at::index_select(all, 0, pass.layout.supervised) : all;
  };
  switch (pass.model.config.residual) {
    case Residual::kSequential: {
      at::Tensor delta = rows_of(scratch.delta, rows);
      project(gated, w.o, w.o_bias, delta);
      pass.ops.norm(pass.norm_op(w.mlp_norm), chosen(tape.x), delta, tape.mid, normed,
                    tape.mid_norm);
      break;
    }
    case Residual::kParallel:
      tape.mid = chosen(tape.x);
      pass.ops.norm(pass.norm_op(w.mlp_norm), tape.mid, none, none, normed, tape.mid_norm);
      break;
    case Residual::kParallelOneNorm:
      tape.mid = chosen(tape.x);
      if (pass.last(l)) normed = chosen(rows_of(scratch.normed, pass.layout.ids.size(0)));
      break;
  }
  project(normed, w.gate_up, w.gate_up_bias, tape.gate_up);
}

void fill(const Pass& pass, size_t l, Scratch& scratch, LayerTape& tape) {
  fill_queries(pass, l, scratch, tape);
  fill_rest(pass, l, attention_op(pass, l, tape), scratch, tape);
}

at::Tensor leave(const Pass& pass, size_t l, Scratch& scratch, const LayerTape& tape) {
  const LayerWeights& w = pass.layer(l);
  const int64_t rows = pass.n_queries(l);
  at::Tensor active = rows_of(scratch.active, rows), delta = rows_of(scratch.delta, rows);
  pass.ops.activate(pass.model.config, tape.gate_up, active);
  project(active, w.down, w.down_bias, delta);
  if (pass.model.config.residual == Residual::kSequential) return delta;
  at::Tensor attn = pass.rows(rows, delta.size(1));
  project(rows_of(scratch.gated, rows), w.o, w.o_bias, attn);
  return delta.add_(attn);
}

}  // namespace headcount::models
