// Part of worker/runner/commands.h.
// `quadrature`: how far rules of integration are from brute force, on the shards of a spec.
#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "experiments/kinds/head_importance/run.h"
#include "experiments/run/brute_force.h"
#include "worker/runner/commands.h"
#include "worker/runner/inputs.h"
#include "worker/runner/model_cache.h"
#include "worker/runner/shard_models.h"

namespace headcount::runner {
namespace {

namespace importance = experiments::head_importance;
using experiments::Integration;
using experiments::Rule;
using Vector = std::vector<double>;

/// A rule to try: "adaptive:TOL", or the name of a fixed rule and its number of intervals.
struct Tried {
  std::string text;
  Rule rule = Rule::kAdaptive;
  double tol = 0;
  int64_t steps = importance::kAdaptiveSteps;
};

Tried tried(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string number = colon == std::string::npos ? "" : text.substr(colon + 1);
  char* end = nullptr;
  const double value = std::strtod(number.c_str(), &end);
  if (number.empty() || *end != '\0' || !(value > 0))
    throw BadInput("--rule " + text + ": write adaptive:TOL, or NAME:INTERVALS as trapezoid:8");
  Tried one{.text = text};
  one.rule = read_input([&] { return experiments::rule_of(text.substr(0, colon)); });
  if (one.rule == Rule::kAdaptive) {
    one.tol = value;
  } else {
    if (!(value <= 65536) || std::floor(value) != value)
      throw BadInput("--rule " + text + ": expected a whole number of intervals up to 65536");
    one.steps = static_cast<int64_t>(value);
  }
  return one;
}

/// What one rule did, over all rows, masks and paths.
struct Tally {
  int64_t n = 0, unconverged = 0, beyond = 0;
  double evaluations = 0, worst = 0;
  int64_t most_evaluations = 0;
  std::map<double, std::pair<Vector, Vector>> sums{};  // by mask probability: rule, brute force
};

double distance(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

/// |a - reference| / |reference|.
double relative(const Vector& a, const Vector& reference) {
  const double size = distance(reference, Vector(reference.size()));
  return size > 0 ? distance(a, reference) / size : 0;
}

/// Gradients of a fixed rule on one path.
int64_t n_nodes(const Tried& rule) {
  return static_cast<int64_t>(experiments::nodes(rule.rule, rule.steps).size());
}

void add(Vector& sum, std::span<const double> terms) {
  sum.resize(terms.size());
  for (size_t i = 0; i < terms.size(); ++i) sum[i] += terms[i];
}

nlohmann::ordered_json to_json(const Tried& rule, const Tally& tally, double tol_floor) {
  Vector mean, reference;
  nlohmann::ordered_json by_prob = nlohmann::ordered_json::object();
  for (const auto& [prob, sums] : tally.sums) {
    add(mean, sums.first);
    add(reference, sums.second);
    if (tally.sums.size() > 1)
      by_prob[nlohmann::json(prob).dump()] = relative(sums.first, sums.second);
  }
  nlohmann::ordered_json json{{"rule", rule.text}, {"n", tally.n}};
  json["unconverged"] = tally.unconverged;
  json["beyond_10_tol"] = tally.beyond;
  json["worst_over_tol"] = tally.worst;
  json["evaluations_mean"] = tally.evaluations / static_cast<double>(tally.n);
  json["evaluations_max"] = tally.most_evaluations;
  json["mean_vector_error"] = relative(mean, reference);
  if (!by_prob.empty()) json["mean_vector_error_by_mask_prob"] = by_prob;
  json["tol_floor"] = tol_floor;
  return json;
}

}  // namespace

int quadrature(const QuadratureOptions& options) {
  std::vector<Tried> rules;
  for (const std::string& text : options.rules) rules.push_back(tried(text));
  const ShardFile file = read_input([&] { return read_shard_file(options.shards); });
  const c10::Device device = open_device(options.compute);
  ShardModels models(file, options.model_paths, device);
  std::vector<Tally> tallies(rules.size());
  Progress progress(file.shards.size());
  int64_t witness_evaluations = 0;
  double tol_floor = 1;
  for (size_t s = 0; s < file.shards.size(); ++s) {
    const Shard& shard = file.shards[s];
    if (const auto& integrates = importance::computation(); shard.kind != integrates.name)
      throw BadInput(options.shards + " holds shards of kind " + shard.kind + ": only " +
                     std::string(integrates.name) + " integrates");
    const models::Model& model = models.get(shard);
    const importance::Integrand asked =
        importance::integrand(shard, model, models.pass(shard, model));
    tol_floor = asked.integration.tol_floor;
    const bool straight = importance::params_of(shard).path_mode == importance::PathMode::kDiagonal;
    for (const Tried& rule : rules) {
      if (rule.rule == Rule::kGaussLegendre && !straight)
        throw BadInput("--rule " + rule.text + ": Gauss-Legendre is for the diagonal only, and " +
                       options.shards + " holds threshold paths");
    }
    const double prob = importance::params_of(shard).mask_prob.value_or(0);
    const size_t n_rows = asked.integration.paths.size(),
                 n_paths = asked.integration.paths.front().size(),
                 n_gates = static_cast<size_t>(asked.integration.n_gates);
    for (size_t path = 0; path < n_paths; ++path) {
      Integration one = asked.integration;
      one.audited.clear();
      for (auto& paths : one.paths) paths = {paths[path]};
      std::vector<experiments::Integrals> found;
      for (const Tried& rule : rules) {
        one.rule = rule.rule;
        one.steps = rule.steps;
        one.tol = rule.tol;
        if (one.max_evaluations == 0) one.max_evaluations = 4097;
        found.push_back(experiments::integrate(one, asked.score, [](double) {}));
      }
      for (size_t row = 0; row < n_rows; ++row) {
        const double climb =
            std::max(std::abs(found[0].score_one[row] - found[0].score_base[row]), one.tol_floor);
        const auto brute = experiments::brute_force(one, asked.score, static_cast<int64_t>(row), 0,
                                                    options.witness_tol * climb);
        witness_evaluations += brute.evaluations;
        for (size_t k = 0; k < rules.size(); ++k) {
          Tally& tally = tallies[k];
          const auto ig = std::span(found[k].ig).subspan(row * n_gates, n_gates);
          const double off = distance(ig, brute.ig) / climb;
          const bool converged = found[k].unconverged.empty() || found[k].unconverged[row] == 0;
          const double tol = rules[k].tol > 0 ? rules[k].tol : 1;
          ++tally.n;
          tally.unconverged += converged ? 0 : 1;
          if (converged) tally.worst = std::max(tally.worst, off / tol);
          if (converged && off > 10 * tol) ++tally.beyond;
          const auto spent = static_cast<int64_t>(found[k].evaluations.empty()
                                                      ? static_cast<double>(n_nodes(rules[k]))
                                                      : found[k].evaluations[row]);
          tally.evaluations += static_cast<double>(spent);
          tally.most_evaluations = std::max(tally.most_evaluations, spent);
          add(tally.sums[prob].first, ig);
          add(tally.sums[prob].second, brute.ig);
        }
        progress.show(s, (static_cast<double>(path) +
                          static_cast<double>(row + 1) / static_cast<double>(n_rows)) /
                             static_cast<double>(n_paths));
      }
    }
  }
  progress.show(file.shards.size(), 0);
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (size_t k = 0; k < rules.size(); ++k) all.push_back(to_json(rules[k], tallies[k], tol_floor));
  std::printf("%s\n", nlohmann::ordered_json{{"witness_tol", options.witness_tol},
                                             {"witness_evaluations", witness_evaluations},
                                             {"rules", all}}
                          .dump()
                          .c_str());
  return 0;
}

}  // namespace headcount::runner
