#include "experiments/run/brute_force.h"

#include <cmath>

#include "experiments/run/evaluator.h"
#include "schemas/error.h"

namespace headcount::experiments {
namespace {

using Vector = std::vector<double>;
constexpr int kGrading = 14;  // intervals behind a cut go down to 2^-14
constexpr int64_t kNodes = 8;

/// An interval by one rule and by that rule on its two halves.
struct Interval {
  double lo = 0, hi = 1;
  Vector coarse{}, fine_left{}, fine_right{};  // coarse: known from the halving that made it
  double moved = 0;
  bool known = false;
};

std::vector<Interval> first_intervals(const Path& path) {
  Vector cuts = {0};
  for (const double t : kinks(path)) cuts.push_back(t);
  cuts.push_back(1);
  std::vector<Interval> intervals;
  for (size_t i = 0; i + 1 < cuts.size(); ++i) {
    double lo = cuts[i];
    for (int k = -kGrading; k <= 0; ++k) {
      const double hi = std::min(cuts[i] + std::ldexp(1.0, k), cuts[i + 1]);
      if (hi > lo) intervals.push_back({.lo = lo, .hi = hi});
      lo = hi;
    }
  }
  return intervals;
}

}  // namespace

BruteForce brute_force(const Integration& integration, const ScoreFunction& score, int64_t row,
                       int64_t path, double allowed) {
  const auto n_gates = static_cast<size_t>(integration.n_gates);
  const auto r = static_cast<size_t>(row), p = static_cast<size_t>(path);
  const Path& along = integration.paths.at(r).at(p);
  const GaussLegendre rule = gauss_legendre(kNodes);
  BruteForce out;

  // Gauss-Legendre of every [lo, hi]; the gates are straight on it.
  const auto integrals = [&](const std::vector<std::pair<double, double>>& of) {
    std::vector<Job> jobs;
    for (const auto& [lo, hi] : of) {
      for (const double x : rule.x) jobs.push_back({r, p, lo + (hi - lo) * x});
    }
    out.evaluations += static_cast<int64_t>(jobs.size());
    std::vector<Vector> sums(of.size(), Vector(n_gates));
    evaluate(
        integration, score, jobs, true,
        [&](size_t i, double, std::span<const double> gradient) {
          Vector& sum = sums[i / kNodes];
          for (size_t head = 0; head < n_gates; ++head)
            sum[head] += rule.weight[i % kNodes] * gradient[head];
        },
        [](size_t) {});
    for (size_t i = 0; i < of.size(); ++i) {
      Vector lo(n_gates), hi(n_gates);
      gates_at(along, of[i].first, lo);
      gates_at(along, of[i].second, hi);
      for (size_t head = 0; head < n_gates; ++head) sums[i][head] *= hi[head] - lo[head];
    }
    return sums;
  };

  std::vector<Interval> intervals = first_intervals(along);
  std::vector<std::pair<double, double>> wholes;
  for (const Interval& one : intervals) wholes.emplace_back(one.lo, one.hi);
  const auto coarse = integrals(wholes);
  for (size_t i = 0; i < intervals.size(); ++i) intervals[i].coarse = coarse[i];
  while (true) {
    std::vector<std::pair<double, double>> halves;
    for (const Interval& one : intervals) {
      if (one.known) continue;
      const double middle = one.lo + (one.hi - one.lo) / 2;
      halves.emplace_back(one.lo, middle);
      halves.emplace_back(middle, one.hi);
    }
    const auto fine = integrals(halves);
    size_t at = 0;
    out.moved = 0;
    for (Interval& one : intervals) {
      if (!one.known) {
        one.known = true;
        one.fine_left = fine[at++];
        one.fine_right = fine[at++];
        double sum = 0;
        for (size_t head = 0; head < n_gates; ++head) {
          const double change = one.fine_left[head] + one.fine_right[head] - one.coarse[head];
          sum += change * change;
        }
        one.moved = std::sqrt(sum);
      }
      out.moved += one.moved;
    }
    const double share = allowed / static_cast<double>(intervals.size());
    std::vector<Interval> next;
    bool halved = false;
    for (Interval& one : intervals) {
      const double middle = one.lo + (one.hi - one.lo) / 2;
      if (out.moved <= allowed || one.moved <= share || one.hi - one.lo < std::ldexp(1.0, -40)) {
        next.push_back(std::move(one));
        continue;
      }
      halved = true;
      next.push_back({.lo = one.lo, .hi = middle, .coarse = std::move(one.fine_left)});
      next.push_back({.lo = middle, .hi = one.hi, .coarse = std::move(one.fine_right)});
    }
    intervals = std::move(next);
    if (!halved) break;
  }
  out.ig.resize(n_gates);
  for (const Interval& one : intervals) {
    for (size_t head = 0; head < n_gates; ++head)
      out.ig[head] += one.fine_left[head] + one.fine_right[head];
  }
  return out;
}

}  // namespace headcount::experiments
