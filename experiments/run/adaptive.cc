// A (row, path) keeps its gradients by t while it is refined, because every halving uses them
// again, and only its sum afterwards.
#include "experiments/run/adaptive.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "experiments/run/evaluator.h"
#include "schemas/error.h"

namespace headcount::experiments {
namespace {

using Vector = std::vector<double>;

/// After so many halvings for the score's sake alone, a little that is missing is its rounding.
constexpr int kHalvingsForTheScore = 3;
/// Of J: what sums in float32 may round. More is left out only where the dtype is coarser.
constexpr double kSumRounding = 0x1p-14;
/// Shorter intervals are not halved: their quarters would fall on each other.
constexpr double kLeastWidth = 0x1p-48;

struct Node {
  double score = 0;
  Vector gradient{};
};

struct Interval {
  double lo = 0, hi = 1;
  int for_the_score = 0;  // halvings in a row that led here and that the gradients did not ask for
  Vector value{};         // empty: not judged yet
  double change = 0;      // error by halving
  double gap = 0;         // error by the score; 0 where it is rounding
  double error() const { return std::max(change, gap); }
  /// Five times: ends, quarters, middle.
  std::array<double, 5> times() const {
    const double quarter = (hi - lo) / 4;
    return {lo, lo + quarter, lo + 2 * quarter, lo + 3 * quarter, hi};
  }
};

double norm(const Vector& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return std::sqrt(sum);
}

/// Integrals from 0 to x of the parabolas that are one at 0, 1/2 or 1 and zero at the other two.
std::array<double, 3> primitives(double x) {
  return {x * (1 + x * (2 * x / 3 - 1.5)), x * x * (2 - 4 * x / 3), x * x * (2 * x / 3 - 0.5)};
}

/// Adds the integral over [lo, hi] of the parabola through three gradients, times the increments of
/// each head's gate.
void add_simpson(const Path& path, double lo, double hi, const std::array<const Vector*, 3>& g,
                 Vector& total) {
  Vector gates_lo(total.size()), gates_hi(total.size());
  gates_at(path, lo, gates_lo);
  gates_at(path, hi, gates_hi);
  for (size_t head = 0; head < total.size(); ++head) {
    const double increment = gates_hi[head] - gates_lo[head];
    if (increment == 0) continue;
    const Ramp ramp = ramp_of(path, head);
    const double from = std::clamp((ramp.begin - lo) / (hi - lo), 0.0, 1.0);
    const double to = std::clamp((ramp.end - lo) / (hi - lo), 0.0, 1.0);
    // An increment over no time (a ramp that rounding cut off at 1) is one at the end.
    std::array<double, 3> weight = {0, 0, 1};
    if (to > from) {
      const auto at_from = primitives(from), at_to = primitives(to);
      for (size_t i = 0; i < 3; ++i) weight[i] = (at_to[i] - at_from[i]) / (to - from);
      weight[2] = 1 - weight[0] - weight[1];  // what they add up to, exactly
    }
    total[head] += increment * (weight[0] * (*g[0])[head] + weight[1] * (*g[1])[head] +
                                weight[2] * (*g[2])[head]);
  }
}

/// One (row, path).
struct Refined {
  size_t row = 0, path = 0;
  Vector kinks{};
  std::map<double, Node> interior{};  // by t in (0, 1)
  std::vector<Interval> intervals{};  // cover [0, 1]
  int64_t n_evaluated = 0;
  Vector ig{};
  bool done = false, converged = false;
};

class Adaptive {
 public:
  Adaptive(const Integration& integration, const ScoreFunction& score,
           const std::function<void(double)>& progress)
      : integration_(integration),
        score_(score),
        progress_(progress),
        n_gates_(static_cast<size_t>(integration.n_gates)) {}

  Integrals run() {
    const size_t n_rows = integration_.paths.size();
    out_.ig.resize(n_rows * n_gates_);
    out_.audit.resize(integration_.audited.size() * n_gates_);
    for (Vector* per_row :
         {&out_.score_one, &out_.score_base, &out_.unconverged, &out_.evaluations})
      per_row->resize(n_rows);
    ends_[0].resize(n_rows);
    ends_[1].resize(n_rows);
    start();
    while (!all_done()) {
      evaluate_missing(false);
      for (Refined& r : refined_) {
        if (!r.done) judge(r);
      }
    }
    audit();
    for (Refined& r : refined_) {
      add_path(r.ig, r, std::span(out_.ig).subspan(r.row * n_gates_, n_gates_));
      out_.unconverged[r.row] += r.converged ? 0 : 1;
    }
    return std::move(out_);
  }

 private:
  const Path& path_of(const Refined& r) const { return integration_.paths[r.row][r.path]; }
  bool all_done() const {
    return std::all_of(refined_.begin(), refined_.end(), [](const Refined& r) { return r.done; });
  }

