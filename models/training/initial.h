// Weights to start training from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/files/config.h"

namespace headcount::models::training {

/// float32 weights in weight_shapes(config) order, requiring gradients: matrices N(0, 1 / fan_in),
/// those that write to the residual stream (o, down) divided by sqrt(2 n_layers) more (Radford et
/// al. 2019, section 2.3), the embedding N(0, 0.02^2), norms one. Drawn by Philox from `seed`.
std::vector<at::Tensor> initial_weights(const Config& config, uint64_t seed);

}  // namespace headcount::models::training
