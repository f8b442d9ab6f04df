// Kind evaluate: a model as it is, or with some heads pruned (gate 0): loss, perplexity, exact
// match, accuracy, F1. head_pruning plans shards of this kind too: a pruning point is an
// evaluation. This header is the contract between plan.cc, aggregate.cc and run.cc.
//
// A shard is one block of rows asked one question, with one set of pruned heads. Arrays of its
// result, float64:
//   masked_ce, next_token  nll [rows]     sum of cross-entropy over the row's supervised
//                                         positions, nats
//                          tokens [rows]  how many those are
//   exact_match            match [rows]   1 where greedy unmasking of the span gives the row's own
//                                         ids (rows with given labels: where the best token at
//                                         every supervised position is its label), else 0
//   choices                log_prob [rows, most choices of any row of the block]
//                                         sum of the choice's log-probabilities; 0 past a row's
//                                         own
//
// Greedy unmasking: the whole span masked; each step takes the masked position whose best token has
// the highest float32 probability (lower position on ties) and writes that token (lowest id on
// ties), one token a step. The mask token itself is never written. Choices: causal models read the
// choice as a continuation of ids[0, choice_at); masked models see it in place: one token exactly,
// more by the Monte Carlo any-order bound of models/likelihood.h with mc_samples masks (all choices
// of a row and of one length under the same masks), or, without mc_samples, with all its positions
// masked in one pass.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "experiments/computation.h"
#include "schemas/fields.h"
#include "schemas/shard.h"

namespace headcount::experiments::evaluate {

/// 2: labels of a row are read at Dream's unshifted logits; a GPU sums 16-bit products in float32.
/// 3: cross-entropy is taken in float64 from the logits: small losses keep their digits.
constexpr int64_t kNumericsVersion = 3;
/// Rows of a shard; aligned blocks.
constexpr int64_t kBlockRows = 16;
/// Sequences computed together on a CPU unless the spec says otherwise.
constexpr int64_t kMicroBatch = 64;

/// Masks drawn for a choice of more than one token unless the spec says otherwise, and the most.
constexpr int64_t kMcSamples = 128, kMostMcSamples = 65536;
/// Masks of a round of the bound (models/likelihood.h); a last round is made whole.
constexpr int64_t kMcStratum = 32;

enum class Question { kMaskedCe, kNextToken, kExactMatch, kChoices };

/// What Shard::params of this kind mean (`metric` there: masked_ce | next_token | exact_match |
/// choices). next_token serves every row with given labels. Members not used are absent.
struct Params {
  int64_t n_layers = 0, n_heads = 0;
  std::vector<int64_t> pruned =
      {};  // flat indices layer * n_heads + head, ascending, each once; absent when empty
  Question question = Question::kMaskedCe;
  std::optional<double> mask_prob = {};  // [masked_ce]
  int64_t draw = 0;                      // [masked_ce]
  int64_t mask_id = -1;                  // [masked_ce, exact_match, choices of a masked model]
  int64_t mc_samples = 0;  // [choices of a masked model] absent when 0: all positions in one pass
  bool operator==(const Params&) const = default;
};

/// The parameters as a shard carries them, and back. params_of throws Error naming the member that
/// is missing, unknown or impossible.
Fields to_fields(const Params& params);
Params params_of(const Shard& shard);

/// The computation of such shards.
const Computation& computation();

}  // namespace headcount::experiments::evaluate
