// The run side: a shard becomes numbers. The only part of experiments/ that sees ATen.
#pragma once

#include <functional>
#include <string>

#include "experiments/memory.h"
#include "models/model.h"
#include "schemas/result.h"
#include "schemas/shard.h"

namespace headcount::experiments {

/// Called now and then with the share done, 0..1; may throw to stop the computation.
using Progress = std::function<void(double)>;

/// Computes one shard on a loaded model (its fingerprint and dtype are the caller's business).
/// Deterministic. Throws Error on a shard the model cannot take (ids out of the vocabulary, rows
/// too long, unknown kind or version). `device`: where the model is; gradients are checkpointed
/// when only that fits it, which changes no bit.
Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const DeviceMemory& device = {});

}  // namespace headcount::experiments
