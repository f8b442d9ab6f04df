// How much memory a model's work takes on a device, before anything is loaded: weights and
// activations of one micro-batch (docs/methods.md 5), with constants measured per kind
// of pass. Pure functions: the same answer on the coordinator and on every worker.
#pragma once

#include <cstdint>
#include <string>

#include "models/files/config.h"

namespace headcount::models {

/// "float64" | "float32" | "bfloat16" | "float16".
int64_t dtype_bytes(const std::string& dtype);

/// Numbers a model has.
int64_t parameter_count(const Config& config);

/// What one micro-batch does.
struct PassShape {
  int64_t micro_batch = 1;     // sequences
  int64_t length = 0;          // positions of the longest
  int64_t supervised = 0;      // positions per sequence whose logits are computed
  bool backward = false;       // gate gradients too: every layer's activations are kept
  bool checkpointing = false;  // ... only its input; the rest is computed again on the way back
  bool gpu = false;            // plain ATen operations and LibTorch's fused attention
};

struct MemoryPlan {
  uint64_t weights = 0, activations = 0, logits = 0;  // bytes
  uint64_t total() const { return weights + activations + logits; }
};
MemoryPlan memory_plan(const Config& config, const std::string& dtype, const PassShape& pass);

/// The share of a device's nominal memory a plan may fill: the rest is the driver's, the
/// allocator's and the libraries'.
constexpr double kUsableShare = 0.92;
uint64_t usable(uint64_t nominal_bytes);
bool fits(const MemoryPlan& plan, uint64_t nominal_bytes);

/// The first of `most`, `most` / 2, ... 1 that fits a device of `nominal_bytes` as micro-batch:
/// without checkpointing, else with. 0: not even one sequence does.
struct Fit {
  int64_t micro_batch = 0;
  bool checkpointing = false;
};
Fit largest_fit(const Config& config, const std::string& dtype, PassShape pass, int64_t most,
                uint64_t nominal_bytes);

/// The pass so fitted; one checkpointed sequence where nothing fits.
PassShape fitted(PassShape pass, const Fit& fit);

/// "float32 weights 32.1 GB + activations of 1 x 512 tokens 3.1 GB + logits 0.1 GB = 35.3 GB, the
/// device has 24.0 GB (22.1 usable)".
std::string describe(const MemoryPlan& plan, const std::string& dtype, const PassShape& pass,
                     uint64_t nominal_bytes);

}  // namespace headcount::models
