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
  Rule rule = Rule::kAdaptive;
  int64_t steps = 8;                // adaptive: intervals it starts from
  double tol = 0, tol_floor = 1.0;  // adaptive: see experiments/run/adaptive.h
  int64_t max_evaluations =
      0;  // adaptive: gradients a (row, path) may use, shared end points included
  /// Adaptive: the score's rounding error relative to its size (16-bit weights); differences of
  /// scores smaller than that say nothing.
  double score_rounding = 0;
  std::vector<int64_t> audited{};  // adaptive: rows integrated once more, every interval halved
  int64_t micro_batch = 64;        // samples evaluated together
};

/// Means over each row's paths, equal weights. All [rows, ...] row-major.
struct Integrals {
  std::vector<double> ig;       // [rows, n_gates]
  std::vector<double> ig_half;  // fixed rules: the same with steps / 2; empty for odd steps
  std::vector<double> score_one, score_base;  // [rows]
  /// Adaptive only. `unconverged` counts the row's paths for which max_evaluations did not reach;
  /// `evaluations` the gradients spent on the row, without those of its audit.
  std::vector<double> unconverged, evaluations;  // [rows]
  std::vector<double> audit;                     // [audited, n_gates]
};

/// Evaluates in a fixed order (fixed rules: rows, then their end points, then paths, then t;
/// adaptive: round after round, in each what the halvings of all rows and their paths ask for),
/// `micro_batch` samples at a time, and sums in float64: the result depends on the arguments alone.
/// End points are evaluated once a row and shared by its paths; nodes of the half rule that are
/// nodes of the rule are used again. `progress` is called after every micro-batch with the share
/// done.
Integrals integrate(const Integration& integration, const ScoreFunction& score,
                    const std::function<void(double)>& progress);

}  // namespace headcount::experiments
