// Part of worker/runner/commands.h.
// One model and one `tokens` file: the experiments' own computations, asked directly.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "experiments/datasets/dataset.h"
#include "experiments/datasets/tokens.h"
#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/kinds/head_importance/head_importance.h"
#include "experiments/run/run.h"
#include "schemas/fields.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"

namespace headcount::runner {
namespace {

namespace importance = experiments::head_importance;
namespace evaluation = experiments::evaluate;
using nlohmann::ordered_json;

std::vector<Row> rows_of(const ProbeOptions& options, const models::Config& config) {
  std::vector<Row> rows = read_input([&] { return datasets::read_tokens(options.tokens, config); });
  datasets::assign_ids(rows);
  return rows;
}

Result compute(const ProbeOptions& options, const models::Model& model,
               const experiments::Computation& computation, Fields params, std::vector<Row> rows) {
  return experiments::run({.kind = std::string(computation.name),
                           .numerics_version = computation.numerics_version,
                           .model = {},
                           .dtype = options.dtype,
                           .params = std::move(params),
                           .seed = 0,
                           .micro_batch = options.micro_batch,
                           .rows = std::move(rows)},
                          model, [](double) {});
}

Result choice_scores(const ProbeOptions& options, const models::Model& model,
                     const std::vector<Row>& rows) {
  evaluation::Params params;
  params.n_layers = model.config.n_layers;
  params.n_heads = model.config.n_heads;
  params.question = evaluation::Question::kChoices;
  if (model.config.masked()) params.mask_id = model.config.mask_id;
  return compute(options, model, evaluation::computation(), to_fields(params), rows);
}

int print_choices(const ProbeOptions& options, const models::Model& model,
                  const std::vector<Row>& rows) {
  const Result result = choice_scores(options, model, rows);
  const NamedArray& scores = array(result, "log_prob");
  ordered_json out = ordered_json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    const double* first = scores.data.data() + static_cast<int64_t>(i) * scores.shape[1];
    out.push_back({{"row", i},
                   {"log_prob", std::vector<double>(first, first + rows[i].choices.size())},
                   {"label", rows[i].label}});
  }
  if (options.format == "json") {
    std::printf("%s\n", ordered_json{{"rows", out}}.dump().c_str());
    return 0;
  }
  for (const ordered_json& row : out)
    std::printf("row %s  log-probabilities %s  label %s\n", row["row"].dump().c_str(),
                row["log_prob"].dump().c_str(), row["label"].dump().c_str());
  return 0;
}

importance::Params importance_params(const models::Config& config) {
  importance::Params params;
  params.n_layers = config.n_layers;
  params.n_heads = config.n_heads;
  params.layer_last = config.n_layers - 1;
  return params;
}

/// [layers][heads] of a flat vector.
ordered_json by_layer(const std::vector<double>& flat, int64_t n_heads) {
  ordered_json layers = ordered_json::array();
  for (auto at = flat.begin(); at != flat.end(); at += n_heads)
    layers.push_back(std::vector<double>(at, at + n_heads));
  return layers;
}

void print_table(const std::vector<double>& flat, int64_t n_heads) {
  std::printf("layer  head  value\n");
  for (size_t i = 0; i < flat.size(); ++i)
    std::printf("%5lld  %4lld  %s\n", static_cast<long long>(static_cast<int64_t>(i) / n_heads),
                static_cast<long long>(static_cast<int64_t>(i) % n_heads),
                shortest(flat[i]).c_str());
}

/// Mean over rows of the result's `ig`, and both scores' means.
struct Means {
  std::vector<double> ig;
  double one = 0, base = 0;
  double residual() const {
    return std::abs(std::accumulate(ig.begin(), ig.end(), 0.0) - (one - base)) /
           std::abs(one - base);
  }
};
Means means_of(const Result& result) {
  const NamedArray& ig = array(result, "ig");
  const auto n_rows = static_cast<size_t>(ig.shape[0]), width = static_cast<size_t>(ig.shape[1]);
  Means means{.ig = std::vector<double>(width)};
  for (size_t row = 0; row < n_rows; ++row) {
    const double share = 1 / static_cast<double>(n_rows);
    for (size_t i = 0; i < width; ++i) means.ig[i] += share * ig.data[row * width + i];
    means.one += share * array(result, "score_one").data[row];
    means.base += share * array(result, "score_base").data[row];
  }
  return means;
}

ordered_json per_row(const Result& result, int64_t n_heads, const std::string& name) {
  const NamedArray& ig = array(result, "ig");
  ordered_json rows = ordered_json::array();
  for (int64_t row = 0; row < ig.shape[0]; ++row) {
    const auto begin = ig.data.begin() + row * ig.shape[1];
    ordered_json one{{"row", row}};
    for (const NamedArray& a : result.arrays) {
      if (a.shape.size() == 1) one[a.name] = a.data[static_cast<size_t>(row)];
    }
    one[name] = by_layer({begin, begin + ig.shape[1]}, n_heads);
    rows.push_back(std::move(one));
  }
  return rows;
}

}  // namespace

