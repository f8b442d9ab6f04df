// What a head_pruning stage may say, and which evaluations a point needs.
#include <algorithm>
#include <string>

#include "experiments/kinds/blocks.h"
#include "experiments/kinds/head_pruning/head_pruning.h"
#include "experiments/kinds/shared_params.h"
#include "schemas/error.h"

namespace headcount::experiments::head_pruning {

Table aggregate(const std::string& stage, std::span<const Point> points, const ResultOf& result);

namespace {

using evaluate::Asked;
using Texts = std::vector<std::string>;

std::span<const ParamInfo> params() {
  static const std::vector<ParamInfo> infos = {
      {.name = "which",
       .type = ParamType::kTexts,
       .otherwise = Field(Texts{"most", "least", "random"}),
       .choices = {"most", "least", "random"},
       .meaning = "The arms: heads removed by falling score, by rising score, at random (scope = "
                  "\"layer_matched\": at random twice, random_as_most and random_as_least).",
       .example = "[\"most\", \"random\"]"},
      {.name = "k",
       .type = ParamType::kIntegers,
       .required = true,
       .at_least = 0,
       .at_most = 1e9,
       .unit = "heads",
       .meaning = "How many heads are removed (scope = \"layer\": of each layer). The unpruned "
                  "model is always included.",
       .example = "[1, 2, 4, 8, 16]"},
      scope_param("k heads of the model; k of every layer; or as global, beside random sets that "
                  "take from each layer as many heads as the most important set does "
                  "(random_as_most) and as the least important set does (random_as_least).",
                  "\"layer_matched\""),
      {.name = "prune_seeds",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{20}),
       .at_least = 1,
       .at_most = 10000,
       .unit = "orders",
       .meaning =
           "Random orders; the sets of one order are nested. Intervals count them as drawn at "
           "random, as they do rows (docs/coverage.md).",
       .example = "40"},
      {.name = "metrics",
       .type = ParamType::kTexts,
       .choices = {"loss", "exact_match", "accuracy"},
       .meaning = "What is measured of each pruned model. Absent: loss (accuracy where the rows "
                  "hold only choices).",
       .example = "[\"loss\", \"exact_match\"]"},
      mask_probs_param(
          "Mask probabilities of the loss of masked rows. Absent: those of the stage that "
          "gave the scores.",
          "[0.3, 0.7]"),
      mask_samples_param(
          "Masks drawn for each row and probability. Absent: as in the stage that gave the "
          "scores."),
      choice_normalize_param(),
      evaluate::mc_samples_param(),
  };
  return infos;
}

void check(const Point& point, const Complain& complain) {
  evaluate::check(point, metrics(point), complain);
  const auto k = get_or<std::vector<int64_t>>(point.values, "k", {});
  if (k.empty() || !point.scores) return;
  evaluate::check_k(point, *std::max_element(k.begin(), k.end()), complain);
}

int64_t count(const Point& point) {
  int64_t n = 0;
  const auto n_arms = static_cast<int64_t>(arms(point).size());
  for (const Asked& asked : evaluate::questions(point, metrics(point))) {
    n += evaluate::n_blocks(point) * n_arms * asked.n_repeats();
  }
  return n;
}

Shard shard(const Point& point, int64_t i) {
  const auto all = arms(point);
  for (const Asked& asked : evaluate::questions(point, metrics(point))) {
    const std::vector<int64_t> sizes = {evaluate::n_blocks(point), static_cast<int64_t>(all.size()),
                                        asked.n_repeats()};
    const int64_t n = sizes[0] * sizes[1] * sizes[2];
    if (i < n) {
      const auto at = unravel(i, sizes);
      const auto pruned = evaluate::heads_of_arm(point, all[static_cast<size_t>(at[1])]);
      return evaluate::shard(point, asked, pruned, at[0], at[2]);
    }
    i -= n;
  }
  check_failed("a shard index below count()", __FILE__, __LINE__);
}

}  // namespace

Texts arm_names(const Point& point) {
  const bool matched = scope_of(get<std::string>(point.values, "scope")) == Scope::kLayerMatched;
  Texts names;
  for (const auto& which : get<Texts>(point.values, "which")) {
    if (which == "random" && matched) {
      names.insert(names.end(), {"random_as_most", "random_as_least"});
    } else {
      names.push_back(which);
    }
  }
  return names;
}

std::vector<Arm> arms(const Point& point) {
  auto k = get<std::vector<int64_t>>(point.values, "k");
  std::sort(k.begin(), k.end());
  k.erase(std::unique(k.begin(), k.end()), k.end());
  std::erase(k, 0);
  std::vector<Arm> all = {{.which = "none"}};
  for (const auto& which : arm_names(point)) {
    const bool random = Arm{.which = which}.is_random();
    const int64_t n_orders = random ? get<int64_t>(point.values, "prune_seeds") : 1;
    for (int64_t order = 0; order < n_orders; ++order) {
      for (const int64_t n : k) all.push_back({which, n, random ? order : -1});
    }
  }
  return all;
}

Texts metrics(const Point& point) {
  if (point.values.count("metrics") > 0) return get<Texts>(point.values, "metrics");
  return {point.dataset->objective == datasets::Objective::kChoices ? "accuracy" : "loss"};
}

int64_t shard_index(const Point& point, const std::vector<Asked>& questions, size_t question,
                    int64_t block, size_t arm, int64_t repeat) {
  const auto n_arms = static_cast<int64_t>(arms(point).size());
  int64_t first = 0;
  for (size_t q = 0; q < question; ++q)
    first += evaluate::n_blocks(point) * n_arms * questions[q].n_repeats();
  return first + (block * n_arms + static_cast<int64_t>(arm)) * questions[question].n_repeats() +
         repeat;
}

const Kind& the_kind() {
  static const Kind kind{.name = "head_pruning",
                         .computation = evaluate::computation(),
                         .params = params(),
                         .reads = Output::kHeadScores,
                         .must_read = true,
                         .picture = Picture::kArms,
                         .check = check,
                         .count = count,
                         .shard = shard,
                         .aggregate = aggregate};
  return kind;
}

}  // namespace headcount::experiments::head_pruning
