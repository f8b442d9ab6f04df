// Loads, verifies, forgets the least recently used.
#include "worker/runner/model_cache.h"

#include <algorithm>

#include "models/files/memory_plan.h"
#include "worker/runner/device.h"

namespace headcount::runner {
namespace {

constexpr size_t kWarmModels = 2;

models::ModelFiles open_verified(const std::string& path, const std::string& fingerprint) {
  models::ModelFiles files = models::open_model(path);
  const std::string found = models::fingerprint(files);
  if (found != fingerprint)
    throw ModelRefused("model " + path +
                       " is not the one this shard was planned for: its fingerprint is " +
                       found.substr(0, 16) + ", expected " + fingerprint.substr(0, 16) +
                       "; use the same files, or --model-path");
  return files;
}

}  // namespace

void ModelCache::make_room(const models::ModelFiles& files, const std::string& dtype) {
  const models::PassShape least{
      .micro_batch = 1, .length = 1, .supervised = 1, .backward = true, .checkpointing = true};
  const models::MemoryPlan plan = models::memory_plan(files.config, dtype, least);
  if (memory_bytes_ > 0 && !models::fits(plan, memory_bytes_))
    throw ModelRefused("model " + files.directory +
                       " does not fit: " + models::describe(plan, dtype, least, memory_bytes_) +
                       "; choose a smaller dtype or a larger device");
  // Before loading, for memory is what is short. A warm model may take what passes leave over.
  const auto crowded = [&] {
    uint64_t weights = 0;
    for (const Warm& warm : warm_) weights += warm.weights;
    return memory_bytes_ > 0 && plan.total() + weights > models::usable(memory_bytes_) / 2;
  };
  while (warm_.size() >= kWarmModels || (!warm_.empty() && crowded())) warm_.pop_back();
}

const models::Model& ModelCache::get(const std::string& path, const std::string& fingerprint,
                                     const std::string& dtype) {
  const auto found = std::find_if(warm_.begin(), warm_.end(), [&](const Warm& warm) {
    return warm.path == path && warm.fingerprint == fingerprint && warm.dtype == dtype;
  });
  if (found != warm_.end()) {
    warm_.splice(warm_.begin(), warm_, found);
    return warm_.front().model;
  }
  try {
    const models::ModelFiles files = open_verified(path, fingerprint);
    make_room(files, dtype);
    const auto weights =
        static_cast<uint64_t>(models::parameter_count(files.config) * models::dtype_bytes(dtype));
    warm_.push_front(
        {path, fingerprint, dtype, weights, models::load(files, parse_dtype(dtype), device_)});
  } catch (const ModelRefused&) {
    throw;
  } catch (const Error& error) {
    throw ModelRefused(error.what());
  }
  return warm_.front().model;
}

}  // namespace headcount::runner
