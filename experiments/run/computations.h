// What each computation's run.cc defines; dispatched by experiments/run/run.h.
#pragma once

#include "experiments/run/run.h"

namespace headcount::experiments::head_importance {
/// Arrays as experiments/kinds/head_importance/head_importance.h says.
Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const models::PassOptions& pass);
}  // namespace headcount::experiments::head_importance

namespace headcount::experiments::evaluate {
/// Arrays as experiments/kinds/evaluate/evaluate.h says.
Result run(const Shard& shard, const models::Model& model, const Progress& progress);
}  // namespace headcount::experiments::evaluate