int loss(const ProbeOptions& options) {
  const Opened opened = open(options.model, options.dtype, options.compute);
  const std::vector<Row> rows = rows_of(options, opened.model.config);
  if (!rows.front().choices.empty()) return print_choices(options, opened.model, rows);
  evaluation::Params params;
  params.n_layers = opened.model.config.n_layers;
  params.n_heads = opened.model.config.n_heads;
  params.question = evaluation::Question::kNextToken;
  const Result result =
      compute(options, opened.model, evaluation::computation(), to_fields(params), rows);
  const std::vector<double>&nll = array(result, "nll").data, &tokens = array(result, "tokens").data;
  double total = 0, count = 0;
  ordered_json out = ordered_json::array();
  for (size_t i = 0; i < rows.size(); ++i) {
    total += nll[i];
    count += tokens[i];
    out.push_back(
        {{"row", i}, {"loss", nll[i] / tokens[i]}, {"tokens", static_cast<int64_t>(tokens[i])}});
  }
  if (options.format == "json") {
    std::printf("%s\n", ordered_json{{"rows", out},
                                     {"loss", total / count},
                                     {"perplexity", std::exp(total / count)},
                                     {"tokens", static_cast<int64_t>(count)}}
                            .dump()
                            .c_str());
    return 0;
  }
  for (const ordered_json& row : out)
    std::printf("row %s  loss %s nats  tokens %s\n", row["row"].dump().c_str(),
                row["loss"].dump().c_str(), row["tokens"].dump().c_str());
  std::printf("all rows  loss %s nats a token  perplexity %s\n", shortest(total / count).c_str(),
              shortest(std::exp(total / count)).c_str());
  return 0;
}

int gradient(const ProbeOptions& options) {
  const Opened opened = open(options.model, options.dtype, options.compute);
  // One right step from zero is the gradient at one, times an increment of one.
  importance::Params params = importance_params(opened.model.config);
  params.quadrature = experiments::Rule::kRight;
  params.ig_steps = 1;
  const Result result = compute(options, opened.model, importance::computation(), to_fields(params),
                                rows_of(options, opened.model.config));
  const Means means = means_of(result);
  if (options.format == "json") {
    std::printf("%s\n", ordered_json{{"rows", per_row(result, params.n_heads, "gradient")},
                                     {"score", means.one},
                                     {"gradient", by_layer(means.ig, params.n_heads)}}
                            .dump()
                            .c_str());
    return 0;
  }
  std::printf("J = -loss with all gates one: %s nats; its gradient in each gate, mean over rows:\n",
              shortest(means.one).c_str());
  print_table(means.ig, params.n_heads);
  return 0;
}

int diagonal(const ProbeOptions& options) {
  const Opened opened = open(options.model, options.dtype, options.compute);
  importance::Params params = importance_params(opened.model.config);
  params.quadrature = read_input([&] { return experiments::rule_of(options.quadrature); });
  params.ig_steps = options.ig_steps;
  if (params.ig_steps == 0) params.ig_steps = params.adaptive() ? importance::kAdaptiveSteps : 8;
  params.baseline = options.baseline;
  params.tol = options.tol;
  params.max_evaluations = options.max_evaluations;
  const Result result = compute(options, opened.model, importance::computation(), to_fields(params),
                                rows_of(options, opened.model.config));
  const Means means = means_of(result);
  if (options.format == "json") {
    std::printf("%s\n", ordered_json{{"rows", per_row(result, params.n_heads, "ig")},
                                     {"score_one", means.one},
                                     {"score_base", means.base},
                                     {"residual", means.residual()},
                                     {"ig", by_layer(means.ig, params.n_heads)}}
                            .dump()
                            .c_str());
    return 0;
  }
  std::printf(
      "J climbs from %s to %s nats; completeness residual %s; integrated gradients, mean over "
      "rows:\n",
      shortest(means.base).c_str(), shortest(means.one).c_str(),
      shortest(means.residual()).c_str());
  print_table(means.ig, params.n_heads);
  return 0;
}

}  // namespace headcount::runner
