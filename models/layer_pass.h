// The pieces of one layer that forward pass, backward pass and decoding are put together from. For
// passes.cc, backward.cc and decode.cc alone.
#pragma once

#include "models/passes.h"

namespace headcount::models {

/// out = x weight^T + bias: a linear layer. `bias` undefined: none.
void project(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
             at::Tensor& out);
/// out = d weight: its derivative.
void project_back(const at::Tensor& d, const at::Tensor& weight, at::Tensor& out);

/// Rotary angles of all the layout's positions.
RotaryTables tables_for(const Model& model, const Layout& layout);

/// What all layers of a pass share: its arguments, the rotary angles, and how buffers are made.
struct Pass {
  const Model& model;
  const Layout& layout;
  const at::Tensor& gates;
  const Ops& ops;
  RotaryTables tables;
  at::TensorOptions narrow, broad;  // the model's dtype; the wide one

  Pass(const Model& model_, const Layout& layout_, const at::Tensor& gates_, const Ops& ops_,
       const RotaryTables& tables_);

  const LayerWeights& layer(size_t l) const { return model.weights.layers[l]; }
  bool last(size_t l) const { return l + 1 == model.weights.layers.size(); }
  int64_t d_attn() const { return model.config.n_heads * model.config.d_head; }
  int64_t d_kv() const { return model.config.n_kv_heads * model.config.d_head; }
  /// The rows of a layer's queries and MLP.
  int64_t n_queries(size_t l) const { return (last(l) ? layout.supervised : layout.ids).size(0); }
  /// The rows of a buffer that every layer uses: a position may be supervised many times (a masked
  /// model's choices), so the last layer may have more rows than there are positions.
  int64_t most_rows() const;

  at::Tensor rows(int64_t n, int64_t width) const;
  NormTape norm_tape(int64_t n) const;
  LayerTape layer_tape(size_t l) const;  // all but x
  NormOp norm_op(const NormWeights& weights) const;
  at::Tensor gate(size_t l) const;  // wide [B, n_heads] or undefined
};

/// Embeddings of the batch's rows: tokens, and positions and noise levels where they are learned.
at::Tensor embed(const Pass& pass);

/// Buffers of a forward direction, written anew by every layer. They are few because a pass is
/// bound by memory: what a layer leaves for later is in its tape, all else is gone with the layer.
/// That is safe by the order in which a layer reads and writes, which whoever changes it must
/// keep:
///   normed  the input norm's rows [0, N), read by q, k, v and, where a layer has one norm, by the
///           MLP too: attention must not write it. Else the MLP's norm writes rows [0, S) over it
///           (N but for the last layer).
///   gated   attention's z times the gates. Sequential layers project it at once, parallel ones in
///           leave(), behind the MLP, which must not write it.
///   delta   what attention adds to the stream, then (that has been read) what the MLP adds.
///           leave() returns a view of it, and the next layer's input norm reads that before
///           anything writes it.
///   active  the MLP's inner rows, read at once.
/// All have most_rows(): the last layer has S rows of queries where the others have N.
struct Scratch {
  at::Tensor normed, gated, delta, active;
  explicit Scratch(const Pass& pass);
};

/// What attention of a layer reads: queries and keys normed per head where the model does that.
AttentionOp attention_op(const Pass& pass, size_t l, const LayerTape& tape);

/// From the layer's input norm (in scratch.normed) to the MLP's gate_up: all of the tape but x and
/// norm.
void fill(const Pass& pass, size_t l, Scratch& scratch, LayerTape& tape);

/// q, k and v of the layer from scratch.normed.
void fill_queries(const Pass& pass, size_t l, const Scratch& scratch, LayerTape& tape);
/// The rest of fill(), attention being `op`.
void fill_rest(const Pass& pass, size_t l, const AttentionOp& op, Scratch& scratch,
               LayerTape& tape);

/// The layer's contribution to the residual stream tape.mid, behind fill(): rows of scratch.delta.
at::Tensor leave(const Pass& pass, size_t l, Scratch& scratch, const LayerTape& tape);

/// The per-head norm of q or k rows [n, heads * d_head].
struct HeadNorm {
  at::Tensor rows;    // contiguous copy of what is normed, [n * heads, d_head]
  at::Tensor normed;  // [n, heads * d_head]
  NormTape tape;
};
HeadNorm head_norm(const Pass& pass, const NormWeights& weights, const at::Tensor& rows);

}  // namespace headcount::models
