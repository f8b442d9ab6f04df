// How much device memory a sweep takes, and the micro-batch that a device's memory allows
// (models/files/memory_plan.h). Pure functions of specs, shards and nominal sizes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "experiments/sweep.h"
#include "models/files/memory_plan.h"

namespace headcount::experiments {

/// A device as planning sees it.
struct DeviceMemory {
  uint64_t bytes = 0;  // nominal, of one runner; 0: nobody says, and nothing is refused
  bool gpu = false;
};

/// What a shard's computation holds at once on the device: checkpointed where it fits no other way.
models::PassShape pass_of(const Shard& shard, const models::Config& config,
                          const DeviceMemory& device);

/// One model of the sweep and the most demanding pass of any stage that uses it.
struct ModelMemory {
  std::string model, dtype;
  models::Config config;
  models::PassShape pass;   // with the micro-batch the spec or the kind asks for
  models::Fit fit;          // what the device takes of it
  models::MemoryPlan plan;  // of that; of one sequence where nothing fits
};

/// In the order of the spec; models no stage uses are left out. A micro-batch is no larger than the
/// samples of a point's largest shard.
std::vector<ModelMemory> model_memory(const Sweep& sweep, const DeviceMemory& device);

/// A line a model: its numbers against the device, and whether it fits.
std::string to_text(const std::vector<ModelMemory>& models, const DeviceMemory& device);

/// "model M does not fit: NUMBERS; REMEDY", or empty.
std::string refusal(const ModelMemory& model, const DeviceMemory& device);

/// The micro-batch of a stage whose models are computed on the devices that `device` gives them:
/// halved from what the spec or the kind asks for until every point fits (ARCHITECTURE.md, laws 3 and 5).
struct StageFit {
  int64_t micro_batch = 0;  // 0: as asked for
  std::string refusal;      // not empty: some model fits with no micro-batch
};
StageFit fit(const Stage& stage, const std::function<DeviceMemory(const ModelInfo&)>& device);

}  // namespace headcount::experiments
