// The largest pass of each stage against a device.
#include "experiments/memory.h"

#include <algorithm>
#include <map>

namespace headcount::experiments {
namespace {

/// Widens the pass to a row: positions of the longest sequence it becomes, and of the most whose
/// logits are computed.
void widen(models::PassShape& pass, const Row& row) {
  int64_t longest = 0, all = 0;
  for (const auto& choice : row.choices) {
    longest = std::max(longest, static_cast<int64_t>(choice.size()));
    all += static_cast<int64_t>(choice.size());
  }
  const auto labelled = std::count_if(row.labels.begin(), row.labels.end(),
                                      [](int32_t label) { return label != kIgnore; });
  const int64_t supervised = std::max<int64_t>({labelled, row.span_end - row.span_begin, all});
  pass.length = std::max(pass.length, static_cast<int64_t>(row.ids.size()) + longest);
  pass.supervised = std::max(pass.supervised, supervised);
}

/// Passes widened to all rows of datasets that many points share.
class Widest {
 public:
  const models::PassShape& of(const datasets::Dataset& dataset) {
    const auto [found, is_new] = widest_.try_emplace(&dataset);
    if (is_new) {
      for (const Row& row : dataset.rows) widen(found->second, row);
    }
    return found->second;
  }

 private:
  std::map<const datasets::Dataset*, models::PassShape> widest_;
};

/// The samples of a shard's largest pass, at most a micro-batch.
int64_t most_samples(const Shard& shard, int64_t micro_batch) {
  return std::min(micro_batch, std::max<int64_t>(1, computation_of(shard).work(shard).samples));
}

/// Those of the point's largest shard.
int64_t most_samples(const Stage& stage, size_t index, int64_t micro_batch) {
  int64_t most = 1;
  for (int64_t i = stage.first_shard.at(index);
       i < stage.first_shard.at(index + 1) && most < micro_batch; ++i)
    most = std::max(most, most_samples(shard(stage, i), micro_batch));
  return most;
}

/// The pass of a stage's point with the micro-batch asked for.
models::PassShape pass_of(const Stage& stage, size_t index, bool gpu, Widest& widest) {
  const Point& point = stage.points[index];
  models::PassShape pass = widest.of(*point.dataset);
  pass.micro_batch =
      point.micro_batch > 0 ? point.micro_batch : stage.kind->computation.micro_batch;
  pass.backward = stage.kind->computation.backward;
  pass.gpu = gpu;
  const bool known = !point.scores || !point.scores->value.empty();
  if (known) pass.micro_batch = most_samples(stage, index, pass.micro_batch);
  return pass;
}

models::Fit fit_of(const ModelInfo& model, const models::PassShape& pass,
                   const DeviceMemory& device) {
  if (device.bytes == 0) return {.micro_batch = pass.micro_batch};
  return models::largest_fit(model.config, model.dtype, pass, pass.micro_batch, device.bytes);
}

ModelMemory memory_of(const ModelInfo& model, const models::PassShape& pass,
                      const DeviceMemory& device) {
  ModelMemory memory{.model = model.name,
                     .dtype = model.dtype,
                     .config = model.config,
                     .pass = pass,
                     .fit = fit_of(model, pass, device),
                     .plan = {}};
  memory.plan = models::memory_plan(model.config, model.dtype, fitted(pass, memory.fit));
  return memory;
}

}  // namespace

models::PassShape pass_of(const Shard& shard, const models::Config& config,
                          const DeviceMemory& device) {
  models::PassShape pass{.backward = computation_of(shard).backward, .gpu = device.gpu};
  for (const Row& row : shard.rows) widen(pass, row);
  pass.micro_batch = most_samples(shard, shard.micro_batch);
  pass.checkpointing = pass.backward && device.bytes > 0 &&
                       !models::fits(models::memory_plan(config, shard.dtype, pass), device.bytes);
  return pass;
}

std::vector<ModelMemory> model_memory(const Sweep& sweep, const DeviceMemory& device) {
  std::vector<ModelMemory> all;
  Widest widest;
  for (const auto& model : sweep.models) {
    models::PassShape most;
    uint64_t most_bytes = 0;
    for (const Stage& stage : sweep.stages) {
      for (size_t i = 0; i < stage.points.size(); ++i) {
        if (stage.points[i].model != model.get()) continue;
        const models::PassShape pass = pass_of(stage, i, device.gpu, widest);
        const uint64_t bytes = models::memory_plan(model->config, model->dtype, pass).total();
        if (bytes <= most_bytes) continue;
        most = pass;
        most_bytes = bytes;
      }
    }
    if (most_bytes > 0) all.push_back(memory_of(*model, most, device));
  }
  return all;
}

std::string to_text(const std::vector<ModelMemory>& models, const DeviceMemory& device) {
  std::string text;
  for (const ModelMemory& one : models) {
    text += "memory of " + one.model + ": " +
            models::describe(one.plan, one.dtype, fitted(one.pass, one.fit), device.bytes);
    if (one.fit.micro_batch == 0) {
      text += ": DOES NOT FIT\n";
    } else if (one.fit.micro_batch < one.pass.micro_batch) {
      text += ": fits with a micro-batch of " + std::to_string(one.fit.micro_batch) +
              " instead of " + std::to_string(one.pass.micro_batch) + "\n";
    } else {
      text += ": fits\n";
    }
  }
  return text;
}

std::string refusal(const ModelMemory& model, const DeviceMemory& device) {
  if (model.fit.micro_batch > 0) return "";
  return "model " + model.model + " does not fit: " +
         models::describe(model.plan, model.dtype, fitted(model.pass, model.fit), device.bytes) +
         "; choose a smaller dtype, shorter rows or a larger device" +
         ", or fewer runners on the device, which share its memory (--runners 1)";
}

StageFit fit(const Stage& stage, const std::function<DeviceMemory(const ModelInfo&)>& device) {
  StageFit found;
  Widest widest;
  for (size_t i = 0; i < stage.points.size(); ++i) {
    const ModelInfo& model = *stage.points[i].model;
    const DeviceMemory memory = device(model);
    const ModelMemory one = memory_of(model, pass_of(stage, i, memory.gpu, widest), memory);
    found.refusal = refusal(one, memory);
    if (!found.refusal.empty()) break;
    if (one.fit.micro_batch == one.pass.micro_batch) continue;
    found.micro_batch = found.micro_batch == 0 ? one.fit.micro_batch
                                               : std::min(found.micro_batch, one.fit.micro_batch);
  }
  return found;
}

}  // namespace headcount::experiments
