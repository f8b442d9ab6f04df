// Models kept warm between shards.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <list>
#include <string>

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
  /// `memory_bytes`: what its models and their passes may take, nominal; 0: nobody says.
  ModelCache(c10::Device device, uint64_t memory_bytes)
      : device_(device), memory_bytes_(memory_bytes) {}

  /// The model at `path` (a directory or builtin:NAME) in `dtype`. Throws ModelRefused naming path
  /// and both fingerprints where it has another one, or saying why it cannot be loaded. The
  /// reference holds until the next call.
  const models::Model& get(const std::string& path, const std::string& fingerprint,
                           const std::string& dtype);

 private:
  /// Forgets what is in the way of this model. Throws ModelRefused, with the numbers, where not
  /// even one token of it fits.
  void make_room(const models::ModelFiles& files, const std::string& dtype);

  struct Warm {
    std::string path, fingerprint, dtype;
    uint64_t weights = 0;  // bytes
    models::Model model;
  };
  c10::Device device_;
  uint64_t memory_bytes_;
  std::list<Warm> warm_;  // the most recently used first
};

}  // namespace headcount::runner
