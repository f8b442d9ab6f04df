// Integrated gradients of a score over gates along paths: sum over a path of gradient x exact gate
// increment, for many rows and paths at once. The score is an abstract batched function, so the
// same code integrates a model and a closed form. Completeness: the sum over gates tends to
// score(1) - score(baseline) as the rule is refined, for every path.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "experiments/run/paths.h"
#include "experiments/run/quadrature.h"

namespace headcount::experiments {

/// Samples evaluated together: `row` [n] indices into the rows of the integral, ascending; `gates`
/// [n, n_gates] row-major.
struct Samples {
  std::span<const int64_t> row;
  std::span<const double> gates;
};
/// score [n]; gradient [n, n_gates] row-major, empty where none was asked for.
struct Scored {
  std::vector<double> score, gradient;
};
/// The score of each sample and, where asked, its gradient in the gates.
using ScoreFunction = std::function<Scored(const Samples&, bool with_gradient)>;

struct Integration {
  int64_t n_gates = 0;
  std::vector<std::vector<Path>>
      paths;  // [row][path]; as many paths for every row, one baseline for all
  Rule rule = Rule::kTrapezoid;
  int64_t steps = 8;
  double tol = 1e-3, tol_floor = 1.0;  // adaptive: see Integrals::unconverged
  int64_t max_evaluations =
      0;  // adaptive: gradients a (row, path) may use, shared end points included
  int64_t micro_batch = 64;  // samples evaluated together
};

/// Means over each row's paths, equal weights. All [rows, ...] row-major.
struct Integrals {
  std::vector<double> ig;       // [rows, n_gates]
  std::vector<double> ig_half;  // the same with steps / 2; adaptive: one halving before the last;
                                // empty for odd steps
  std::vector<double> score_one, score_base;  // [rows]
  /// Adaptive only. The trapezoid of `steps` intervals, all of them halved once; then those
  /// intervals are halved again whose last halving changed the vector by more than their share of
  /// what is allowed, until the L2 norm of the change made by every interval's last halving
  /// together is <= tol * max(|score_one - score_base|, tol_floor); for each (row, path) by itself.
  /// ig_half is the vector without those last halvings. `unconverged` counts the row's paths for
  /// which max_evaluations did not reach (then the worst intervals are halved as far as it does);
  /// `evaluations` counts the gradients spent on the row.
  std::vector<double> unconverged, evaluations;  // [rows]
};

/// Evaluates in a fixed order (rows, then their end points, then paths, then t), `micro_batch`
/// samples at a time, and sums in float64: the result depends on the arguments alone. End points
/// are evaluated once a row and shared by its paths; nodes of the half rule that are nodes of the
/// rule are used again. `progress` is called after every micro-batch with the share done.
Integrals integrate(const Integration& integration, const ScoreFunction& score,
                    const std::function<void(double)>& progress);

}  // namespace headcount::experiments
