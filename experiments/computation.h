// A computation as a value: what Shard::kind names, and all that planning, memory and the
// coordinator must know of its shards without computing one. Torch-free; how it is computed is its
// folder's run.cc (experiments/run/run.h).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "schemas/result.h"
#include "schemas/shard.h"

namespace headcount::experiments {

/// Passes of one sequence through the model that a shard takes. A gradient is a forward and a
/// backward pass.
struct Passes {
  int64_t forward = 0, backward = 0;  // adaptive quadrature: as many as are expected
  int64_t most_forward = 0, most_backward = 0;
  bool uncertain() const { return most_forward != forward; }
};

/// What a shard takes of a runner.
struct Work {
  Passes passes = {};
  /// The most samples that could stand in one pass; the micro-batch cuts them.
  int64_t samples = 0;
};

/// Functions are references: a computation that leaves one out does not compile.
struct Computation {
  std::string_view name;         // Shard::kind
  int64_t numerics_version = 1;  // raised when its numbers change on purpose
  int64_t micro_batch = 1;       // forward samples computed together unless the spec says otherwise
  bool backward = false;         // takes backward passes too

  /// The arrays a shard must yield, by name and shape. Throws Error on one no runner would take.
  std::vector<ArrayPlan> (&arrays)(const Shard&);
  /// What it takes to compute. Throws Error as `arrays` does.
  Work (&work)(const Shard&);
};

/// The computation of that name, or nullptr.
const Computation* find_computation(std::string_view name);
/// The shard's own; throws Error on one this program does not know.
const Computation& computation_of(const Shard& shard);

/// What `computation_of` says of the shard.
std::vector<ArrayPlan> arrays(const Shard& shard);
Passes passes(const Shard& shard);

}  // namespace headcount::experiments
