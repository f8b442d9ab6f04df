// The computations by name; adding one is a line here and a run.cc in its kind's folder.
#include "experiments/run/run.h"

#include <string>

#include "experiments/run/computations.h"
#include "schemas/error.h"

namespace headcount::experiments {

Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const DeviceMemory& device) {
  if (shard.rows.empty()) throw Error("a shard of kind " + shard.kind + " has no rows");
  if (shard.micro_batch < 1)
    throw Error("a shard of kind " + shard.kind + " has micro-batch " +
                std::to_string(shard.micro_batch));
  if (shard.kind == "head_importance")
    return head_importance::run(
        shard, model, progress,
        {.checkpointing = pass_of(shard, model.config, device).checkpointing});
  if (shard.kind == "evaluate") return evaluate::run(shard, model, progress);
  throw Error("this runner does not know computations of kind \"" + shard.kind +
              "\": it and the coordinator are of different versions");
}

}  // namespace headcount::experiments
