#include "experiments/kinds/prune.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::experiments {
namespace {

using Heads = std::vector<int64_t>;

Heads scored_heads(const std::vector<double>& value) {
  Heads heads;
  for (size_t i = 0; i < value.size(); ++i) {
    if (!std::isnan(value[i])) heads.push_back(static_cast<int64_t>(i));
  }
  return heads;
}

/// Every scored head by its score, the smallest or the largest first.
Heads ranked(const Scores& scores, bool largest_first) {
  const auto key = [&](int64_t head) {
    const auto i = static_cast<size_t>(head);
    const double tie = scores.signed_mean.empty() ? 0 : scores.signed_mean[i];
    return std::pair(scores.value[i], tie);
  };
  Heads heads = scored_heads(scores.value);
  std::stable_sort(heads.begin(), heads.end(), [&](int64_t a, int64_t b) {
    return largest_first ? key(b) < key(a) : key(a) < key(b);
  });
  return heads;
}

/// Every scored head, the first to remove first.
Heads order(const Arm& arm, const Scores& scores, uint64_t seed) {
  if (arm.which == "none") return {};
  if (arm.which == "most" || arm.which == "least") return ranked(scores, arm.which == "most");
  HC_CHECK(arm.is_random() && arm.prune_seed >= 0);
  const auto place = [&](int64_t head) {
    return random_bits(seed, Purpose::kPermutation, static_cast<uint64_t>(arm.prune_seed), 0,
                       static_cast<uint32_t>(head));
  };
  Heads heads = scored_heads(scores.value);
  std::stable_sort(heads.begin(), heads.end(),
                   [&](int64_t a, int64_t b) { return place(a) < place(b); });
  return heads;
}

/// How many heads each layer gives.
Heads quotas(const Arm& arm, Scope scope, const Scores& scores, int64_t n_heads, uint64_t seed) {
  const auto n_layers = static_cast<size_t>(static_cast<int64_t>(scores.value.size()) / n_heads);
  if (scope == Scope::kLayer) return Heads(n_layers, arm.k);
  Heads quota(n_layers, 0);
  const Arm copied{.which = arm.which == "random_as_most" ? "most" : "least", .k = arm.k};
  for (const int64_t head : pruned_heads(copied, Scope::kGlobal, scores, n_heads, seed)) {
    ++quota[static_cast<size_t>(head / n_heads)];
  }
  return quota;
}

}  // namespace

Scope scope_of(const std::string& text) {
  if (text == "global") return Scope::kGlobal;
  if (text == "layer") return Scope::kLayer;
  if (text == "layer_matched") return Scope::kLayerMatched;
  throw Error("unknown scope \"" + text + "\": expected global, layer or layer_matched");
}

std::vector<int64_t> pruned_heads(const Arm& arm, Scope scope, const Scores& scores,
                                  int64_t n_heads, uint64_t seed) {
  const Heads ordered = order(arm, scores, seed);
  const bool by_layer = scope == Scope::kLayer || (arm.is_random() && arm.which != "random");
  Heads chosen;
  if (by_layer) {
    Heads left = quotas(arm, scope, scores, n_heads, seed);
    for (const int64_t head : ordered) {
      if (left[static_cast<size_t>(head / n_heads)]-- > 0) chosen.push_back(head);
    }
  } else {
    const auto k = std::min(ordered.size(), static_cast<size_t>(arm.k));
    chosen.assign(ordered.begin(), ordered.begin() + static_cast<ptrdiff_t>(k));
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace headcount::experiments
