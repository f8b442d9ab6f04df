// Causal models one token at a time: keys and values of what was read are kept.
#pragma once

#include <vector>

#include "models/model.h"
#include "models/transformer.h"

namespace headcount::models {

/// The keys and values of one sequence, of every layer: [capacity, n_kv_heads * d_head] of the
/// model's dtype on its device. Owned by whoever decodes.
struct KvCache {
  std::vector<at::Tensor> k, v;
  int64_t length = 0;   // positions filled
  RotaryTables tables;  // of all positions up to the capacity
};

/// An empty cache for sequences up to `capacity` positions. Throws Error on a model that is not
/// causal.
KvCache make_cache(const Model& model, int64_t capacity);

/// Reads `ids` (at least one) after what the cache holds and returns the logits behind the last:
/// [vocab_size] in float32 (float64 for a float64 model). `gates` [n_layers, n_heads] or undefined.
/// The same numbers, to rounding, as logits() of the whole sequence. Throws Error beyond the
/// cache's capacity or the model's positions.
at::Tensor extend(const Model& model, KvCache& cache, const std::vector<int32_t>& ids,
                  const at::Tensor& gates = {});

}  // namespace headcount::models
