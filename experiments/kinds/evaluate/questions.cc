#include "experiments/kinds/evaluate/questions.h"

#include "experiments/kinds/blocks.h"
#include "experiments/kinds/prune.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {

namespace {

using datasets::Objective;

bool has_labels(const Point& point) {
  return point.dataset->objective == Objective::kNextToken ||
         point.dataset->objective == Objective::kGivenLabels;
}
bool has_span(const Point& point) { return point.dataset->objective == Objective::kMasked; }
bool has_choices(const Point& point) {
  return point.dataset->objective == Objective::kChoices || point.dataset->has_choices;
}

Ask ask_of(const Point& point, Question question) {
  if (question == Question::kChoices) return Ask::kChoices;
  return has_span(point) ? Ask::kSpan : Ask::kLabels;
}

void check_metric(const Point& point, const std::string& metric, const Complain& complain) {
  const models::Config& config = point.model->config;
  const std::string dataset = "dataset \"" + point.dataset->name + "\"";
  const std::string model = "model \"" + point.model->name + "\"";
  if (metric == "accuracy" || metric == "f1") {
    if (!has_choices(point)) {
      complain("metrics", metric + " needs rows with choices and " + dataset +
                              " has none: remove it or take another dataset");
    }
    return;
  }
  if (!has_span(point) && !has_labels(point)) {
    complain("metrics", "the rows of " + dataset + " hold only choices, so there is no " + metric +
                            ": ask for accuracy or f1");
  } else if (has_span(point) && !config.masked()) {
    complain("dataset",
             dataset + " asks for masked positions and " + model +
                 " has no mask token: use a next-token dataset or a masked-diffusion model");
  } else if (point.dataset->objective == Objective::kNextToken && !config.causal) {
    complain("dataset", dataset + " asks for the next token and " + model +
                            " sees it: use a masked dataset or a causal model");
  }
}

/// How many layers' heads the stage that gave the scores was asked for.
int64_t n_scored_layers(const Point& point) {
  const auto layers = get_or<std::vector<int64_t>>(point.scores->values, "layers", {});
  return layers.empty() ? point.model->config.n_layers : static_cast<int64_t>(layers.size());
}

bool removes_none(const Arm& arm) { return arm.which == "none" || arm.k == 0; }

bool has_long_choice(const std::vector<Row>& rows) {
  const auto is_long = [](const std::vector<int32_t>& choice) { return choice.size() > 1; };
  return std::any_of(rows.begin(), rows.end(), [&](const Row& row) {
    return std::any_of(row.choices.begin(), row.choices.end(), is_long);
  });
}

bool asks_masked_loss(const Point& point, const std::vector<std::string>& metrics) {
  return has_span(point) &&
         std::any_of(metrics.begin(), metrics.end(), [](const std::string& metric) {
           return metric == "loss" || metric == "perplexity";
         });
}

}  // namespace

Question question_of(const Point& point, const std::string& metric) {
  if (metric == "accuracy" || metric == "f1") return Question::kChoices;
  if (metric == "exact_match") return Question::kExactMatch;
  HC_CHECK(metric == "loss" || metric == "perplexity");
  return has_span(point) ? Question::kMaskedCe : Question::kNextToken;
}

std::optional<std::vector<double>> mask_probs(const Point& point) {
  for (const Fields* fields : {&point.values, point.scores ? &point.scores->values : nullptr}) {
    if (fields != nullptr && fields->count("mask_probs") > 0)
      return get<std::vector<double>>(*fields, "mask_probs");
  }
  return std::nullopt;
}

std::optional<int64_t> mask_samples(const Point& point) {
  for (const Fields* fields : {&point.values, point.scores ? &point.scores->values : nullptr}) {
    if (fields != nullptr && fields->count("mask_samples") > 0)
      return get<int64_t>(*fields, "mask_samples");
  }
  return std::nullopt;
}

std::vector<Asked> questions(const Point& point, const std::vector<std::string>& metrics) {
  std::vector<Asked> asked;
  for (const std::string& metric : metrics) {
    const Question question = question_of(point, metric);
    if (std::any_of(asked.begin(), asked.end(),
                    [&](const Asked& one) { return one.question == question; }))
      continue;
    asked.push_back({.question = question});
    if (question == Question::kMaskedCe) {
      asked.back().mask_probs = mask_probs(point).value_or(std::vector<double>{});
      asked.back().n_draws = mask_samples(point).value_or(1);
    }
  }
  return asked;
}

