// The numbers of an evaluate shard: losses, greedy answers and scores of choices, with the pruned
// heads' gates at zero.
#include "experiments/run/run.h"

#include <algorithm>
#include <map>

#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/run/batch.h"
#include "models/generate.h"
#include "models/likelihood.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {
namespace {

/// The shard, the model, and the gates all its samples share.
struct Context {
  const Shard& shard;
  const Params params;
  const models::Model& model;
  const Progress& progress;

  /// [n, n_layers, n_heads]; undefined where nothing is pruned: the model then skips the product.
  at::Tensor gates(size_t n) const {
    if (params.pruned.empty()) return {};
    const auto n_all = static_cast<size_t>(params.n_layers * params.n_heads);
    std::vector<double> values(n * n_all, 1.0);
    for (size_t i = 0; i < n; ++i) {
      for (const int64_t head : params.pruned) values[i * n_all + static_cast<size_t>(head)] = 0;
    }
    return make_gates(values, static_cast<int64_t>(n), model);
  }

  /// Calls `take(first, examples, batch, gates)` for every micro-batch of the examples, in order.
  template <class Take>
  void for_each_batch(const std::vector<Example>& examples, const Take& take) const {
    const auto size = static_cast<size_t>(shard.micro_batch);
    for (size_t first = 0; first < examples.size(); first += size) {
      std::vector<const Example*> chosen;
      for (size_t i = first; i < std::min(first + size, examples.size()); ++i)
        chosen.push_back(&examples[i]);
      take(first, chosen, make_batch(chosen, model), gates(chosen.size()));
    }
  }
};

int32_t mask_id_of(const Context& context) {
  if (context.params.mask_id < 0) throw Error("an evaluate shard without mask_id for a masked row");
  return static_cast<int32_t>(context.params.mask_id);
}

NamedArray per_row(std::string name, std::vector<double> values) {
  const auto n = static_cast<int64_t>(values.size());
  return {std::move(name), {n}, std::move(values)};
}

Result losses(const Context& context) {
  std::vector<Example> examples;
  std::vector<double> tokens, nll;
  for (size_t i = 0; i < context.shard.rows.size(); ++i) {
    const Row& row = context.shard.rows[i];
    examples.push_back(context.params.question == Question::kMaskedCe
                           ? masked_example(row,
                                            {.seed = context.shard.seed,
                                             .row_id = row.id,
                                             .draw = static_cast<uint32_t>(context.params.draw),
                                             .probability = context.params.mask_prob.value()},
                                            mask_id_of(context), false)
                           : labelled_example(row, false));
    check_example(examples.back(), i, context.model.config);
    tokens.push_back(static_cast<double>(examples.back().position.size()));
  }
  context.for_each_batch(
      examples, [&](size_t, const auto&, const models::Batch& batch, const at::Tensor& gates) {
        for (const double score : to_vector(models::score(context.model, batch, gates)))
          nll.push_back(-score);
        context.progress(static_cast<double>(nll.size()) / static_cast<double>(examples.size()));
      });
  return {{per_row("nll", std::move(nll)), per_row("tokens", std::move(tokens))}};
}

void match_spans(const Context& context, std::vector<double>& match) {
  models::Texts masked;
  std::vector<size_t> rows;
  for (size_t i = 0; i < context.shard.rows.size(); ++i) {
    const Row& row = context.shard.rows[i];
    if (row.span_begin >= row.span_end) continue;
    const MaskDraw everything{.row_id = row.id, .probability = 1};
    rows.push_back(i);
    Example example = masked_example(row, everything, mask_id_of(context), false);
    check_example(example, i, context.model.config);
    masked.push_back(std::move(example.ids));
  }
  const models::Texts written =
      models::fill_surest(context.model, std::move(masked),
                          {.mask_id = context.params.mask_id,
                           .micro_batch = context.shard.micro_batch,
                           .gates = [&](size_t n) { return context.gates(n); },
                           .progress = context.progress});
  for (size_t i = 0; i < rows.size(); ++i)
    match[rows[i]] = written[i] == context.shard.rows[rows[i]].ids ? 1 : 0;
}

/// Rows with given labels: one pass. For a causal model that is the greedy continuation: the first
/// wrong token ends both.
void match_labels(const Context& context, std::vector<double>& match) {
  std::vector<Example> examples;
  std::vector<size_t> rows;
  for (size_t i = 0; i < context.shard.rows.size(); ++i) {
    const Row& row = context.shard.rows[i];
    if (row.span_begin < row.span_end) continue;
    rows.push_back(i);
    examples.push_back(labelled_example(row, false));
    check_example(examples.back(), i, context.model.config);
  }
  context.for_each_batch(examples, [&](size_t first, const auto& chosen, const models::Batch& batch,
                                       const at::Tensor& gates) {
    const std::vector<models::BestToken> best =
        models::best_tokens(context.model, batch, gates, context.params.mask_id);
    size_t at = 0;
    for (size_t i = 0; i < chosen.size(); ++i) {
      bool equal = true;
      for (const int32_t target : chosen[i]->target) equal = best[at++].token == target && equal;
      match[rows[first + i]] = equal ? 1 : 0;
    }
    context.progress(static_cast<double>(first + chosen.size()) /
                     static_cast<double>(examples.size()));
  });
}

Result exact_matches(const Context& context) {
  std::vector<double> match(context.shard.rows.size());
  match_spans(context, match);
  match_labels(context, match);
  return {{per_row("match", std::move(match))}};
}

/// A causal model reads the choice after ids[0, choice_at).
Example continued(const Row& row, const std::vector<int32_t>& choice) {
  Example example{
      .ids = {row.ids.begin(), row.ids.begin() + row.choice_at}, .position = {}, .target = choice};
  example.ids.insert(example.ids.end(), choice.begin(), choice.end() - 1);
  for (size_t i = 0; i < choice.size(); ++i)
    example.position.push_back(row.choice_at - 1 + static_cast<int32_t>(i));
  return example;
}

/// A masked model sees choices of one length at once: they share the sequence with their positions
/// masked.
Example in_place(const Row& row, size_t length, int32_t mask_id) {
  Example example{.ids = row.ids, .position = {}, .target = {}};
  const auto begin = static_cast<size_t>(row.choice_at);
  example.ids.resize(std::max(example.ids.size(), begin + length), mask_id);
  std::fill_n(example.ids.begin() + row.choice_at, length, mask_id);
  return example;
}

/// A choice of several tokens of a masked model, scored by drawn masks.
models::Stretch stretch_of(const Row& row, const std::vector<int32_t>& choice, int32_t mask_id) {
  models::Stretch stretch{.ids = in_place(row, choice.size(), mask_id).ids,
                          .begin = row.choice_at,
                          .end = row.choice_at + static_cast<int64_t>(choice.size()),
                          .sequence = row.id};
  std::copy(choice.begin(), choice.end(), stretch.ids.begin() + row.choice_at);
  return stretch;
}

/// The examples of all choices; `owner` says for each supervised position which (row, choice) its
/// log-probability belongs to.
struct Choices {
  std::vector<Example> examples;
  std::vector<std::vector<std::pair<size_t, size_t>>> owner;  // [example][position]
  std::vector<models::Stretch> drawn;                         // scored by drawn masks instead
  std::vector<std::pair<size_t, size_t>> drawn_owner;         // [stretch]
};

Choices choices_of(const Context& context) {
  Choices all;
  for (size_t i = 0; i < context.shard.rows.size(); ++i) {
    const Row& row = context.shard.rows[i];
    const int32_t first = context.model.config.causal ? 1 : 0;
    if (row.choice_at < first || static_cast<size_t>(row.choice_at) > row.ids.size())
      throw Error("row " + std::to_string(i) + " of the shard has its choice at position " +
                  std::to_string(row.choice_at));
    std::map<size_t, size_t> of_length;  // masked models: the example of a choice length
    for (size_t k = 0; k < row.choices.size(); ++k) {
      const std::vector<int32_t>& choice = row.choices[k];
      if (choice.empty())
        throw Error("row " + std::to_string(i) + " of the shard has an empty choice");
      if (context.model.config.causal) {
        all.examples.push_back(continued(row, choice));
        all.owner.emplace_back(choice.size(), std::pair{i, k});
        continue;
      }
      if (context.params.mc_samples > 0 && choice.size() > 1) {
        all.drawn.push_back(stretch_of(row, choice, mask_id_of(context)));
        all.drawn_owner.emplace_back(i, k);
        check_example({.ids = all.drawn.back().ids, .position = {row.choice_at}, .target = choice},
                      i, context.model.config);
        continue;
      }
      const auto [found, added] = of_length.emplace(choice.size(), all.examples.size());
      if (added) {
        all.examples.push_back(in_place(row, choice.size(), mask_id_of(context)));
        all.owner.emplace_back();
      }
      Example& example = all.examples[found->second];
      for (size_t t = 0; t < choice.size(); ++t) {
        example.position.push_back(row.choice_at + static_cast<int32_t>(t));
        example.target.push_back(choice[t]);
        all.owner[found->second].emplace_back(i, k);
      }
    }
  }
  return all;
}

void score_drawn(const Context& context, const Choices& all, size_t most,
                 std::vector<double>& log_prob) {
  if (all.drawn.empty()) return;
  const models::LikelihoodOptions options{
      .mc_samples = context.params.mc_samples,
      .stratum = kMcStratum,
      .seed = context.shard.seed,
      .micro_batch = context.shard.micro_batch,
      .gates = [&](int64_t n) { return context.gates(static_cast<size_t>(n)); },
      .progress = context.progress};
  const std::vector<models::Likelihood> found =
      models::log_likelihoods(context.model, all.drawn, options);
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& [row, choice] = all.drawn_owner[i];
    log_prob[row * most + choice] = found[i].log_likelihood;
  }
}

