// What running a sweep would take, for `headcount plan`: shards, how many of them are equal or
// stored already, passes through the models.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "experiments/sweep.h"

namespace headcount::experiments {

struct StageSummary {
  std::string name, kind;
  int64_t n_points = 0;
  int64_t n_rows = 0;    // of the datasets it reads, each counted once
  int64_t n_shards = 0;  // through all its points
  /// Of those, the ones that no earlier point or stage has, and of these the ones stored already.
  /// nullopt: their keys depend on scores that are not there yet.
  std::optional<int64_t> n_unique = {}, n_cached = {};
  Passes passes = {};  // of what is left to compute; of all shards where that is not known
};

struct PlanSummary {
  std::string sweep;
  std::vector<StageSummary> stages;
};

/// `is_cached` says whether a result of that key is stored; it is asked once a key. Deterministic.
PlanSummary summarize(const Sweep& sweep, const std::function<bool(const ShardKey&)>& is_cached);

/// A table for people, a line a stage and one for their sum, and what its marks mean.
std::string to_text(const PlanSummary& summary);
/// {"sweep", "stages": [{"name", "kind", "points", "rows", "shards", "unique", "cached", "to_run",
/// "forward_passes", "backward_passes", "forward_passes_at_most", "backward_passes_at_most"}]}:
/// unique, cached, to_run null where not known yet.
std::string to_json(const PlanSummary& summary);

}  // namespace headcount::experiments
