// Fixed rules stream: every gradient is weighted and added as it comes. The adaptive rule:
// adaptive.cc.
#include "experiments/run/integrate.h"

#include <map>

#include "experiments/run/adaptive.h"
#include "experiments/run/evaluator.h"
#include "schemas/error.h"

namespace headcount::experiments {
namespace {

/// total += factor * weight(node) * gradient, the weight being the node's exact gate increment
/// along the path.
void add_node(const Path& path, const Node& node, double factor, std::span<const double> gradient,
              std::span<double> total) {
  std::vector<double> lo(total.size()), hi(total.size());
  gates_at(path, node.lo, lo);
  gates_at(path, node.hi, hi);
  for (size_t head = 0; head < total.size(); ++head)
    total[head] += factor * node.scale * (hi[head] - lo[head]) * gradient[head];
}

/// What the rule and its half need at one t.
struct NodePair {
  std::vector<Node> full, half;  // none or one of each
};

std::map<double, NodePair> merged_nodes(const Integration& integration) {
  std::map<double, NodePair> merged;
  for (const Node& node : nodes(integration.rule, integration.steps))
    merged[node.t].full.push_back(node);
  if (integration.steps % 2 == 0) {
    for (const Node& node : nodes(integration.rule, integration.steps / 2))
      merged[node.t].half.push_back(node);
  }
  return merged;
}

Integrals integrate_fixed(const Integration& integration, const ScoreFunction& score,
                          const std::function<void(double)>& progress) {
  const size_t n_rows = integration.paths.size(),
               n_gates = static_cast<size_t>(integration.n_gates);
  const std::map<double, NodePair> merged = merged_nodes(integration);
  const bool has_half = integration.steps % 2 == 0;
  Integrals out;
  out.ig.resize(n_rows * n_gates);
  if (has_half) out.ig_half.resize(n_rows * n_gates);
  out.score_one.resize(n_rows);
  out.score_base.resize(n_rows);

  std::vector<Job> jobs, ends;  // ends: those whose gradient no rule asks for
  for (size_t row = 0; row < n_rows; ++row) {
    for (const double t : {0.0, 1.0}) (merged.contains(t) ? jobs : ends).push_back({row, 0, t});
    for (size_t path = 0; path < integration.paths[row].size(); ++path) {
      for (const auto& [t, pair] : merged) {
        if (t > 0 && t < 1) jobs.push_back({row, path, t});
      }
    }
  }

  const auto keep_score = [&](const Job& job, double value) {
    if (job.t == 0) out.score_base[job.row] = value;
    if (job.t == 1) out.score_one[job.row] = value;
  };
  const auto add = [&](const Job& job, const Path& path, std::span<const double> gradient) {
    const NodePair& pair = merged.at(job.t);
    const double factor = 1 / static_cast<double>(integration.paths[job.row].size());
    for (const Node& node : pair.full)
      add_node(path, node, factor, gradient, std::span(out.ig).subspan(job.row * n_gates, n_gates));
    for (const Node& node : pair.half)
      add_node(path, node, factor, gradient,
               std::span(out.ig_half).subspan(job.row * n_gates, n_gates));
  };
  const auto take = [&](size_t i, double value, std::span<const double> gradient) {
    const Job& job = jobs[i];
    keep_score(job, value);
    if (job.t > 0 && job.t < 1) {
      add(job, integration.paths[job.row][job.path], gradient);
    } else {
      for (const Path& path : integration.paths[job.row]) add(job, path, gradient);
    }
  };

  const auto total = static_cast<double>(jobs.size() + ends.size());
  evaluate(integration, score, jobs, true, take,
           [&](size_t done) { progress(static_cast<double>(done) / total); });
  evaluate(
      integration, score, ends, false,
      [&](size_t i, double value, std::span<const double>) { keep_score(ends[i], value); },
      [&](size_t done) { progress(static_cast<double>(jobs.size() + done) / total); });
  return out;
}

}  // namespace

Integrals integrate(const Integration& integration, const ScoreFunction& score,
                    const std::function<void(double)>& progress) {
  HC_CHECK(integration.micro_batch >= 1 && integration.steps >= 1 && !integration.paths.empty());
  for (const auto& row : integration.paths) {
    for (const Path& path : row)
      HC_CHECK(integration.rule != Rule::kGaussLegendre || path.thresholds.empty());
  }
  if (integration.rule == Rule::kAdaptive) return integrate_adaptive(integration, score, progress);
  return integrate_fixed(integration, score, progress);
}

}  // namespace headcount::experiments
