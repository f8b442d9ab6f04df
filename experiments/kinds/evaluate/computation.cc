// The computation of evaluate as planning sees it: what a shard yields and takes.
#include "experiments/computation.h"

#include <algorithm>
#include <set>

#include "experiments/kinds/evaluate/evaluate.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {
namespace {

/// Causal models read each choice. Masked ones see all choices of one length at once, but a choice
/// scored by drawn masks once a mask.
int64_t choice_passes(const Row& row, const Params& params) {
  if (params.mask_id < 0) return static_cast<int64_t>(row.choices.size());
  std::set<size_t> lengths;
  int64_t n_drawn = 0;
  for (const auto& choice : row.choices) {
    const bool drawn = params.mc_samples > 0 && choice.size() > 1;
    if (drawn)
      ++n_drawn;
    else
      lengths.insert(choice.size());
  }
  const int64_t round = std::min(kMcStratum, params.mc_samples);
  const int64_t n_masks = n_drawn > 0 ? (params.mc_samples + round - 1) / round * round : 0;
  return static_cast<int64_t>(lengths.size()) + n_drawn * n_masks;
}

Work work(const Shard& shard) {
  const Params params = params_of(shard);
  int64_t forward = 0;
  for (const auto& row : shard.rows) {
    if (params.question == Question::kChoices) {
      forward += choice_passes(row, params);
    } else if (params.question == Question::kExactMatch) {
      forward += std::max(1, row.span_end - row.span_begin);  // one token a pass
    } else {
      ++forward;
    }
  }
  return {.passes = {.forward = forward, .most_forward = forward}, .samples = forward};
}

std::vector<ArrayPlan> arrays_of(const Shard& shard) {
  const auto rows = static_cast<int64_t>(shard.rows.size());
  switch (params_of(shard).question) {
    case Question::kMaskedCe:
    case Question::kNextToken:
      return {{"nll", {rows}}, {"tokens", {rows}}};
    case Question::kExactMatch:
      return {{"match", {rows}}};
    case Question::kChoices: {
      size_t most = 0;
      for (const Row& row : shard.rows) most = std::max(most, row.choices.size());
      return {{"log_prob", {rows, static_cast<int64_t>(most)}}};
    }
  }
  check_failed("a question of evaluate", __FILE__, __LINE__);
}

}  // namespace

const Computation& computation() {
  static const Computation one{.name = "evaluate",
                               .numerics_version = kNumericsVersion,
                               .micro_batch = kMicroBatch,
                               .arrays = arrays_of,
                               .work = work};
  return one;
}

}  // namespace headcount::experiments::evaluate
