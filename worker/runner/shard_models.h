// The models of a shard file, as `run` and `quadrature` open them; and their progress.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "models/model.h"
#include "schemas/shard.h"
#include "worker/runner/model_cache.h"

namespace headcount::runner {

class ShardModels {
 public:
  /// `moved`: NAME=DIR, where a model path of the file is on this machine; BadInput where one is
  /// neither. `file` must outlive this.
  ShardModels(const ShardFile& file, const std::vector<std::string>& moved, c10::Device device);

  /// The shard's model; holds until the next call. Throws BadInput where the file names no path for
  /// it or it cannot be opened.
  const models::Model& get(const Shard& shard);
  const experiments::DeviceMemory& memory() const { return memory_; }
  /// How the shard's gradients are computed on this device.
  models::PassOptions pass(const Shard& shard, const models::Model& model) const;

 private:
  const ShardFile& file_;
  std::map<std::string, std::string> moved_;
  experiments::DeviceMemory memory_;
  ModelCache cache_;
};

/// "3 of 8 shards, 40 %, 12.1 s" on stderr, now and then.
class Progress {
 public:
  explicit Progress(size_t n_shards);
  /// So much of shard `shard` is done.
  void show(size_t shard, double share);

 private:
  size_t n_shards_;
  bool terminal_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), last_{};
};

}  // namespace headcount::runner
