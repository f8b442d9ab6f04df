// Evaluates many samples of a score in a fixed order, a micro-batch at a time: what all rules of
// integrate.h share.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "experiments/run/integrate.h"

namespace headcount::experiments {

/// One sample to evaluate: the gates of `path` of `row` at t. End points are those of path 0.
struct Job {
  size_t row = 0, path = 0;
  double t = 0;
};

/// Gets the number of a job, its score and its gradient (empty where none was asked for).
using Sink = std::function<void(size_t job, double score, std::span<const double> gradient)>;

/// Evaluates `jobs` in order, integration.micro_batch of them at a time. `done` is called after
/// every micro-batch with the number of jobs finished.
void evaluate(const Integration& integration, const ScoreFunction& score,
              const std::vector<Job>& jobs, bool with_gradient, const Sink& sink,
              const std::function<void(size_t)>& done);

}  // namespace headcount::experiments