  void start() {
    const Vector times = graded(integration_.steps);
    for (size_t row = 0; row < integration_.paths.size(); ++row) {
      for (size_t path = 0; path < integration_.paths[row].size(); ++path) {
        Refined r{.row = row, .path = path, .kinks = kinks(integration_.paths[row][path])};
        for (size_t i = 0; i + 1 < times.size(); ++i)
          r.intervals.push_back({.lo = times[i], .hi = times[i + 1]});
        refined_.push_back(std::move(r));
      }
    }
  }

  const Node& node(const Refined& r, double t) const {
    if (t > 0 && t < 1) return r.interior.at(t);
    return ends_[t <= 0 ? 0 : 1][r.row];
  }

  bool straight(const Refined& r, const Interval& one) const {
    const auto kink = std::upper_bound(r.kinks.begin(), r.kinks.end(), one.lo);
    return kink == r.kinks.end() || *kink >= one.hi;
  }

  void value(const Refined& r, Interval& one) const {
    const auto t = one.times();
    std::array<const Vector*, 5> g{};
    for (size_t i = 0; i < 5; ++i) g[i] = &node(r, t[i]).gradient;
    Vector whole(n_gates_);
    one.value.assign(n_gates_, 0.0);
    add_simpson(path_of(r), t[0], t[4], {g[0], g[2], g[4]}, whole);
    add_simpson(path_of(r), t[0], t[2], {g[0], g[1], g[2]}, one.value);
    add_simpson(path_of(r), t[2], t[4], {g[2], g[3], g[4]}, one.value);
    for (size_t head = 0; head < n_gates_; ++head) whole[head] = one.value[head] - whole[head];
    const bool smooth = straight(r, one);
    one.change = norm(whole) / (smooth ? 15 : 3);
    if (smooth) {
      for (size_t head = 0; head < n_gates_; ++head) one.value[head] += whole[head] / 15;
    }
    const double lo = node(r, t[0]).score, hi = node(r, t[4]).score;
    double sum = 0;
    for (const double x : one.value) sum += x;
    one.gap = std::abs(sum - (hi - lo));
    const double size = std::max({std::abs(lo), std::abs(hi), integration_.tol_floor});
    if (one.gap <= integration_.score_rounding * size ||
        (one.for_the_score >= kHalvingsForTheScore &&
         one.gap <= std::max(kSumRounding, 4 * integration_.score_rounding) * size))
      one.gap = 0;
  }

  /// Values what is new, stops where the errors are little enough, else halves where they are not.
  void judge(Refined& r) {
    double error = 0;
    for (Interval& one : r.intervals) {
      if (one.value.empty()) value(r, one);
      error += one.error();
    }
    const double climb = std::abs(out_.score_one[r.row] - out_.score_base[r.row]);
    const double allowed = integration_.tol * std::max(climb, integration_.tol_floor);
    r.converged = error <= allowed;
    r.done = r.converged || !halve(r, allowed / static_cast<double>(r.intervals.size()));
    if (!r.done) return;
    r.ig = sum_of(r);
    if (!is_audited(r)) {
      r.interior.clear();
      r.intervals.clear();
    }
  }

  Vector sum_of(const Refined& r) const {
    Vector sum(n_gates_);
    for (const Interval& one : r.intervals) {
      for (size_t head = 0; head < n_gates_; ++head) sum[head] += one.value[head];
    }
    return sum;
  }

  /// Halves every interval whose error is above its share, the worst first as far as
  /// max_evaluations reaches. False: for none, or the worst are too short to halve.
  bool halve(Refined& r, double share) const {
    const auto used = static_cast<int64_t>(r.interior.size()) + 2;
    const auto room =
        static_cast<size_t>(std::max<int64_t>(0, integration_.max_evaluations - used) / 4);
    std::vector<size_t> worst;
    for (size_t i = 0; i < r.intervals.size(); ++i) {
      const Interval& one = r.intervals[i];
      if (one.error() > share && one.hi - one.lo >= kLeastWidth) worst.push_back(i);
    }
    std::stable_sort(worst.begin(), worst.end(), [&](size_t a, size_t b) {
      return r.intervals[a].error() > r.intervals[b].error();
    });
    worst.resize(std::min(worst.size(), room));
    std::sort(worst.begin(), worst.end());
    std::vector<Interval> next;
    size_t at = 0;
    for (size_t i = 0; i < r.intervals.size(); ++i) {
      Interval& one = r.intervals[i];
      if (at == worst.size() || worst[at] != i) {
        next.push_back(std::move(one));
        continue;
      }
      ++at;
      halve(one, one.change > share ? 0 : one.for_the_score + 1, next);
    }
    r.intervals = std::move(next);
    return !worst.empty();
  }

