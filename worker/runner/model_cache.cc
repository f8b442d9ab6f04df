// Loads, verifies, forgets the least recently used.
#include "worker/runner/model_cache.h"

#include <algorithm>
#include <iterator>

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

/// What `open` gives; what is wrong with the files is a refusal.
template <class Open>
auto refusing(const Open& open) {
  try {
    return open();
  } catch (const ModelRefused&) {
    throw;
  } catch (const Error& error) {
    throw ModelRefused(error.what());
  }
}

}  // namespace

void ModelCache::need_memory(const models::ModelFiles& files, const std::string& dtype) const {
  const models::PassShape least{
      .micro_batch = 1, .length = 1, .supervised = 1, .backward = true, .checkpointing = true};
  const models::MemoryPlan plan = models::memory_plan(files.config, dtype, least);
  if (memory_.bytes > 0 && !models::fits(plan, memory_.bytes))
    throw ModelRefused("model " + files.directory +
                       " does not fit: " + models::describe(plan, dtype, least, memory_.bytes) +
                       "; choose a smaller dtype or a larger device");
}

void ModelCache::make_room(uint64_t bytes, size_t n_kept) {
  const auto crowded = [&] {
    uint64_t others = 0;
    for (auto warm = std::next(warm_.begin(), static_cast<std::ptrdiff_t>(n_kept));
         warm != warm_.end(); ++warm)
      others += warm->weights;
    return warm_.size() >= kWarmModels + n_kept ||
           (memory_.bytes > 0 && bytes + others > models::usable(memory_.bytes));
  };
  while (warm_.size() > n_kept && crowded()) warm_.pop_back();
}

const models::Model& ModelCache::get(const std::string& path, const Shard& shard) {
  const auto needed = [&](const models::Config& config) {
    const models::PassShape pass = experiments::pass_of(shard, config, memory_);
    return models::memory_plan(config, shard.dtype, pass).total();
  };
  const auto found = std::find_if(warm_.begin(), warm_.end(), [&](const Warm& warm) {
    return warm.path == path && warm.fingerprint == shard.model && warm.dtype == shard.dtype;
  });
  if (found != warm_.end()) {
    warm_.splice(warm_.begin(), warm_, found);
    make_room(needed(warm_.front().model.config), 1);
    return warm_.front().model;
  }
  const models::ModelFiles files = refusing([&] {
    models::ModelFiles opened = open_verified(path, shard.model);
    need_memory(opened, shard.dtype);
    return opened;
  });
  make_room(needed(files.config), 0);  // before loading, for memory is what is short
  const auto weights = static_cast<uint64_t>(models::parameter_count(files.config) *
                                             models::dtype_bytes(shard.dtype));
  warm_.push_front({path, shard.model, shard.dtype, weights, refusing([&] {
                      return models::load(files, parse_dtype(shard.dtype), device_);
                    })});
  return warm_.front().model;
}

}  // namespace headcount::runner