void check(const Point& point, const std::vector<std::string>& metrics, const Complain& complain) {
  for (const std::string& metric : metrics) check_metric(point, metric, complain);
  const std::string dataset = "dataset \"" + point.dataset->name + "\"";
  const auto check_mask = [&](const std::string& name, bool known, const std::string& such_as) {
    if (asks_masked_loss(point, metrics) && !known) {
      complain(name, "loss and perplexity of the masked rows of " + dataset + " need " + name +
                         ", such as " + such_as + "; or leave them out of metrics");
    }
    if (!has_span(point) && point.values.count(name) > 0) {
      complain(name, "the rows of " + dataset +
                         " have no masked span, so there is nothing to mask: remove " + name);
    }
  };
  check_mask("mask_probs", mask_probs(point).has_value(), "[0.15, 0.3, 0.5, 0.7, 0.9]");
  check_mask("mask_samples", mask_samples(point).has_value(), "2");
}

int64_t n_blocks(const Point& point) {
  return experiments::n_blocks(point.dataset->rows.size(), kBlockRows);
}

ParamInfo mc_samples_param() {
  return {.name = "mc_samples",
          .type = ParamType::kInteger,
          .otherwise = Field(kMcSamples),
          .at_least = 0,
          .at_most = static_cast<double>(kMostMcSamples),
          .unit = "masks",
          .meaning =
              "Masks drawn for every choice of more than one token, whose score in a masked "
              "model is then a Monte Carlo estimate of the any-order bound; one token is "
              "exact in one pass. 0: all tokens of a choice masked at once, in one pass, as "
              "before this parameter existed. Causal models: without effect.",
          .example = "0"};
}

Shard shard(const Point& point, const Asked& asked, const std::vector<int64_t>& pruned,
            int64_t block, int64_t repeat) {
  const models::Config& config = point.model->config;
  Params params{.n_layers = config.n_layers,
                .n_heads = config.n_heads,
                .pruned = pruned,
                .question = asked.question};
  if (asked.question == Question::kMaskedCe) {
    params.mask_prob = asked.mask_probs[static_cast<size_t>(repeat / asked.n_draws)];
    params.draw = repeat % asked.n_draws;
  }
  const Ask ask = ask_of(point, asked.question);
  if (ask != Ask::kLabels && config.masked()) params.mask_id = config.mask_id;
  std::vector<Row> rows = block_rows(*point.dataset, block, kBlockRows, ask);
  const bool estimated = asked.question == Question::kChoices && config.masked() &&
                         !config.causal && has_long_choice(rows);
  if (estimated) params.mc_samples = get_or<int64_t>(point.values, "mc_samples", kMcSamples);
  Shard shard = blank_shard(point, computation());
  shard.params = to_fields(params);
  shard.seed = asked.question == Question::kMaskedCe || params.mc_samples > 0 ? point.seed : 0;
  shard.rows = std::move(rows);
  return shard;
}

std::vector<std::string> all_metrics(const Point& point) {
  std::vector<std::string> metrics;
  if (has_span(point) || has_labels(point)) metrics = {"loss", "perplexity"};
  if (has_span(point)) metrics.push_back("exact_match");
  if (has_choices(point)) metrics.insert(metrics.end(), {"accuracy", "f1"});
  return metrics;
}

std::vector<std::string> metrics(const Point& point) {
  if (point.values.count("metrics") > 0)
    return get<std::vector<std::string>>(point.values, "metrics");
  return all_metrics(point);
}

void check_k(const Point& point, int64_t k, const Complain& complain) {
  const models::Config& config = point.model->config;
  const bool each_layer = get<std::string>(point.values, "scope") == "layer";
  const int64_t n_heads = each_layer ? config.n_heads : n_scored_layers(point) * config.n_heads;
  if (k < n_heads) return;
  complain("k", "expected fewer than the " + std::to_string(n_heads) + " scored heads of " +
                    (each_layer ? "a layer of " : "") + "model \"" + point.model->name +
                    "\", found " + std::to_string(k));
}

Arm arm_of(const Point& point) {
  if (!point.scores) return {.which = "none"};
  auto which = get<std::string>(point.values, "which");
  const Scope scope = scope_of(get<std::string>(point.values, "scope"));
  if (which == "random" && scope == Scope::kLayerMatched) which = "random_as_most";
  return {.which = which,
          .k = get<int64_t>(point.values, "k"),
          .prune_seed = get<int64_t>(point.values, "prune_seed")};
}

bool is_scored(const Point& point, const Arm& arm) {
  return removes_none(arm) || (!point.scores->value.empty() && !heads_of_arm(point, arm).empty());
}

std::vector<int64_t> heads_of_arm(const Point& point, const Arm& arm) {
  if (removes_none(arm)) return {};
  HC_CHECK(point.scores && !point.scores->value.empty());
  const Scope scope = scope_of(get<std::string>(point.values, "scope"));
  auto heads = pruned_heads(arm, scope, *point.scores, point.model->config.n_heads, point.seed);
  const int64_t n_asked = scope == Scope::kLayer ? arm.k * n_scored_layers(point) : arm.k;
  if (static_cast<int64_t>(heads.size()) < n_asked) return {};
  return heads;
}

}  // namespace headcount::experiments::evaluate