  static void halve(const Interval& one, int for_the_score, std::vector<Interval>& halves) {
    const double middle = one.times()[2];
    halves.push_back({.lo = one.lo, .hi = middle, .for_the_score = for_the_score});
    halves.push_back({.lo = middle, .hi = one.hi, .for_the_score = for_the_score});
  }

  /// Evaluates the nodes that open paths (or, `of_audits`, those of audited rows) need and lack.
  void evaluate_missing(bool of_audits) {
    std::vector<Job> jobs;
    std::vector<Refined*> owner;
    for (Refined& r : refined_) {
      if (of_audits ? !is_audited(r) : r.done) continue;
      for (const Interval& one : r.intervals) {
        if (!one.value.empty()) continue;
        for (const double t : one.times()) {
          const bool end = t <= 0 || t >= 1;
          if (end ? !ends_[t <= 0 ? 0 : 1][r.row].gradient.empty() || r.path > 0
                  : !r.interior.try_emplace(t).second)
            continue;
          if (end) ends_[t <= 0 ? 0 : 1][r.row].gradient.resize(n_gates_);
          jobs.push_back({r.row, end ? 0 : r.path, t});
          owner.push_back(&r);
        }
      }
    }
    const auto take = [&](size_t i, double score, std::span<const double> gradient) {
      const Job& job = jobs[i];
      if (!of_audits) out_.evaluations[job.row] += 1;
      ++owner[i]->n_evaluated;
      Node computed{.score = score, .gradient = {gradient.begin(), gradient.end()}};
      if (job.t > 0 && job.t < 1) {
        owner[i]->interior[job.t] = std::move(computed);
        return;
      }
      (job.t <= 0 ? out_.score_base : out_.score_one)[job.row] = score;
      ends_[job.t <= 0 ? 0 : 1][job.row] = std::move(computed);
    };
    evaluate(integration_, score_, jobs, true, take, [&](size_t n) {
      report(of_audits ? static_cast<double>(n) / static_cast<double>(jobs.size()) : 0);
    });
  }

  bool is_audited(const Refined& r) const {
    return std::find(integration_.audited.begin(), integration_.audited.end(),
                     static_cast<int64_t>(r.row)) != integration_.audited.end();
  }

  void audit() {
    for (Refined& r : refined_) {
      if (!is_audited(r)) continue;
      std::vector<Interval> halves;
      for (const Interval& one : r.intervals) halve(one, 0, halves);
      r.intervals = std::move(halves);
    }
    evaluate_missing(true);
    for (Refined& r : refined_) {
      if (!is_audited(r)) continue;
      for (Interval& one : r.intervals) value(r, one);
      const auto at = std::find(integration_.audited.begin(), integration_.audited.end(),
                                static_cast<int64_t>(r.row)) -
                      integration_.audited.begin();
      add_path(sum_of(r), r,
               std::span(out_.audit).subspan(static_cast<size_t>(at) * n_gates_, n_gates_));
    }
  }

  /// Adds one path's share of its row's mean.
  void add_path(const Vector& ig, const Refined& r, std::span<double> mean) const {
    const auto n_paths = static_cast<double>(integration_.paths[r.row].size());
    for (size_t head = 0; head < n_gates_; ++head) mean[head] += ig[head] / n_paths;
  }

  /// The share of (row, path) that are done, and of the others how far they are on the way to
  /// their limit: grows with every micro-batch, because only growth renews a lease.
  void report(double audited) const {
    double share = 0;
    for (const Refined& r : refined_) {
      const auto had = static_cast<double>(r.n_evaluated);
      share += r.done ? 1 : std::min(1.0, had / static_cast<double>(integration_.max_evaluations));
    }
    const double of_audits = integration_.audited.empty() ? 0 : 0.1;
    progress_((1 - of_audits) * share / static_cast<double>(refined_.size()) + of_audits * audited);
  }

  const Integration& integration_;
  const ScoreFunction& score_;
  const std::function<void(double)>& progress_;
  size_t n_gates_;
  std::vector<Refined> refined_;
  std::vector<Node> ends_[2];  // [base, one][row]
  Integrals out_;
};

}  // namespace

std::vector<double> graded(int64_t steps) {
  HC_CHECK(steps >= 1 && steps <= 64);
  Vector times = {0};
  for (int64_t k = steps - 1; k >= 0; --k) times.push_back(std::ldexp(1.0, static_cast<int>(-k)));
  return times;
}

Integrals integrate_adaptive(const Integration& integration, const ScoreFunction& score,
                             const std::function<void(double)>& progress) {
  return Adaptive(integration, score, progress).run();
}

}  // namespace headcount::experiments
