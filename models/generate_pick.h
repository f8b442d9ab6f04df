// One token from one row of logits: filters, draws, and how sure the row was. In float64.
#pragma once

#include <cstdint>
#include <vector>

namespace headcount::models {

/// Where a random number of decoding comes from: Philox's (seed, Purpose::kGeneration, sequence and
/// position, step, element). The same for a sequence whatever is decoded beside it.
struct Draw {
  uint64_t seed = 0, sequence = 0;
  int64_t position = 0, step = 0;
};

enum class Filter {
  kTopKFirst,  // top_k, then top_p of what is left, as causal models' published sampling has it
  kTopPFirst   // top_p, then top_k (Dream)
};

struct Sampling {
  double temperature = 0;  // 0: the most probable token
  int64_t top_k = 0;       // only the k most probable; 0: all
  double top_p = 1;        // only the most probable up to and including the one whose sum crosses p
};

/// Probabilities after temperature and filters; equal logits are kept in the order of their ids.
/// Temperature 0 leaves the logits as they are.
std::vector<double> filtered_probabilities(std::vector<double> logits, const Sampling& sampling,
                                           Filter order);

struct Picked {
  int32_t token = 0;
  double probability = 0;  // of the token
  double margin = 0;       // the largest probability less the second
  double neg_entropy = 0;  // sum of p ln(p + 1e-10)
};

/// The most probable token (the lowest id on ties) where temperature is 0, else one drawn by the
/// inverse of the cumulative sum over ids. The three measures are of the filtered probabilities.
Picked pick(std::vector<double> logits, const Sampling& sampling, Filter order, const Draw& draw);

/// LLaDA's draw: argmax of exp(logit) / (-ln U)^temperature, one uniform U per token (the plain
/// argmax at temperature 0). `probability` is softmax(logits)[token] without the temperature; the
/// other measures stay zero.
Picked pick_gumbel(const std::vector<double>& logits, double temperature, const Draw& draw);

/// Uniform in [0, 1).
double uniform(const Draw& draw, uint32_t element);

}  // namespace headcount::models
