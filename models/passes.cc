// The forward pass, layer by layer.
#include "models/passes.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "models/layer_pass.h"

namespace headcount::models {
Tape forward_pass(const Model& model, const Layout& layout, const at::Tensor& gates, const Ops& ops,
                  Keep keep) {
  const Pass pass(model, layout, gates, ops, tables_for(model, layout));
  Scratch scratch(pass);
  const int64_t n = layout.ids.size(0), n_supervised = layout.supervised.size(0);
  const size_t n_layers = model.weights.layers.size();
  at::Tensor residual = embed(pass), added;  // added: not yet part of residual
  at::Tensor normed = scratch.normed.narrow(0, 0, n), shared_x;
  LayerTape shared;

  Tape tape;
  tape.keep = keep;
  for (size_t l = 0; l < n_layers; ++l) {
    const bool whole = keep == Keep::kAll || pass.last(l);
    if (!whole && !shared.z.defined()) shared = pass.layer_tape(l);
    LayerTape t = whole ? pass.layer_tape(l) : shared;
    if (l == 0) {
      t.x = residual;
    } else if (keep == Keep::kHidden) {
      if (!shared_x.defined()) shared_x = pass.rows(n, model.config.d_model);
      t.x = shared_x;
    } else {
      t.x = pass.rows(n, model.config.d_model);
    }
    ops.norm(pass.norm_op(pass.layer(l).attn_norm), residual, added, t.x, normed, t.norm);
    fill(pass, l, scratch, t);
    added = leave(pass, l, scratch, t);
    residual = t.mid;
    if (whole) {
      tape.layers.push_back(t);
    } else {
      tape.layers.emplace_back();
      tape.layers.back().x = t.x;
    }
  }
  tape.x = pass.rows(n_supervised, model.config.d_model);
  tape.hidden = pass.rows(n_supervised, model.config.d_model);
  tape.norm = pass.norm_tape(n_supervised);
  ops.norm(pass.norm_op(model.weights.final_norm), residual, added, tape.x, tape.hidden, tape.norm);
  return tape;
}

at::Tensor head_logits(const Model& model, const at::Tensor& hidden) {
  const at::Tensor &head = model.weights.head, &bias = model.weights.head_bias;
  const at::ScalarType dtype = wide(hidden.scalar_type());
  at::Tensor logits = at::empty({hidden.size(0), head.size(0)}, hidden.options().dtype(dtype));
  if (dtype == hidden.scalar_type()) {
    project(hidden, head, bias, logits);
    return logits;
  }
  constexpr int64_t kWordsAtOnce = 4096;  // the widened head stays in cache
  const at::Tensor wide_hidden = hidden.to(dtype);
  for (int64_t word = 0; word < head.size(0); word += kWordsAtOnce) {
    const int64_t n = std::min(kWordsAtOnce, head.size(0) - word);
    at::Tensor part = logits.narrow(1, word, n);
    project(wide_hidden, head.narrow(0, word, n).to(dtype), {}, part);
  }
  return bias.defined() ? logits.add_(bias) : logits;
}

}  // namespace headcount::models