Result choice_scores(const Context& context) {
  const Choices all = choices_of(context);
  for (size_t i = 0; i < all.examples.size(); ++i)
    check_example(all.examples[i], all.owner[i].empty() ? 0 : all.owner[i].front().first,
                  context.model.config);
  const size_t n_rows = context.shard.rows.size();
  size_t most = 0;
  for (const Row& row : context.shard.rows) most = std::max(most, row.choices.size());
  std::vector<double> log_prob(n_rows * most);
  context.for_each_batch(all.examples, [&](size_t first, const auto& chosen,
                                           const models::Batch& batch, const at::Tensor& gates) {
    const std::vector<double> values =
        to_vector(models::target_log_probs(context.model, batch, gates));
    size_t at = 0;
    for (size_t i = first; i < first + chosen.size(); ++i) {
      for (const auto& [row, choice] : all.owner[i]) log_prob[row * most + choice] += values[at++];
    }
    context.progress(static_cast<double>(first + chosen.size()) /
                     static_cast<double>(all.examples.size()));
  });
  score_drawn(context, all, most, log_prob);
  return {{{"log_prob",
            {static_cast<int64_t>(n_rows), static_cast<int64_t>(most)},
            std::move(log_prob)}}};
}

}  // namespace

Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const DeviceMemory&) {
  const Context context{shard, params_of(shard), model, progress};
  if (shard.numerics_version != kNumericsVersion)
    throw Error("an evaluate shard of numerics version " + std::to_string(shard.numerics_version) +
                ", this runner computes version " + std::to_string(kNumericsVersion));
  if (context.params.n_layers != model.config.n_layers ||
      context.params.n_heads != model.config.n_heads)
    throw Error("an evaluate shard for another model shape");
  switch (context.params.question) {
    case Question::kMaskedCe:
    case Question::kNextToken:
      return losses(context);
    case Question::kExactMatch:
      return exact_matches(context);
    case Question::kChoices:
      return choice_scores(context);
  }
  HC_CHECK(false);
  return {};
}

}  // namespace headcount::experiments::evaluate
