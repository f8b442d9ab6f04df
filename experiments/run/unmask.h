// Greedy decoding of masked diffusion models: the surest position first, one token a step.
#pragma once

#include <functional>
#include <vector>

#include "experiments/run/batch.h"

namespace headcount::experiments {

/// The best token of a supervised position and its float32 probability.
struct BestToken {
  int32_t token = 0;
  float probability = 0;
};

/// One for each supervised position of the batch: the token of the highest logit, the lowest id on
/// ties. The token `mask_id` (-1: none) is never the best and takes no part in the probability.
/// `gates` undefined: all one.
std::vector<BestToken> best_tokens(const models::Model& model, const models::Batch& batch,
                                   const at::Tensor& gates, int64_t mask_id);

struct Unmasking {
  int64_t mask_id = -1;
  int64_t micro_batch = 64;
  std::function<at::Tensor(size_t n)> gates;  // of n samples; undefined: all one
  std::function<void(double)> progress;       // called after every step with the share done
};

/// Writes every masked position of the examples (their supervised positions, ascending, whose ids
/// are mask_id): each step writes, in each example, the best token of the position where that is
/// most probable, the lower position on ties. Returns the ids of each.
std::vector<std::vector<int32_t>> unmask(const models::Model& model, std::vector<Example> examples,
                                         const Unmasking& how);

}  // namespace headcount::experiments
