// What a head_importance shard integrates, for run.cc and for the measurement of rules
// (worker/runner/quadrature.cc). Of the run side.
#pragma once

#include "experiments/kinds/head_importance/head_importance.h"
#include "experiments/run/integrate.h"
#include "models/model.h"
#include "models/passes.h"

namespace headcount::experiments::head_importance {

/// The rule and the paths of the shard's rows, and J with its gate gradient on `model`, which must
/// outlive it.
struct Integrand {
  Integration integration;
  ScoreFunction score;
};
/// Throws Error on a shard the model cannot take.
Integrand integrand(const Shard& shard, const models::Model& model,
                    const models::PassOptions& pass);

}  // namespace headcount::experiments::head_importance
