// Writes a masked-diffusion model in LLaDA's published layout: config.json (model_type llada) and
// model.safetensors with the tensor names of docs/methods.md 7, in bfloat16.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "models/files/config.h"

namespace headcount::models::training {

/// `weights` in weight_shapes(config) order. Creates `directory` where absent and replaces both
/// files in it, each by rename: a reader sees the old one or the new one. Throws Error naming the
/// file that cannot be written.
void save_llada(const Config& config, const std::vector<at::Tensor>& weights,
                const std::string& directory);

}  // namespace headcount::models::training
