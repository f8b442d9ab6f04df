// The fast path: one forward pass, and one backward pass to the gates alone, written out by hand.
// No autograd, no weight gradients; queries, output projection and MLP of the last layer, final
// norm and LM head only where something is supervised; backward stops at the lowest layer's
// attention output. What is computed is said by transformer.h; tests hold the two together.
#pragma once

#include <vector>

#include "models/kernels.h"

namespace headcount::models {

/// A batch as the products see it: the valid positions of all sequences one after the other, and
/// the supervised ones among them (of a shifted model, those whose logits they are).
struct Layout {
  at::Tensor ids;                         // int64 [N]
  at::Tensor position;                    // int64 [N]
  at::Tensor time;                        // int64 [N], of a model with n_time_steps
  std::vector<int64_t> start;             // [B + 1]: first row of each sequence
  at::Tensor supervised;                  // int64 [S]: row of each supervised position
  at::Tensor supervised_position;         // int64 [S]
  std::vector<int64_t> supervised_start;  // [B + 1]
  std::vector<int64_t> sample;            // [S], on the CPU
};
Layout layout_of(const Model& model, const Batch& batch);

/// What a layer leaves for its backward pass. Rows: N, but S for the last layer's queries, z and
/// MLP.
struct LayerTape {
  at::Tensor x;  // residual stream before the layer
  NormTape norm;
  at::Tensor q, k, v;  // neither normed nor turned yet; views of one or two buffers
  at::Tensor z, log_sum;
  at::Tensor mid;  // residual stream before the MLP; of parallel ones x, at the MLP's rows
  NormTape mid_norm;
  at::Tensor gate_up;
};

/// What a forward pass leaves behind.
enum class Keep {
  kHidden,  // `hidden` alone: layers share their buffers
  kInputs,  // and every layer's x; the rest is the last layer's. Backward computes it again
  kAll
};

struct Tape {
  Keep keep = Keep::kAll;
  std::vector<LayerTape> layers;
  at::Tensor x;  // residual stream before the final norm, [S]
  NormTape norm;
  at::Tensor hidden;  // behind it, [S, d_model]
};

/// One forward pass. `gates` wide [B, n_layers, n_heads] on the model's device, or undefined.
Tape forward_pass(const Model& model, const Layout& layout, const at::Tensor& gates, const Ops& ops,
                  Keep keep);

/// Logits of hidden rows in the wide dtype: [S, vocab_size]. Of a 16-bit model too the products are
/// summed and kept in float32.
at::Tensor head_logits(const Model& model, const at::Tensor& hidden);

/// dJ/dgate, float64 [B, n_layers, n_heads] on the CPU, from dJ/dhidden. The same bits for a tape
/// of either kind.
at::Tensor backward_pass(const Model& model, const Layout& layout, const at::Tensor& gates,
                         const Ops& ops, const Tape& tape, const at::Tensor& d_hidden);

}  // namespace headcount::models
