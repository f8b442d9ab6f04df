// The adaptive rule: Simpson's on intervals that are halved where the integral is not settled.
// Why this rule: docs/adr/0003-adaptive-simpson-from-a-graded-start.md.
#pragma once

#include "experiments/run/integrate.h"

namespace headcount::experiments {

/// Starts from `steps` intervals graded towards the baseline: [0, 2^-(steps - 1)], then each twice
/// as far, the last [1/2, 1]. An interval has gradients at its ends, middle and quarters; each
/// head's gate increments weight the parabola through three of them exactly, so kinks of the gates
/// cost nothing and those of the gradient little. Its value is Simpson's on its two halves,
/// extrapolated where the path is straight; its error the larger of
/// - what halving changed (L2 over the heads), over 15 where the path is straight, else over 3;
/// - |sum over heads - (J(hi) - J(lo))|, which is zero for the exact integral. A difference below
///   `score_rounding` of J (or of tol_floor) says nothing; one that the gradients of three halvings
///   in a row do not show is rounding too, and is left out below four times that, or 2^-14 of J.
/// Intervals whose error exceeds an equal share of what is allowed are halved, until the errors of
/// all add up to at most tol * max(|score_one - score_base|, tol_floor); for each (row, path) by
/// itself. Where max_evaluations is near, the worst go first; a path it does not reach for counts
/// as unconverged. `audited` rows are integrated once more with all their final intervals halved.
Integrals integrate_adaptive(const Integration& integration, const ScoreFunction& score,
                             const std::function<void(double)>& progress);

/// The times between which the adaptive rule's first intervals lie, 0 and 1 included.
std::vector<double> graded(int64_t steps);

}  // namespace headcount::experiments
