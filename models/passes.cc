// Forward and gate-only backward, product by product.
#include "models/passes.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "schemas/error.h"

namespace headcount::models {
namespace {

/// Allocates the pass's buffers; all of one model's dtype and device unless said otherwise.
struct Buffers {
  at::TensorOptions narrow, broad;  // the model's dtype; the wide one
  explicit Buffers(const Model& model)
      : narrow(model.weights.embedding.options()),
        broad(narrow.dtype(wide(model.weights.embedding.scalar_type()))) {}
  at::Tensor rows(int64_t n, int64_t width) const { return at::empty({n, width}, narrow); }
  at::Tensor wide_rows(int64_t n, int64_t width) const { return at::empty({n, width}, broad); }
  at::Tensor wide_row(int64_t n) const { return at::empty({n}, broad); }
};

at::Tensor rows_of(const at::Tensor& buffer, int64_t n) { return buffer.narrow(0, 0, n); }

/// The rows of a buffer that every layer uses: a position may be supervised many times (a masked
/// model's choices), so the last layer may have more rows than there are positions.
int64_t most_rows(const Layout& layout) {
  return std::max(layout.ids.size(0), layout.supervised.size(0));
}

/// out = x weight^T: a linear layer.
void project(const at::Tensor& x, const at::Tensor& weight, at::Tensor& out) {
  at::mm_out(out, x, weight.t());
}
/// out = d weight: its derivative.
void project_back(const at::Tensor& d, const at::Tensor& weight, at::Tensor& out) {
  at::mm_out(out, d, weight);
}

at::Tensor gates_of_layer(const at::Tensor& gates, size_t layer) {
  return gates.defined() ? gates.select(1, static_cast<int64_t>(layer)).contiguous() : at::Tensor();
}

AttentionOp attention_op(const Model& model, const Layout& layout, const RotaryTables& tables,
                         const LayerTape& tape, bool last, const at::Tensor& gate) {
  return {.config = model.config,
          .tables = tables,
          .q_start = last ? layout.supervised_start : layout.start,
          .k_start = layout.start,
          .q_position = last ? layout.supervised_position : layout.position,
          .q = tape.q,
          .k = tape.k,
          .v = tape.v,
          .gate = gate};
}

RotaryTables tables_for(const Model& model, const Layout& layout) {
  int64_t longest = 0;
  for (size_t b = 0; b + 1 < layout.start.size(); ++b)
    longest = std::max(longest, layout.start[b + 1] - layout.start[b]);
  return rotary_tables(model.config, longest, model.weights.embedding.scalar_type(),
                       model.weights.embedding.device());
}

LayerTape make_layer_tape(const Config& c, const Buffers& make, int64_t n, int64_t n_queries,
                          bool last) {
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  LayerTape tape;
  tape.inverse = make.wide_row(n);
  if (last) {
    tape.q = make.rows(n_queries, d_attn);
    const at::Tensor kv = make.rows(n, 2 * d_kv);
    tape.k = kv.narrow(1, 0, d_kv);
    tape.v = kv.narrow(1, d_kv, d_kv);
  } else {
    const at::Tensor qkv = make.rows(n, d_attn + 2 * d_kv);
    tape.q = qkv.narrow(1, 0, d_attn);
    tape.k = qkv.narrow(1, d_attn, d_kv);
    tape.v = qkv.narrow(1, d_attn + d_kv, d_kv);
  }
  tape.z = make.rows(n_queries, d_attn);
  tape.log_sum = make.wide_rows(n_queries, c.n_heads);
  tape.mid = make.rows(n_queries, c.d_model);
  tape.mid_inverse = make.wide_row(n_queries);
  tape.gate_up = make.rows(n_queries, 2 * c.d_mlp);
  return tape;
}

/// The buffer q, k and v (or k and v) are columns of.
at::Tensor whole(const at::Tensor& first, int64_t width) {
  return first.as_strided({first.size(0), width}, {first.stride(0), 1});
}

}  // namespace

Layout layout_of(const Model& model, const Batch& batch) {
  const int64_t n_sequences = batch.ids.size(0), n_positions = batch.ids.size(1);
  const at::Device device = model.weights.embedding.device();
  const at::Tensor lengths = batch.lengths.defined() ? batch.lengths.cpu() : at::Tensor();
  Layout layout;
  layout.start = {0};
  for (int64_t b = 0; b < n_sequences; ++b) {
    const int64_t n = lengths.defined() ? lengths.data_ptr<int64_t>()[b] : n_positions;
    HC_CHECK(n >= 1 && n <= n_positions);
    layout.start.push_back(layout.start.back() + n);
  }
  const int64_t total = layout.start.back();
  layout.position = at::empty({total}, at::kLong);
  at::Tensor source = at::empty({total}, at::kLong);  // where in the padded ids
  for (int64_t b = 0, row = 0; b < n_sequences; ++b) {
    for (int64_t t = 0; row < layout.start[static_cast<size_t>(b) + 1]; ++t, ++row) {
      layout.position.data_ptr<int64_t>()[row] = t;
      source.data_ptr<int64_t>()[row] = b * n_positions + t;
    }
  }
  const at::Tensor sample = batch.sample.cpu().contiguous(),
                   position = batch.position.cpu().contiguous();
  const int64_t n_supervised = sample.numel();
  layout.sample.assign(sample.data_ptr<int64_t>(), sample.data_ptr<int64_t>() + n_supervised);
  layout.supervised = at::empty({n_supervised}, at::kLong);
  layout.supervised_start.assign(static_cast<size_t>(n_sequences) + 1, 0);
  for (int64_t s = 0; s < n_supervised; ++s) {
    const auto b = static_cast<size_t>(layout.sample[static_cast<size_t>(s)]);
    const int64_t at = position.data_ptr<int64_t>()[s];
    HC_CHECK(b + 1 < layout.start.size() && at >= 0 && at < layout.start[b + 1] - layout.start[b]);
    HC_CHECK(s == 0 ||
             layout.sample[static_cast<size_t>(s) - 1] <= layout.sample[static_cast<size_t>(s)]);
    layout.supervised.data_ptr<int64_t>()[s] = layout.start[b] + at;
    ++layout.supervised_start[b + 1];
  }
  for (size_t b = 0; b + 1 < layout.supervised_start.size(); ++b)
    layout.supervised_start[b + 1] += layout.supervised_start[b];
  layout.ids = batch.ids.to(device).reshape({-1}).index_select(0, source.to(device));
  layout.supervised_position = position.to(device);
  layout.supervised = layout.supervised.to(device);
  layout.position = layout.position.to(device);
  return layout;
}

Tape forward_pass(const Model& model, const Layout& layout, const at::Tensor& gates, const Ops& ops,
                  bool keep) {
  const Config& c = model.config;
  const Buffers make(model);
  const RotaryTables tables = tables_for(model, layout);
  const int64_t n = layout.ids.size(0), n_supervised = layout.supervised.size(0);
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  const int64_t most = most_rows(layout);
  at::Tensor norms = make.rows(most, c.d_model), gated = make.rows(most, d_attn),
             delta = make.rows(most, c.d_model);
  at::Tensor active = make.rows(most, c.d_mlp), normed = rows_of(norms, n);
  at::Tensor residual = at::index_select(model.weights.embedding, 0, layout.ids),
             added;  // added: not yet part of residual

  Tape tape;
  for (size_t l = 0; l < model.weights.layers.size(); ++l) {
    const LayerWeights& w = model.weights.layers[l];
    const bool last = l + 1 == model.weights.layers.size();
    const int64_t rows = last ? n_supervised : n;
    LayerTape t =
        keep || l == 0 || last ? make_layer_tape(c, make, n, rows, last) : tape.layers.back();
    t.x = added.defined() ? (keep || l == 1 ? make.rows(n, c.d_model) : tape.layers.back().x)
                          : residual;
    ops.rms_norm(residual, added, w.attn_norm.weight, c.norm_eps, t.x, normed, t.inverse);

    at::Tensor kv, q, x = t.x;
    if (last) {
      const at::Tensor chosen = at::index_select(normed, 0, layout.supervised);
      project(chosen, w.q, t.q);
      kv = whole(t.k, 2 * d_kv);
      project(normed, w.qkv.narrow(0, d_attn, 2 * d_kv), kv);
      x = at::index_select(t.x, 0, layout.supervised);
    } else {
      at::Tensor qkv = whole(t.q, d_attn + 2 * d_kv);
      project(normed, w.qkv, qkv);
    }
    at::Tensor gated_rows = rows_of(gated, rows), delta_rows = rows_of(delta, rows),
               normed_rows = rows_of(norms, rows);
    at::Tensor active_rows = rows_of(active, rows);
    ops.attention(attention_op(model, layout, tables, t, last, gates_of_layer(gates, l)), t.z,
                  gated_rows, t.log_sum);
    project(gated_rows, w.o, delta_rows);
    ops.rms_norm(x, delta_rows, w.mlp_norm.weight, c.norm_eps, t.mid, normed_rows, t.mid_inverse);
    project(normed_rows, w.gate_up, t.gate_up);
    ops.swiglu(t.gate_up, active_rows);
    project(active_rows, w.down, delta_rows);
    residual = t.mid;
    added = delta_rows;
    tape.layers.push_back(t);
  }
  tape.x = make.rows(n_supervised, c.d_model);
  tape.hidden = make.rows(n_supervised, c.d_model);
  tape.inverse = make.wide_row(n_supervised);
  ops.rms_norm(residual, added, model.weights.final_norm.weight, c.norm_eps, tape.x, tape.hidden,
               tape.inverse);
  return tape;
}

at::Tensor head_logits(const Model& model, const at::Tensor& hidden) {
  const at::Tensor& head = model.weights.head;
  const at::ScalarType dtype = wide(hidden.scalar_type());
  at::Tensor logits = at::empty({hidden.size(0), head.size(0)}, hidden.options().dtype(dtype));
  if (dtype == hidden.scalar_type()) {
    project(hidden, head, logits);
    return logits;
  }
  constexpr int64_t kWordsAtOnce = 4096;  // the widened head stays in cache
  const at::Tensor wide_hidden = hidden.to(dtype);
  for (int64_t word = 0; word < head.size(0); word += kWordsAtOnce) {
    const int64_t n = std::min(kWordsAtOnce, head.size(0) - word);
    at::Tensor part = logits.narrow(1, word, n);
    project(wide_hidden, head.narrow(0, word, n).to(dtype), part);
  }
  return logits;
}

at::Tensor backward_pass(const Model& model, const Layout& layout, const at::Tensor& gates,
                         const Ops& ops, const Tape& tape, const at::Tensor& d_hidden) {
  const Config& c = model.config;
  const Buffers make(model);
  const RotaryTables tables = tables_for(model, layout);
  const int64_t n = layout.ids.size(0), n_supervised = layout.supervised.size(0);
  const int64_t d_attn = c.n_heads * c.d_head, d_kv = c.n_kv_heads * c.d_head;
  const auto n_sequences = static_cast<int64_t>(layout.start.size()) - 1;
  at::Tensor d_gates =
      at::zeros({n_sequences, c.n_layers, c.n_heads}, make.narrow.dtype(at::kDouble));
  at::Tensor d_gate = at::zeros({n_sequences, c.n_heads}, make.narrow.dtype(at::kDouble));

  const int64_t most = most_rows(layout);
  at::Tensor d_active = make.rows(most, c.d_mlp), d_gate_up = make.rows(most, 2 * c.d_mlp),
             d_norms = make.rows(most, c.d_model), d_normed = rows_of(d_norms, n);
  at::Tensor d_gated = make.rows(most, d_attn), d_qkv = make.rows(n, d_attn + 2 * d_kv);
  at::Tensor d_x = at::zeros({n_supervised, c.d_model}, make.narrow);
  ops.rms_norm_backward(d_hidden, tape.x, model.weights.final_norm.weight, tape.inverse, d_x);

  for (size_t l = model.weights.layers.size(); l-- > 0;) {
    const LayerWeights& w = model.weights.layers[l];
    const LayerTape& t = tape.layers[l];
    const bool last = l + 1 == model.weights.layers.size();
    const int64_t rows = last ? n_supervised : n;
    at::Tensor d_active_rows = rows_of(d_active, rows), d_gate_up_rows = rows_of(d_gate_up, rows);
    at::Tensor d_normed_rows = rows_of(d_norms, rows), d_gated_rows = rows_of(d_gated, rows);
    project_back(d_x, w.down, d_active_rows);
    ops.swiglu_backward(d_active_rows, t.gate_up, d_gate_up_rows);
    project_back(d_gate_up_rows, w.gate_up, d_normed_rows);
    ops.rms_norm_backward(d_normed_rows, t.mid, w.mlp_norm.weight, t.mid_inverse, d_x);
    project_back(d_x, w.o, d_gated_rows);

    const AttentionOp op = attention_op(model, layout, tables, t, last, gates_of_layer(gates, l));
    if (l == 0) {
      ops.gate_dot(op, t.z, d_gated_rows, d_gate);
      d_gates.select(1, 0).copy_(d_gate);
      break;
    }
    at::Tensor d_q = last ? make.rows(rows, d_attn) : d_qkv.narrow(1, 0, d_attn);
    at::Tensor d_k = d_qkv.narrow(1, d_attn, d_kv), d_v = d_qkv.narrow(1, d_attn + d_kv, d_kv);
    ops.attention_backward(op, t.z, t.log_sum, d_gated_rows, d_q, d_k, d_v, d_gate);
    d_gates.select(1, static_cast<int64_t>(l)).copy_(d_gate);
    if (last) {
      project_back(d_qkv.narrow(1, d_attn, 2 * d_kv), w.qkv.narrow(0, d_attn, 2 * d_kv), d_normed);
      project_back(d_q, w.q, d_normed_rows = make.rows(rows, c.d_model));
      ops.add_rows(d_normed_rows, layout.supervised, d_normed);
      const at::Tensor d_supervised = d_x;
      d_x = at::zeros({n, c.d_model}, make.narrow);
      ops.add_rows(d_supervised, layout.supervised, d_x);
    } else {
      project_back(d_qkv, w.qkv, d_normed);
    }
    ops.rms_norm_backward(d_normed, t.x, w.attn_norm.weight, t.inverse, d_x);
  }
  return d_gates.cpu();
}

}  // namespace headcount::models
