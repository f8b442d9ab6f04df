#include "models/generate_pick.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::models {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

std::vector<double> softmax(const std::vector<double>& logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p(logits.size());
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += p[i] = std::exp(logits[i] - most);
  for (double& value : p) value /= sum;
  return p;
}

std::vector<size_t> descending(const std::vector<double>& logits) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  return order;
}

void keep_top_k(std::vector<double>& logits, int64_t k) {
  if (k <= 0 || static_cast<size_t>(k) >= logits.size()) return;
  const std::vector<size_t> order = descending(logits);
  for (size_t i = static_cast<size_t>(k); i < order.size(); ++i) logits[order[i]] = kNever;
}

void keep_top_p(std::vector<double>& logits, double p) {
  if (p >= 1) return;
  const std::vector<size_t> order = descending(logits);
  const std::vector<double> probabilities = softmax(logits);
  double sum = 0;
  for (const size_t i : order) {
    if (sum > p) logits[i] = kNever;
    sum += probabilities[i];
  }
}

size_t first_largest(const std::vector<double>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

/// The token whose stretch of the cumulative sum `u` falls into; never one of probability zero.
size_t inverse(const std::vector<double>& p, double u) {
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] <= 0) continue;
    last = i;
    sum += p[i];
    if (u < sum) break;
  }
  return last;
}

}  // namespace

double uniform(const Draw& draw, uint32_t element) {
  HC_CHECK(draw.sequence >> 32 == 0 && draw.position >= 0 && draw.position >> 32 == 0);
  return random_uniform(draw.seed, Purpose::kGeneration,
                        draw.sequence << 32 | static_cast<uint64_t>(draw.position),
                        static_cast<uint32_t>(draw.step), element);
}

std::vector<double> filtered_probabilities(std::vector<double> logits, const Sampling& sampling,
                                           Filter order) {
  if (sampling.temperature > 0) {
    for (double& value : logits) value /= sampling.temperature;
  }
  if (order == Filter::kTopKFirst) keep_top_k(logits, sampling.top_k);
  keep_top_p(logits, sampling.top_p);
  if (order == Filter::kTopPFirst) keep_top_k(logits, sampling.top_k);
  return softmax(logits);
}

Picked pick(std::vector<double> logits, const Sampling& sampling, Filter order, const Draw& draw) {
  const std::vector<double> p = filtered_probabilities(std::move(logits), sampling, order);
  const size_t best = first_largest(p);
  const size_t chosen = sampling.temperature > 0 ? inverse(p, uniform(draw, 0)) : best;
  Picked picked{.token = static_cast<int32_t>(chosen), .probability = p[chosen]};
  double second = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (i != best) second = std::max(second, p[i]);
    picked.neg_entropy += p[i] * std::log(p[i] + 1e-10);
  }
  picked.margin = p[best] - second;
  return picked;
}

Picked pick_gumbel(const std::vector<double>& logits, double temperature, const Draw& draw) {
  std::vector<double> noisy = logits;
  if (temperature > 0) {
    for (size_t i = 0; i < noisy.size(); ++i)
      noisy[i] -= temperature * std::log(-std::log(uniform(draw, static_cast<uint32_t>(i))));
  }
  const size_t chosen = first_largest(noisy);
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double value : logits) sum += std::exp(value - most);
  return {.token = static_cast<int32_t>(chosen),
          .probability = std::exp(logits[chosen] - most) / sum};
}

}  // namespace headcount::models
