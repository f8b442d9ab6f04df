// What each computation's run.cc defines; dispatched by experiments/run/run.h.
#pragma once

#include "experiments/kinds/head_importance/head_importance.h"
#include "experiments/run/integrate.h"
#include "experiments/run/run.h"

namespace headcount::experiments::head_importance {
/// What a shard integrates: the rule and the paths of its rows, and J with its gate gradient on
/// `model`, which must outlive it.
struct Integrand {
  Integration integration;
  ScoreFunction score;
};
Rule rule_of(Quadrature quadrature);
/// Throws Error on a shard the model cannot take.
Integrand integrand(const Shard& shard, const models::Model& model,
                    const models::PassOptions& pass);
/// Arrays as experiments/kinds/head_importance/head_importance.h says.
Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const models::PassOptions& pass);
}  // namespace headcount::experiments::head_importance

namespace headcount::experiments::evaluate {
/// Arrays as experiments/kinds/evaluate/evaluate.h says.
Result run(const Shard& shard, const models::Model& model, const Progress& progress);
}  // namespace headcount::experiments::evaluate
