// How probable a model holds a stretch of a text: exactly for causal models, a Monte Carlo estimate
// of the any-order bound for masked ones.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/model.h"

namespace headcount::models {

/// The tokens begin .. end - 1 of `ids`, given the others (a causal model: those before; begin >= 1
/// then).
struct Stretch {
  std::vector<int32_t> ids;
  int64_t begin = 0, end = 0;
  uint64_t sequence = 0;  // names its draws
};

struct LikelihoodOptions {
  int64_t mc_samples = 128;  // masks drawn for a stretch of a masked model
  int64_t stratum = 32;  // masks of a round, their sizes evenly spread; at most mc_samples, which
                         // is rounded up to whole rounds
  uint64_t seed = 0;
  int64_t micro_batch = 32;                         // sequences computed together
  std::function<at::Tensor(int64_t n)> gates = {};  // of n sequences; empty or undefined: all one
  std::function<void(double)> progress = {};        // with the share done
};

struct Likelihood {
  double log_likelihood = 0;  // nats
  double standard_error = 0;  // of the estimate, from the spread of its rounds (of its masks where
                              // there is one round); 0 where exact
  int64_t n_passes = 0;       // sequences computed for it
};

/// Masked models: a round draws k uniform in 1 .. n; its mask r of b covers
/// x = ((k - 1 + floor(r n / b + 1/2)) mod n) + 1 of the n tokens, every set of x as probable as
/// any other; the estimate is the mean of -(n / x) * cross-entropy of the covered tokens over all
/// masks. Its expectation is the any-order bound of the log-likelihood. One token: exact, in one
/// pass. float64 sums; the draws depend on seed, sequence and n alone. Throws Error for a stretch
/// that is empty or not inside its ids.
std::vector<Likelihood> log_likelihoods(const Model& model, const std::vector<Stretch>& stretches,
                                        const LikelihoodOptions& options);

/// The covered positions (0 .. n - 1, ascending) of mask `sample` of a stretch of `n` tokens.
std::vector<int64_t> covered(const LikelihoodOptions& options, uint64_t sequence, int64_t sample,
                             int64_t n);

}  // namespace headcount::models
