// Which heads a pruned model lacks: by score, most or least important first, or at random with
// nested sets (methods/ numerics-and-validation.md 3.1). Used by head_pruning and by evaluate.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace headcount::experiments {

/// How sets are drawn. kGlobal: k heads of the model. kLayer: k heads of every layer.
/// kLayerMatched: most and least as global, random sets with as many heads of each layer as the
/// most important set of the same k.
enum class Scope { kGlobal, kLayer, kLayerMatched };

/// "global" | "layer" | "layer_matched"; throws Error on any other.
Scope scope_of(const std::string& text);

/// One set of heads that is pruned.
struct Arm {
  std::string which = {};  // none | most | least | random
  int64_t k = 0;
  int64_t prune_seed = -1;  // of random arms, 0 ..; else -1
  bool operator==(const Arm&) const = default;
};

/// The heads an arm removes, ascending flat indices (layer * n_heads + head). `value`: score by
/// layer-major head, NaN where unscored (never removed). Equal scores: lower index first, for most
/// and least. Random: order by Philox (kPermutation, row id = prune_seed, element = head), so the
/// sets of one seed are nested and none depends on the list of k. A k beyond the scored heads takes
/// them all.
std::vector<int64_t> pruned_heads(const Arm& arm, Scope scope, const std::vector<double>& value,
                                  int64_t n_heads, uint64_t seed);

}  // namespace headcount::experiments
