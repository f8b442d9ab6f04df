#include "worker/runner/shard_models.h"

#include <unistd.h>

#include <cstdio>

#include "worker/runner/inputs.h"
#include "worker/runner/tag.h"

namespace headcount::runner {
namespace {

/// Where each model path of the shard file is on this machine.
std::map<std::string, std::string> moved_models(const std::vector<std::string>& given) {
  std::map<std::string, std::string> moved;
  for (const std::string& pair : given) {
    const size_t at = pair.find('=');
    if (at == std::string::npos || at == 0)
      throw BadInput("--model-path " + pair + ": write NAME=DIR");
    moved[pair.substr(0, at)] = pair.substr(at + 1);
  }
  return moved;
}

}  // namespace

ShardModels::ShardModels(const ShardFile& file, const std::vector<std::string>& moved,
                         c10::Device device)
    : file_(file),
      moved_(moved_models(moved)),
      memory_{.bytes = nominal_memory(device), .gpu = !device.is_cpu()},
      cache_(device, memory_) {
  if (file.shards.empty()) throw BadInput("the shard file holds no shards");
}

const models::Model& ShardModels::get(const Shard& shard) {
  const auto path = file_.model_paths.find(shard.model);
  if (path == file_.model_paths.end())
    throw BadInput("the shard file names no path for model " + shard.model.substr(0, 16));
  const auto elsewhere = moved_.find(path->second);
  return read_input([&]() -> const models::Model& {
    return cache_.get(elsewhere == moved_.end() ? path->second : elsewhere->second, shard);
  });
}

models::PassOptions ShardModels::pass(const Shard& shard, const models::Model& model) const {
  return {.checkpointing = pass_of(shard, model.config, memory_).checkpointing};
}

Progress::Progress(size_t n_shards) : n_shards_(n_shards), terminal_(isatty(2) != 0) {}

void Progress::show(size_t shard, double share) {
  const auto now = std::chrono::steady_clock::now();
  const bool end = shard == n_shards_;
  if (!end && now - last_ < std::chrono::milliseconds(terminal_ ? 200 : 10000)) return;
  last_ = now;
  const std::chrono::duration<double> seconds = now - begin_;
  std::fprintf(stderr, "%s%zu of %zu shards, %.0f %%, %.1f s%s", terminal_ ? "\r" : "", shard,
               n_shards_,
               100 * (static_cast<double>(shard) + share) / static_cast<double>(n_shards_),
               seconds.count(), terminal_ && !end ? " " : "\n");
}

}  // namespace headcount::runner
