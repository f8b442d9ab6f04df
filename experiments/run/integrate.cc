// Fixed rules stream: every gradient is weighted and added as it comes. The adaptive rule keeps a
// path's gradients, because halving an interval changes the exact increments of nodes it already
// has.
#include "experiments/run/integrate.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "schemas/error.h"

namespace headcount::experiments {
namespace {

/// One sample to evaluate: the gates of `path` of `row` at t. End points are those of path 0.
struct Job {
  size_t row = 0, path = 0;
  double t = 0;
};

/// Evaluates jobs in order, one micro-batch after the other, and hands each its score and gradient.
class Evaluator {
 public:
  using Sink = std::function<void(size_t job, double score, std::span<const double> gradient)>;

  Evaluator(const Integration& integration, const ScoreFunction& score)
      : integration_(integration),
        score_(score),
        n_gates_(static_cast<size_t>(integration.n_gates)) {}

  /// `done` is called after every micro-batch with the number of jobs finished.
  void evaluate(const std::vector<Job>& jobs, bool with_gradient, const Sink& sink,
                const std::function<void(size_t)>& done) const {
    const auto size = static_cast<size_t>(integration_.micro_batch);
    for (size_t first = 0; first < jobs.size(); first += size) {
      const size_t last = std::min(first + size, jobs.size());
      std::vector<int64_t> rows;
      std::vector<double> gates((last - first) * n_gates_);
      for (size_t i = first; i < last; ++i) {
        rows.push_back(static_cast<int64_t>(jobs[i].row));
        gates_at(integration_.paths[jobs[i].row][jobs[i].path], jobs[i].t,
                 std::span(gates).subspan((i - first) * n_gates_, n_gates_));
      }
      const Scored scored = score_({.row = rows, .gates = gates}, with_gradient);
      for (size_t i = first; i < last; ++i) {
        std::span<const double> gradient;
        if (with_gradient)
          gradient = std::span(scored.gradient).subspan((i - first) * n_gates_, n_gates_);
        sink(i, scored.score[i - first], gradient);
      }
      done(last);
    }
  }

 private:
  const Integration& integration_;
  const ScoreFunction& score_;
  size_t n_gates_;
};

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
  const Evaluator evaluator(integration, score);
  evaluator.evaluate(jobs, true, take,
                     [&](size_t done) { progress(static_cast<double>(done) / total); });
  evaluator.evaluate(
      ends, false,
      [&](size_t i, double value, std::span<const double>) { keep_score(ends[i], value); },
      [&](size_t done) { progress(static_cast<double>(jobs.size() + done) / total); });
  return out;
}

/// One (row, path) of the adaptive rule.
struct Refined {
  size_t row = 0, path = 0;
  int64_t steps = 0;                                 // intervals now
  std::map<double, std::vector<double>> interior{};  // gradients by t in (0, 1)
  std::vector<double> now{}, before{};  // the vector with `steps` intervals and with half of them
  bool done = false, converged = false;
};

class Adaptive {
 public:
  Adaptive(const Integration& integration, const ScoreFunction& score,
           const std::function<void(double)>& progress)
      : integration_(integration),
        evaluator_(integration, score),
        progress_(progress),
        n_gates_(static_cast<size_t>(integration.n_gates)) {}

  Integrals run() {
    const size_t n_rows = integration_.paths.size();
    out_.score_one.resize(n_rows);
    out_.score_base.resize(n_rows);
    out_.unconverged.resize(n_rows);
    out_.evaluations.resize(n_rows);
    end_gradient_[0].resize(n_rows);
    end_gradient_[1].resize(n_rows);
    for (size_t row = 0; row < n_rows; ++row) {
      for (size_t path = 0; path < integration_.paths[row].size(); ++path)
        refined_.push_back({.row = row, .path = path, .steps = integration_.steps});
    }
    evaluate_missing(true);
    for (Refined& r : refined_) r.now = vector_of(r);
    while (refine()) {
    }
    gather();
    return std::move(out_);
  }

