// Greedy continuation of a causal model.
#pragma once

#include <cstdint>
#include <vector>

#include "models/model.h"

namespace headcount::models {

/// `prompt` (at least one id) followed by at most `n_new` tokens, each the argmax of the last
/// position's logits (ties to the lower id). Stops before a BOS the model would produce, and at
/// max_positions. Throws Error on a model that is not causal.
std::vector<int32_t> greedy(const Model& model, const std::vector<int32_t>& prompt, int64_t n_new);

}  // namespace headcount::models
