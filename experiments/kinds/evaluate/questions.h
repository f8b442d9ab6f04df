// Which questions a point's metrics ask, and the shards that answer them for one set of pruned
// heads: shared by evaluate and head_pruning.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/kind.h"
#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/kinds/prune.h"

namespace headcount::experiments::evaluate {

/// One question of a point with its repetitions.
struct Asked {
  Question question = Question::kMaskedCe;
  std::vector<double> mask_probs = {};  // of masked_ce; else empty
  int64_t n_draws = 1;                  // of masked_ce; else 1
  /// Shards of one row block: mask probabilities x draws, draws fastest.
  int64_t n_repeats() const {
    return static_cast<int64_t>(std::max<size_t>(1, mask_probs.size())) * n_draws;
  }
};

/// The question that answers a metric (loss | perplexity | exact_match | accuracy | f1) on the
/// point's rows.
Question question_of(const Point& point, const std::string& metric);

/// The questions of these metrics, each once, in the order they are first asked.
std::vector<Asked> questions(const Point& point, const std::vector<std::string>& metrics);

/// mask_probs and mask_samples: the point's own, else those of the stage that gave its scores.
std::optional<std::vector<double>> mask_probs(const Point& point);
std::optional<int64_t> mask_samples(const Point& point);

/// What these metrics cannot ask of this model and dataset, and mask_probs and mask_samples where
/// they are missing or senseless.
void check(const Point& point, const std::vector<std::string>& metrics, const Complain& complain);

/// Everything the point's rows can answer.
std::vector<std::string> all_metrics(const Point& point);
/// The metrics of a point: its own, or all.
std::vector<std::string> metrics(const Point& point);

/// A k that leaves no scored head. The point has scores and scope.
void check_k(const Point& point, int64_t k, const Complain& complain);

/// The arm of an evaluate point: none where it reads no scores.
Arm arm_of(const Point& point);

/// Whether the point's scores have values for as many heads as the arm removes. Where they do not
/// (the scoring stage misses that point's shards) the arm has no numbers: see answers() and
/// warn_unscored(). The point has scope, and scores unless the arm removes none.
bool is_scored(const Point& point, const Arm& arm);

/// The heads an arm of the point removes; none where it is not scored, so that its shards are those
/// of the whole model and cost nothing. The point has scope, and scores with values unless the arm
/// removes none.
std::vector<int64_t> heads_of_arm(const Point& point, const Arm& arm);

/// Row blocks of any question.
int64_t n_blocks(const Point& point);

/// The parameter mc_samples of every kind that asks for choices.
ParamInfo mc_samples_param();

/// The shard of one row block and one repetition.
Shard shard(const Point& point, const Asked& asked, const std::vector<int64_t>& pruned,
            int64_t block, int64_t repeat);

}  // namespace headcount::experiments::evaluate