 private:
  /// Halves the intervals of every (row, path) that may still be halved; false: none was.
  bool refine() {
    bool any = false;
    for (Refined& r : refined_) {
      if (r.done) continue;
      if (2 * r.steps + 1 > integration_.max_evaluations) {
        r.done = true;
        continue;
      }
      r.steps *= 2;
      any = true;
    }
    if (!any) return false;
    evaluate_missing(false);
    for (Refined& r : refined_) {
      if (r.done) continue;
      r.before = std::move(r.now);
      r.now = vector_of(r);
      double change = 0;
      for (size_t head = 0; head < n_gates_; ++head)
        change += (r.now[head] - r.before[head]) * (r.now[head] - r.before[head]);
      const double climb = std::abs(out_.score_one[r.row] - out_.score_base[r.row]);
      r.converged = std::sqrt(change) <= integration_.tol * std::max(climb, integration_.tol_floor);
      r.done = r.converged;
    }
    return true;
  }

  /// Evaluates the gradients that the vectors at the present number of steps need and do not have.
  void evaluate_missing(bool with_ends) {
    std::vector<Job> jobs;
    std::vector<Refined*> owner;
    for (Refined& r : refined_) {
      if (r.done) continue;
      if (with_ends && r.path == 0) {
        for (const double t : {0.0, 1.0}) {
          jobs.push_back({r.row, 0, t});
          owner.push_back(nullptr);
        }
      }
      for (const Node& node : nodes(Rule::kTrapezoid, r.steps)) {
        if (node.t <= 0 || node.t >= 1 || r.interior.contains(node.t)) continue;
        jobs.push_back({r.row, r.path, node.t});
        owner.push_back(&r);
      }
    }
    evaluator_.evaluate(
        jobs, true,
        [&](size_t i, double value, std::span<const double> gradient) {
          const Job& job = jobs[i];
          out_.evaluations[job.row] += 1;
          std::vector<double> kept(gradient.begin(), gradient.end());
          if (owner[i]) {
            owner[i]->interior.emplace(job.t, std::move(kept));
            return;
          }
          (job.t == 0 ? out_.score_base : out_.score_one)[job.row] = value;
          end_gradient_[job.t == 0 ? 0 : 1][job.row] = std::move(kept);
        },
        [&](size_t) { report(); });
  }

  std::vector<double> vector_of(const Refined& r) const {
    std::vector<double> total(n_gates_);
    for (const Node& node : nodes(Rule::kTrapezoid, r.steps)) {
      const bool end = node.t <= 0 || node.t >= 1;
      add_node(integration_.paths[r.row][r.path], node, 1,
               end ? end_gradient_[node.t <= 0 ? 0 : 1][r.row] : r.interior.at(node.t), total);
    }
    return total;
  }

  void gather() {
    out_.ig.resize(integration_.paths.size() * n_gates_);
    out_.ig_half.resize(out_.ig.size());
    for (const Refined& r : refined_) {
      const double factor = 1 / static_cast<double>(integration_.paths[r.row].size());
      out_.unconverged[r.row] += r.converged ? 0 : 1;
      for (size_t head = 0; head < n_gates_; ++head) {
        out_.ig[r.row * n_gates_ + head] += factor * r.now[head];
        out_.ig_half[r.row * n_gates_ + head] +=
            factor * (r.before.empty() ? r.now : r.before)[head];
      }
    }
  }

  /// The share of (row, path) that are done, then how far this round of the others is on the way to
  /// the limit: grows with every micro-batch, because only growth renews a lease.
  void report() {
    double share = 0;
    for (const Refined& r : refined_) {
      const auto limit =
          static_cast<double>(std::max<int64_t>(integration_.max_evaluations, r.steps + 1));
      const double had = static_cast<double>(r.interior.size());
      share += r.done ? 1 : std::min(1.0, had / limit);
    }
    progress_(share / static_cast<double>(refined_.size()));
  }

  const Integration& integration_;
  Evaluator evaluator_;
  const std::function<void(double)>& progress_;
  size_t n_gates_;
  std::vector<Refined> refined_;
  std::vector<std::vector<double>> end_gradient_[2];  // [base, one][row]
  Integrals out_;
};

}  // namespace

Integrals integrate(const Integration& integration, const ScoreFunction& score,
                    const std::function<void(double)>& progress) {
  HC_CHECK(integration.micro_batch >= 1 && integration.steps >= 1 && !integration.paths.empty());
  for (const auto& row : integration.paths) {
    for (const Path& path : row)
      HC_CHECK(integration.rule != Rule::kGaussLegendre || path.thresholds.empty());
  }
  if (integration.rule == Rule::kAdaptive) return Adaptive(integration, score, progress).run();
  return integrate_fixed(integration, score, progress);
}

}  // namespace headcount::experiments
