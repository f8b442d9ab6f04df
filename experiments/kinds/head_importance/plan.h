// How a head_importance point is cut into shards, for plan and aggregate.
#pragma once

#include <cstdint>

#include "experiments/kind.h"
#include "experiments/kinds/head_importance/head_importance.h"

namespace headcount::experiments::head_importance {

/// The nested loops over a point's shards, the last fastest. Row blocks are slowest, so that a
/// running sweep has whole rows early.
struct Loops {
  int64_t n_blocks = 0, n_probs = 1, n_draws = 1, n_path_blocks = 1;
};
Loops loops(const Point& point);

/// What the shards of one mask probability, draw and block of paths say; probabilities by their
/// place in the point's list.
Params params_at(const Point& point, int64_t prob, int64_t draw, int64_t path_block);

/// Whether the point's rows have masks.
bool masked(const Point& point);

}  // namespace headcount::experiments::head_importance
