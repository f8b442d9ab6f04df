// Gates along a path, and counter-based thresholds.
#include "experiments/run/paths.h"

#include <algorithm>
#include <numeric>

#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::experiments {
namespace {

constexpr double kShortestRamp = 1e-6;

double rho(const Path& path, size_t head, double t) {
  if (path.thresholds.empty()) return t;
  const double u = path.thresholds[head];
  const double risen = path.ramp_width ? (t * (1 + *path.ramp_width) - u) / *path.ramp_width
                                       : (t - u) / std::max(1 - u, kShortestRamp);
  return std::clamp(risen, 0.0, 1.0);
}

/// The stratum of path `index` of a block: element `index` of a Fisher-Yates permutation.
uint32_t stratum(const ThresholdDraw& draw, uint32_t block, uint32_t head, uint32_t index) {
  std::vector<uint32_t> strata(draw.path_block);
  std::iota(strata.begin(), strata.end(), 0U);
  for (uint32_t i = draw.path_block - 1; i > 0; --i) {
    const uint64_t bits = random_bits(draw.seed, Purpose::kPermutation, draw.row_id, block,
                                      head * draw.path_block + i);
    std::swap(strata[i], strata[bits % (i + 1)]);
  }
  return strata[index];
}

}  // namespace

void gates_at(const Path& path, double t, std::span<double> gates) {
  // The ends are set, not computed: (1 - u) / (1 - u) is one, but b + (1 - b) need not be.
  if (t <= 0 || t >= 1) {
    std::fill(gates.begin(), gates.end(), t <= 0 ? path.baseline : 1.0);
    return;
  }
  for (size_t head = 0; head < gates.size(); ++head) {
    const double risen = rho(path, head, t);
    gates[head] = risen >= 1 ? 1.0 : path.baseline + (1 - path.baseline) * risen;
  }
}

Ramp ramp_of(const Path& path, size_t head) {
  if (path.thresholds.empty()) return {};
  const double u = path.thresholds[head];
  if (!path.ramp_width) return {.begin = u, .end = u + std::max(1 - u, kShortestRamp)};
  const double w = *path.ramp_width;
  return {.begin = u / (1 + w), .end = (u + w) / (1 + w)};
}

std::vector<double> kinks(const Path& path) {
  std::vector<double> times;
  for (size_t head = 0; head < path.thresholds.size(); ++head) {
    const Ramp ramp = ramp_of(path, head);
    for (const double t : {ramp.begin, ramp.end}) {
      if (t > 0 && t < 1) times.push_back(t);
    }
  }
  std::sort(times.begin(), times.end());
  times.erase(std::unique(times.begin(), times.end()), times.end());
  return times;
}

std::vector<double> thresholds(const ThresholdDraw& draw, uint32_t path, int64_t first_head,
                               int64_t n_heads) {
  HC_CHECK(draw.path_block > 0);
  std::vector<double> u(static_cast<size_t>(n_heads));
  for (size_t i = 0; i < u.size(); ++i) {
    const auto head = static_cast<uint32_t>(first_head + static_cast<int64_t>(i));
    u[i] = random_uniform(draw.seed, Purpose::kThreshold, draw.row_id, path, head);
    if (!draw.latin_hypercube) continue;
    const uint32_t block = path / draw.path_block;
    u[i] = (stratum(draw, block, head, path % draw.path_block) + u[i]) / draw.path_block;
  }
  return u;
}

}  // namespace headcount::experiments
