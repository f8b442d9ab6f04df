// Models kept warm between shards.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <list>
#include <string>

#include "experiments/memory.h"
#include "models/model.h"
#include "schemas/error.h"

namespace headcount::runner {

/// The model at a path is not the one the shard was planned for, or cannot be loaded: other shards
/// of it will fail likewise.
class ModelRefused : public Error {
 public:
  using Error::Error;
};

/// The last two models used, loaded on one device. A model is verified once, when it is loaded. Not
/// thread-safe.
class ModelCache {
 public:
  /// `memory`: what its models and their passes may take.
  ModelCache(c10::Device device, const experiments::DeviceMemory& memory)
      : device_(device), memory_(memory) {}

  /// The shard's model, which lies at `path` (a directory or builtin:NAME). Others are forgotten
  /// where they leave no room for the shard's passes. Throws ModelRefused naming path and both
  /// fingerprints where it has another one, or saying why it cannot be loaded, with the numbers
  /// where not even one token fits. The reference holds until the next call.
  const models::Model& get(const std::string& path, const Shard& shard);
  size_t n_warm() const { return warm_.size(); }

 private:
  void need_memory(const models::ModelFiles& files, const std::string& dtype) const;
  /// Forgets the least recently used but the first `n_kept` until `bytes` fit beside their weights.
  void make_room(uint64_t bytes, size_t n_kept);

  struct Warm {
    std::string path, fingerprint, dtype;
    uint64_t weights = 0;  // bytes
    models::Model model;
  };
  c10::Device device_;
  experiments::DeviceMemory memory_;
  std::list<Warm> warm_;  // the most recently used first
};

}  // namespace headcount::runner
