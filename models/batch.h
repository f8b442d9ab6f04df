// Sequences with what is asked of them, and the micro-batches made of such examples.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace headcount::models {

struct Model;

/// A micro-batch of B sequences of at most T tokens, S of their positions supervised. Sequences may
/// differ in length: positions at or after lengths[b] are padding, which no position attends to.
struct Batch {
  at::Tensor ids;      // int64 [B, T]
  at::Tensor lengths;  // int64 [B]; undefined: all are T
  at::Tensor sample;   // int64 [S]: which sequence each supervised position belongs to, ascending
  /// int64 [S]: where in it. Of a shifted model (Dream) the position whose token is predicted: its
  /// logits are read one row before (row 0 for position 0), unless raw_rows.
  at::Tensor position;
  at::Tensor target;      // int64 [S]: the token its logit must predict
  bool raw_rows = false;  // position is the row of the logits themselves, of a shifted model too
  /// float64 [S]: J[b] = -sum_s weight[s] * CE[s] over its supervised positions (1/n: mean; 1:
  /// sum).
  at::Tensor weight;
  /// int64 [B]: noise level of a model with n_time_steps; undefined: from each sequence's share p
  /// of mask tokens among the positions after the first 16, round(p * n_time_steps) - 1, at least
  /// 0.
  at::Tensor time = {};
};

/// One sequence and its supervised positions; target[i] is what the logit at position[i] must
/// predict. J = -weight * sum of cross-entropies.
struct Example {
  std::vector<int32_t> ids;
  /// Ascending positions; a position may be asked for several targets.
  std::vector<int32_t> position, target;
  double weight = 1;
  bool raw_rows = false;
};

/// The examples in this order as one batch on the model's device, padded to the longest. There is
/// one at least; all have raw rows or none.
Batch make_batch(std::span<const Example* const> examples, const Model& model);

}  // namespace headcount::models
