#include "models/generate_schedule.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "schemas/error.h"

namespace headcount::models {

std::vector<int64_t> even_schedule(int64_t n_masked, int64_t n_steps) {
  HC_CHECK(n_masked >= 0 && n_steps >= 1);
  std::vector<int64_t> counts(static_cast<size_t>(n_steps), n_masked / n_steps);
  for (size_t i = 0; i < static_cast<size_t>(n_masked % n_steps); ++i) ++counts[i];
  return counts;
}

std::vector<double> noise_levels(int64_t n_steps, double eps) {
  HC_CHECK(n_steps >= 1 && eps > 0 && eps < 1);
  std::vector<double> levels;
  for (int64_t i = 0; i <= n_steps; ++i)
    levels.push_back(1 - (1 - eps) * static_cast<double>(i) / static_cast<double>(n_steps));
  return levels;
}

double revealed_share(const std::vector<double>& levels, int64_t step) {
  const auto i = static_cast<size_t>(step);
  HC_CHECK(step >= 0 && i + 1 < levels.size());
  return i + 2 == levels.size() ? 1 : 1 - levels[i + 1] / levels[i];
}

int64_t revealed_count(const std::vector<double>& levels, int64_t step, int64_t n_masked) {
  return static_cast<int64_t>(
      std::floor(static_cast<double>(n_masked) * revealed_share(levels, step)));
}

std::vector<size_t> largest(const std::vector<double>& values, int64_t n) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return values[a] > values[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(std::max<int64_t>(n, 0))));
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace headcount::models
