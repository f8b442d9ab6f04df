// Kind head_pruning: the causal check of head scores. Heads are removed (gate 0) most important
// first, least important first and in random order, and the model is evaluated on rows it was not
// scored on. Its shards are of kind evaluate (it computes nothing of its own), with the same masks for
// every arm, so that arms are compared row by row.
#pragma once

#include <string>
#include <vector>

#include "experiments/kind.h"
#include "experiments/kinds/evaluate/questions.h"
#include "experiments/kinds/prune.h"

namespace headcount::experiments::head_pruning {

/// Random arms of so few heads are a lottery, most draws losing nothing and one in thirty
/// everything: low and high of their mean are the range of the orders, not an interval of the mean.
constexpr int64_t kLotteryK = 2;

/// What the arms of a point are called: `which` as written; scope = "layer_matched" makes of random
/// two, random_as_most and random_as_least, each to be compared with its own ranking.
std::vector<std::string> arm_names(const Point& point);

/// The arms of a point in their fixed order: the unpruned model once (which = none, k = 0), then
/// arm_names(), k ascending; random: seed by seed.
std::vector<Arm> arms(const Point& point);

/// The metrics of a point: its own, or loss (accuracy where the rows hold only choices).
std::vector<std::string> metrics(const Point& point);

/// Where the shard of (question, row block, arm, repetition) is among the point's shards: questions
/// slowest, repetitions fastest.
int64_t shard_index(const Point& point, const std::vector<evaluate::Asked>& questions,
                    size_t question, int64_t block, size_t arm, int64_t repeat);

}  // namespace headcount::experiments::head_pruning
