// Kind head_pruning: the causal check of head scores. Heads are removed (gate 0) most important first, least important first and in random
// order, and the model is evaluated on rows it was not scored on; its shards are of kind evaluate, with common masks for every arm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/kind.h"

namespace headcount::experiments::head_pruning {

/// How sets are drawn. kGlobal: k heads of the model. kLayer: k heads of every layer. kLayerMatched: most and least as global, random sets
/// with as many heads of each layer as the most-important set of the same k.
enum class Scope { kGlobal, kLayer, kLayerMatched };

/// One set of heads that is pruned.
struct Arm {
  std::string which;        // none | most | least | random
  int64_t k = 0;
  int64_t prune_seed = -1;  // of random arms, 0 ..; else -1
  bool operator==(const Arm&) const = default;
};

/// The arms in their fixed order: the unpruned model once, then `which` as written, ascending k within; random: seed by seed.
std::vector<Arm> arms(const std::vector<std::string>& which, std::vector<int64_t> k, int64_t prune_seeds);

/// The heads an arm removes, ascending flat indices. `value`: score by layer-major head, NaN where unscored (never removed).
/// Equal scores: lower index first for both most and least. Random: order by Philox (kPermutation, row id = prune_seed, element = head), so
/// the sets of one seed are nested and no set depends on the list of k. k beyond the scored heads takes them all.
std::vector<int64_t> pruned_heads(const Arm& arm, Scope scope, const std::vector<double>& value, int64_t n_heads,
                                  uint64_t seed);

/// "global" | "layer" | "layer_matched".
Scope scope_of(const std::string& text);

}  // namespace headcount::experiments::head_pruning
