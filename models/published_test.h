// Models of random shape and weights, written the way their families publish them: what tests of
// the laws open. Written from the families' published code, not from models/files.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/model.h"

namespace headcount::models {

/// "llama", "mistral", "qwen2", "qwen3", "dream", "llada", "gpt2", "gptj", "gpt_neox", "opt".
const std::vector<std::string>& published_families();

/// A small model's shape from `seed`: key/value heads from one to all, heads wider or narrower than
/// d_model / n_heads, odd widths and vocabularies, tied or untied heads, windows, scaled rotary
/// angles and every bias flag its family has.
Config family_config(const std::string& family, uint64_t seed);

/// float64 weights in the order of weight_shapes, large enough for attention to be far from
/// uniform; norms and biases random too.
std::vector<at::Tensor> random_weights(const Config& config, uint64_t seed);

/// Writes config.json and the weights in their own dtype: one model.safetensors, or `n_files` of
/// them and an index.
void publish(const Config& config, const std::vector<at::Tensor>& weights,
             const std::string& directory, int64_t n_files = 1);

}  // namespace headcount::models
