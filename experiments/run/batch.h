// A row and what is asked of it, ready for the model: token ids, the positions whose logits are
// read, the tokens they must predict; and head gates for a batch of such examples.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "experiments/run/masks.h"
#include "models/model.h"
#include "schemas/row.h"

namespace headcount::experiments {

using models::Example;
using models::make_batch;

/// The completion under one mask: masked positions hold `mask_id` and must predict their own
/// tokens. `mean`: weight 1 / their number.
Example masked_example(const Row& row, const MaskDraw& mask, int32_t mask_id, bool mean);
/// The row's given labels: the logit at i, unshifted in every family, must predict labels[i] where
/// that is not kIgnore.
Example labelled_example(const Row& row, bool mean);

/// Throws Error naming the row's place in the shard unless the model can take it: some ids, at most
/// max_positions of them, all in the vocabulary, something to predict, all positions inside.
void check_example(const Example& example, size_t row, const models::Config& config);

/// Gates of one sample a row: `gates` row-major [n, n_layers, n_heads], as a tensor on the model's
/// device.
at::Tensor make_gates(std::span<const double> gates, int64_t n, const models::Model& model);

/// The numbers of a float64 CPU tensor, row-major.
std::vector<double> to_vector(const at::Tensor& tensor);

}  // namespace headcount::experiments
