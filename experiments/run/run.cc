// The computations by name, from the same lines that plan them: each one's run() is its folder's
// run.cc.
#include "experiments/run/run.h"

#include <string>

#include "schemas/error.h"

#define KIND(name)
#define COMPUTING_KIND(name)                                                            \
  namespace headcount::experiments::name {                                              \
  Result run(const Shard&, const models::Model&, const Progress&, const DeviceMemory&); \
  }
#include "experiments/kinds/kinds.def"
#undef COMPUTING_KIND

namespace headcount::experiments {

Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const DeviceMemory& device) {
  if (shard.rows.empty()) throw Error("a shard of kind " + shard.kind + " has no rows");
  if (shard.micro_batch < 1)
    throw Error("a shard of kind " + shard.kind + " has micro-batch " +
                std::to_string(shard.micro_batch));
#define COMPUTING_KIND(name) \
  if (shard.kind == #name) return name::run(shard, model, progress, device);
#include "experiments/kinds/kinds.def"
#undef KIND
#undef COMPUTING_KIND
  throw Error("this runner does not know computations of kind \"" + shard.kind +
              "\": it and the coordinator are of different versions");
}

}  // namespace headcount::experiments
