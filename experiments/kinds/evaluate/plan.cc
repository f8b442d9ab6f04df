// What an evaluate stage may say, and which shards a point needs.
#include <algorithm>
#include <string>

#include "experiments/kind.h"
#include "experiments/kinds/evaluate/questions.h"
#include "experiments/kinds/shared_params.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

std::span<const ParamInfo> params() {
  static const std::vector<ParamInfo> infos = {
      {.name = "metrics",
       .type = ParamType::kTexts,
       .choices = {"loss", "perplexity", "exact_match", "accuracy", "f1"},
       .meaning =
           "What is measured. Absent: all that the rows can answer (loss and perplexity: "
           "labels or a masked "
           "span; exact_match: a masked span; accuracy and f1: choices). exact_match has the "
           "whole span masked at first. Choices of one token are asked of a masked model "
           "with that one position masked and the rest of the row in sight: of addition, "
           "the other four digits of the answer.",
       .example = "[\"accuracy\", \"f1\"]"},
      mask_probs_param(
          "Mask probabilities of the loss of masked rows, which need them; refused for "
          "other rows. Absent with "
          "scores: those of the stage that gave the scores.",
          "[0.15, 0.3, 0.5, 0.7, 0.9]"),
      mask_samples_param(
          "Masks drawn for each row and probability. Needed, refused and taken over as "
          "mask_probs."),
      choice_normalize_param(),
      mc_samples_param(),
      {.name = "f1",
       .type = ParamType::kText,
       .otherwise = Field(std::string("macro")),
       .choices = {"macro", "micro", "positive"},
       .meaning = "Which F1: mean over classes, all classes' counts together, or that of the class "
                  "`positive`.",
       .example = "\"positive\""},
      {.name = "positive",
       .type = ParamType::kInteger,
       .at_least = 0,
       .at_most = 65535,
       .meaning = "The positive class of f1 = \"positive\": an index into the choices.",
       .example = "1"},
      {.name = "bootstrap",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{1000}),
       .at_least = 2,
       .at_most = 1000000,
       .unit = "resamples",
       .meaning = "Resamples of the rows behind the standard errors and intervals of f1 and "
                  "perplexity.",
       .example = "10000"},
      {.name = "pruned",
       .type = ParamType::kIntegers,
       .at_least = 0,
       .at_most = 1e9,
       .unit = "heads",
       .meaning = "Heads removed (gate zero), as layer x number of heads + head. Absent: none.",
       .example = "[0, 9, 17]",
       .may_be_empty = true},
      {.name = "which",
       .type = ParamType::kText,
       .otherwise = Field(std::string("most")),
       .choices = {"most", "least", "random", "random_as_most", "random_as_least"},
       .meaning = "With scores: which heads are removed. The last two: at random, of each layer as "
                  "many as most or least takes.",
       .example = "\"least\""},
      {.name = "k",
       .type = ParamType::kInteger,
       .at_least = 0,
       .at_most = 1e9,
       .unit = "heads",
       .meaning = "With scores, and required then: how many heads are removed (scope = \"layer\": "
                  "of each layer).",
       .example = "[0, 4, 8]"},
      scope_param(
          "With scores: k heads of the model, or k of every layer; layer_matched: as global, "
          "which = \"random\" meaning random_as_most.",
          "\"layer\""),
      {.name = "prune_seed",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{0}),
       .at_least = 0,
       .at_most = 65535,
       .meaning = "With which = \"random\": which of the random orders, as numbered in "
                  "head_pruning tables.",
       .example = "[0, 1, 2]"},
  };
  return infos;
}

void check_pruned(const Point& point, const Complain& complain) {
  const models::Config& config = point.model->config;
  const int64_t n_heads = config.n_layers * config.n_heads;
  for (const int64_t head : get_or<std::vector<int64_t>>(point.values, "pruned", {})) {
    if (head >= n_heads) {
      complain("pruned", "model \"" + point.model->name + "\" has heads 0 to " +
                             std::to_string(n_heads - 1) + " (layer x " +
                             std::to_string(config.n_heads) + " + head), found " +
                             std::to_string(head));
    }
  }
  if (!point.scores) {
    if (point.values.count("k") > 0) {
      complain("k",
               "k removes heads by score: add scores = { stage = \"...\" }, or name the heads by "
               "pruned = [...]");
    }
    return;
  }
  if (point.values.count("pruned") > 0)
    complain("pruned", "either scores with k, or pruned: remove one of them");
  if (point.values.count("k") == 0) {
    complain("k",
             "scores say which heads matter, k how many of them to remove: add k, such as k = [0, "
             "4, 8]");
  } else {
    check_k(point, get<int64_t>(point.values, "k"), complain);
  }
}

void check_f1(const Point& point, const std::vector<std::string>& metrics,
              const Complain& complain) {
  if (std::find(metrics.begin(), metrics.end(), "f1") == metrics.end()) return;
  if (get<std::string>(point.values, "f1") != "positive") return;
  size_t n_classes = 0;
  for (const Row& row : point.dataset->rows) n_classes = std::max(n_classes, row.choices.size());
  if (point.values.count("positive") == 0) {
    complain(
        "positive",
        "f1 = \"positive\" needs the positive class: add positive = 1 (an index into the choices)");
  } else if (get<int64_t>(point.values, "positive") >= static_cast<int64_t>(n_classes)) {
    complain("positive", "the rows of dataset \"" + point.dataset->name + "\" have choices 0 to " +
                             std::to_string(n_classes - 1) + ", found " +
                             std::to_string(get<int64_t>(point.values, "positive")));
  }
}

void check_point(const Point& point, const Complain& complain) {
  const auto asked = metrics(point);
  check(point, asked, complain);
  check_pruned(point, complain);
  check_f1(point, asked, complain);
}

int64_t count(const Point& point) {
  int64_t n = 0;
  for (const Asked& asked : questions(point, metrics(point)))
    n += n_blocks(point) * asked.n_repeats();
  return n;
}

std::vector<int64_t> pruned_of(const Point& point) {
  if (!point.scores) {
    auto pruned = get_or<std::vector<int64_t>>(point.values, "pruned", {});
    std::sort(pruned.begin(), pruned.end());
    return pruned;
  }
  return heads_of_arm(point, arm_of(point));
}

Shard shard_of_point(const Point& point, int64_t i) {
  for (const Asked& asked : questions(point, metrics(point))) {
    const int64_t n = n_blocks(point) * asked.n_repeats();
    if (i < n)
      return shard(point, asked, pruned_of(point), i / asked.n_repeats(), i % asked.n_repeats());
    i -= n;
  }
  check_failed("a shard index below count()", __FILE__, __LINE__);
}

}  // namespace

const Kind& the_kind() {
  static const Kind kind{.name = "evaluate",
                         .computation = computation(),
                         .params = params(),
                         .reads = Output::kHeadScores,
                         .picture = Picture::kMetricGrid,
                         .check = check_point,
                         .count = count,
                         .shard = shard_of_point,
                         .aggregate = aggregate};
  return kind;
}

}  // namespace headcount::experiments::evaluate
