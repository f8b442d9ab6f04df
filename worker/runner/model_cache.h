// Models kept warm between shards.
#pragma once

#include <c10/core/Device.h>

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
  explicit ModelCache(c10::Device device) : device_(device) {}

  /// The model at `path` (a directory or builtin:NAME) in `dtype`. Throws ModelRefused naming path
  /// and both fingerprints where it has another one, or saying why it cannot be loaded. The
  /// reference holds until the next call.
  const models::Model& get(const std::string& path, const std::string& fingerprint,
                           const std::string& dtype);

 private:
  /// Throws ModelRefused, with the numbers, where not even one token fits the device.
  void need_memory(const models::ModelFiles& files, const std::string& dtype) const;

  struct Warm {
    std::string path, fingerprint, dtype;
    models::Model model;
  };
  c10::Device device_;
  std::list<Warm> warm_;  // the most recently used first
};

}  // namespace headcount::runner
