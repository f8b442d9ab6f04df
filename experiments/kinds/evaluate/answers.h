// What the rows of a point answered, from the shards of one question and one set of pruned heads:
// shared by evaluate and head_pruning.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "experiments/kind.h"
#include "experiments/kinds/evaluate/questions.h"

namespace headcount::experiments::evaluate {

/// One row's answer; what the question does not ask stays zero.
struct Answer {
  double loss =
      0;  // mean over probabilities and draws of cross-entropy per supervised position, nats
  double nll = 0, tokens = 0;  // summed over probabilities and draws
  double match = 0;            // 1: exact match
  int32_t predicted = -1;      // choice with the best score; lower index on ties
};

/// The result of the shard of one row block and repetition, or nullopt where it is missing.
using BlockResult = std::function<std::optional<Result>(int64_t block, int64_t repeat)>;

/// One a row of the dataset, nullopt where any of its shards is missing. `mean_choices`: a choice's
/// score is the mean of its log-probabilities, else their sum.
std::vector<std::optional<Answer>> answers(const Point& point, const Asked& asked,
                                           bool mean_choices, const BlockResult& result);

}  // namespace headcount::experiments::evaluate
