// How much device memory a sweep's models take, for `headcount plan`: the largest micro-batch any
// stage makes of each model (models/files/memory_plan.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/sweep.h"
#include "models/files/memory_plan.h"

namespace headcount::experiments {

/// One model of the sweep and the most demanding pass of any stage that uses it.
struct ModelMemory {
  std::string model, dtype;
  models::Config config;
  models::PassShape pass;
  models::MemoryPlan plan;
};

/// In the order of the spec; models no stage uses are left out. A micro-batch is no larger than the
/// samples of a stage's first shard.
std::vector<ModelMemory> model_memory(const Sweep& sweep);

/// A line a model: its numbers against a device of `nominal_bytes`, and whether it fits.
std::string to_text(const std::vector<ModelMemory>& models, uint64_t nominal_bytes);

}  // namespace headcount::experiments
