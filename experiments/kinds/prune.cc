#include "experiments/kinds/prune.h"

#include <algorithm>
#include <cmath>

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

double at(const std::vector<double>& value, int64_t head) {
  return value[static_cast<size_t>(head)];
}

/// Every scored head, the first to remove first.
Heads order(const Arm& arm, const std::vector<double>& value, uint64_t seed) {
  Heads heads = scored_heads(value);
  if (arm.which == "most") {
    std::stable_sort(heads.begin(), heads.end(),
                     [&](int64_t a, int64_t b) { return at(value, a) > at(value, b); });
  } else if (arm.which == "least") {
    std::stable_sort(heads.begin(), heads.end(),
                     [&](int64_t a, int64_t b) { return at(value, a) < at(value, b); });
  } else if (arm.which == "random") {
    HC_CHECK(arm.prune_seed >= 0);
    const auto place = [&](int64_t head) {
      return random_bits(seed, Purpose::kPermutation, static_cast<uint64_t>(arm.prune_seed), 0,
                         static_cast<uint32_t>(head));
    };
    std::stable_sort(heads.begin(), heads.end(),
                     [&](int64_t a, int64_t b) { return place(a) < place(b); });
  } else {
    HC_CHECK(arm.which == "none");
    heads.clear();
  }
  return heads;
}

/// How many heads each layer gives.
Heads quotas(const Arm& arm, Scope scope, const std::vector<double>& value, int64_t n_heads,
             uint64_t seed) {
  const auto n_layers = static_cast<size_t>(static_cast<int64_t>(value.size()) / n_heads);
  if (scope == Scope::kLayer) return Heads(n_layers, arm.k);
  Heads quota(n_layers, 0);
  for (const int64_t head :
       pruned_heads({.which = "most", .k = arm.k}, Scope::kGlobal, value, n_heads, seed)) {
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

std::vector<int64_t> pruned_heads(const Arm& arm, Scope scope, const std::vector<double>& value,
                                  int64_t n_heads, uint64_t seed) {
  const Heads ordered = order(arm, value, seed);
  Heads chosen;
  if (scope == Scope::kGlobal || (scope == Scope::kLayerMatched && arm.which != "random")) {
    const auto k = std::min(ordered.size(), static_cast<size_t>(arm.k));
    chosen.assign(ordered.begin(), ordered.begin() + static_cast<ptrdiff_t>(k));
  } else {
    Heads left = quotas(arm, scope, value, n_heads, seed);
    for (const int64_t head : ordered) {
      if (left[static_cast<size_t>(head / n_heads)]-- > 0) chosen.push_back(head);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace headcount::experiments
