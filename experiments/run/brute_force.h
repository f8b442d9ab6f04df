// The witness of every rule: the same integral without economy.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/run/integrate.h"

namespace headcount::experiments {

/// The integral along path `path` of row `row` by composite Gauss-Legendre with eight nodes, on
/// intervals cut at every kink of the path and graded towards each cut and towards 0 down to
/// 2^-14. Intervals are halved until the last halvings together move the vector by at most
/// `allowed` (the sum of their L2 norms), or no interval is wider than 2^-40.
struct BruteForce {
  std::vector<double> ig;  // [n_gates]
  double moved = 0;        // by the last halvings
  int64_t evaluations = 0;
};
BruteForce brute_force(const Integration& integration, const ScoreFunction& score, int64_t row,
                       int64_t path, double allowed);

}  // namespace headcount::experiments
