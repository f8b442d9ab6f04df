// Kind noop, hidden: the sweeps of `headcount bench dispatch`, whose shards ask for nothing, so
// that what is measured is planning, lending and recording. The worker's daemon answers them itself
// (worker/agent); a result is one array of no extent, "noop", 0.
//
// Such a sweep has no spec text: it is known by how many shards it has and by its number in the
// database, which is their seed, since another sweep's are not the same work.
#pragma once

#include <cstdint>

#include "experiments/sweep.h"

namespace headcount::experiments::noop {

/// The whole plan: one stage of one point. Its model is no file and bound to kNoopTag, so the spec
/// names none.
Sweep sweep(int64_t id, int64_t n_shards);

}  // namespace headcount::experiments::noop
