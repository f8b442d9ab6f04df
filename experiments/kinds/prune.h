// Which heads a pruned model lacks: by score, most or least important first, or at random with
// nested sets (docs/methods.md 6). Used by head_pruning and by evaluate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "experiments/kind.h"

namespace headcount::experiments {

/// How sets are drawn. kGlobal: k heads of the model. kLayer: k heads of every layer.
/// kLayerMatched: as global, but compared with random sets that take from each layer as many heads
/// as the ranked set of the same k: random_as_most and random_as_least.
enum class Scope { kGlobal, kLayer, kLayerMatched };

/// "global" | "layer" | "layer_matched"; throws Error on any other.
Scope scope_of(const std::string& text);

/// One set of heads that is pruned.
struct Arm {
  /// none | most | least | random | random_as_most | random_as_least. The last two: random heads,
  /// of each layer as many as `most` or `least` of this k takes from it (scope = "layer": random).
  std::string which = {};
  int64_t k = 0;
  int64_t prune_seed = -1;  // of random arms, 0 ..; else -1
  bool operator==(const Arm&) const = default;

  bool is_random() const { return which.starts_with("random"); }
};

/// The heads an arm removes, ascending flat indices (layer * n_heads + head). `scores`: value and
/// signed_mean are read; heads whose value is NaN are never removed. Equal values go by the signed
/// mean (view = "relu" makes every negative head a 0), then by the lower index, for most and least.
/// Random: order by Philox (kPermutation, row id = prune_seed, element = head), so the sets of one
/// seed are nested and none depends on the list of k. A k beyond the scored heads takes them all.
std::vector<int64_t> pruned_heads(const Arm& arm, Scope scope, const Scores& scores,
                                  int64_t n_heads, uint64_t seed);

}  // namespace headcount::experiments
