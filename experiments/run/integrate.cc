// Fixed rules stream: every gradient is weighted and added as it comes. The adaptive rule keeps a
// path's gradients, because halving an interval changes the exact increments of nodes it already
// has; why it halves some intervals and not all: docs/adr/0003-adaptive-halves-where-it-changes.md.
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

/// An interval of the adaptive rule that was halved: what that changed in the vector, and how much
/// (L2 norm).
struct Halved {
  double lo = 0, hi = 1;
  double middle() const { return lo + (hi - lo) / 2; }
  std::vector<double> change{};
  double size = 0;
};

/// One (row, path) of the adaptive rule.
struct Refined {
  size_t row = 0, path = 0;
  std::map<double, std::vector<double>> interior{};  // gradients by t in (0, 1)
  std::vector<Halved> halved{};                      // cover [0, 1], not halved again yet
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
    const auto n = static_cast<double>(integration_.steps);
    for (size_t row = 0; row < n_rows; ++row) {
      for (size_t path = 0; path < integration_.paths[row].size(); ++path) {
        Refined r{.row = row, .path = path};
        for (int64_t k = 0; k < integration_.steps; ++k)
          r.halved.push_back(
              {.lo = static_cast<double>(k) / n, .hi = static_cast<double>(k + 1) / n});
        refined_.push_back(std::move(r));
      }
    }
    do {
      evaluate_missing();
      for (Refined& r : refined_) {
        if (!r.done) judge(r);
      }
    } while (
        std::any_of(refined_.begin(), refined_.end(), [](const Refined& r) { return !r.done; }));
    gather();
    return std::move(out_);
  }

 private:
  const Path& path_of(const Refined& r) const { return integration_.paths[r.row][r.path]; }

  const std::vector<double>& gradient(const Refined& r, double t) const {
    if (t > 0 && t < 1) return r.interior.at(t);
    return end_gradient_[t <= 0 ? 0 : 1][r.row];
  }

  /// Adds factor times the trapezoid of one interval.
  void add_trapezoid(const Refined& r, double lo, double hi, double factor,
                     std::vector<double>& total) const {
    for (const double t : {lo, hi})
      add_node(path_of(r), {.t = t, .scale = 0.5, .lo = lo, .hi = hi}, factor, gradient(r, t),
               total);
  }

  /// Takes note of what halving changed, stops where that is little enough, else halves where it
  /// was too much.
  void judge(Refined& r) {
    std::vector<double> change(n_gates_);
    for (Halved& h : r.halved) {
      if (h.change.empty()) {
        h.change.resize(n_gates_);
        add_trapezoid(r, h.lo, h.middle(), 1, h.change);
        add_trapezoid(r, h.middle(), h.hi, 1, h.change);
        add_trapezoid(r, h.lo, h.hi, -1, h.change);
        h.size = norm(h.change);
      }
      for (size_t head = 0; head < n_gates_; ++head) change[head] += h.change[head];
    }
    const double climb = std::abs(out_.score_one[r.row] - out_.score_base[r.row]);
    const double allowed = integration_.tol * std::max(climb, integration_.tol_floor);
    r.converged = norm(change) <= allowed;
    r.done = r.converged || !halve(r, allowed / static_cast<double>(r.halved.size()));
  }

  /// Halves both parts of every interval whose halving changed more than its share, the worst first
  /// as far as max_evaluations reaches. False: it reaches for none.
  bool halve(Refined& r, double share) const {
    const auto used = static_cast<int64_t>(r.interior.size()) + 2;
    const auto room =
        static_cast<size_t>(std::max<int64_t>(0, integration_.max_evaluations - used) / 2);
    std::vector<size_t> worst;
    for (size_t i = 0; i < r.halved.size(); ++i) {
      if (r.halved[i].size > share) worst.push_back(i);
    }
    std::stable_sort(worst.begin(), worst.end(),
                     [&](size_t a, size_t b) { return r.halved[a].size > r.halved[b].size; });
    worst.resize(std::min(worst.size(), room));
    std::sort(worst.begin(), worst.end());
    std::vector<Halved> next;
    size_t at = 0;
    for (size_t i = 0; i < r.halved.size(); ++i) {
      Halved& h = r.halved[i];
      if (at < worst.size() && worst[at] == i) {
        ++at;
        next.push_back({.lo = h.lo, .hi = h.middle()});
        next.push_back({.lo = h.middle(), .hi = h.hi});
      } else {
        next.push_back(std::move(h));
      }
    }
    r.halved = std::move(next);
    return !worst.empty();
  }

  /// Evaluates the gradients the halved intervals need and do not have.
  void evaluate_missing() {
    std::vector<Job> jobs;
    std::vector<Refined*> owner;
    for (Refined& r : refined_) {
      if (r.done) continue;
      const auto want = [&](double t) {
        const bool end = t <= 0 || t >= 1;
        if (end ? !end_gradient_[t <= 0 ? 0 : 1][r.row].empty() || r.path > 0
                : r.interior.contains(t))
          return;
        jobs.push_back({r.row, end ? 0 : r.path, t});
        owner.push_back(&r);
        if (!end) r.interior[t];
      };
      for (const Halved& h : r.halved) {
        want(h.lo);
        want(h.middle());
        if (h.hi >= 1) want(h.hi);
      }
    }
    evaluator_.evaluate(
        jobs, true,
        [&](size_t i, double value, std::span<const double> computed) {
          const Job& job = jobs[i];
          out_.evaluations[job.row] += 1;
          std::vector<double> kept(computed.begin(), computed.end());
          if (job.t > 0 && job.t < 1) {
            owner[i]->interior[job.t] = std::move(kept);
            return;
          }
          (job.t <= 0 ? out_.score_base : out_.score_one)[job.row] = value;
          end_gradient_[job.t <= 0 ? 0 : 1][job.row] = std::move(kept);
        },
        [&](size_t) { report(); });
  }

  void gather() {
    out_.ig.resize(integration_.paths.size() * n_gates_);
    out_.ig_half.resize(out_.ig.size());
    for (const Refined& r : refined_) {
      const double factor = 1 / static_cast<double>(integration_.paths[r.row].size());
      out_.unconverged[r.row] += r.converged ? 0 : 1;
      std::vector<double> half(n_gates_), change(n_gates_);
      for (const Halved& h : r.halved) {
        add_trapezoid(r, h.lo, h.hi, factor, half);
        for (size_t head = 0; head < n_gates_; ++head) change[head] += factor * h.change[head];
      }
      for (size_t head = 0; head < n_gates_; ++head) {
        out_.ig_half[r.row * n_gates_ + head] += half[head];
        out_.ig[r.row * n_gates_ + head] += half[head] + change[head];
      }
    }
  }

  /// The share of (row, path) that are done, the others by how far they are on the way to their
  /// limit: grows with every micro-batch, because only growth renews a lease.
  void report() {
    double share = 0;
    for (const Refined& r : refined_) {
      double had = 0;
      for (const auto& [t, kept] : r.interior) had += kept.empty() ? 0 : 1;
      share += r.done ? 1 : std::min(1.0, had / static_cast<double>(integration_.max_evaluations));
    }
    progress_(share / static_cast<double>(refined_.size()));
  }

  double norm(const std::vector<double>& v) const {
    double sum = 0;
    for (const double x : v) sum += x * x;
    return std::sqrt(sum);
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
