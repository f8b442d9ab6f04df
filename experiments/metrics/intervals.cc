#include "experiments/metrics/intervals.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "experiments/metrics/statistics.h"
#include "schemas/error.h"

namespace headcount::metrics {
namespace {

constexpr double kNormal = 1.959963984540054;  // its 97.5 % quantile

/// How far a mean's interval reaches below and above it.
struct Reach {
  double below = 0, above = 0;
};

/// P(|T| < sqrt(degrees) tan(angle)): Abramowitz and Stegun 26.7.3 and 26.7.4.
double student_within(double angle, int64_t degrees) {
  const double cosine = std::cos(angle), square = cosine * cosine;
  const bool odd = degrees % 2 == 1;
  double term = odd ? cosine : 1, sum = degrees == 1 ? 0 : term;
  for (int64_t i = odd ? 3 : 2; i < degrees; i += 2) {
    term *= square * static_cast<double>(i - 1) / static_cast<double>(i);
    sum += term;
  }
  const double part = std::sin(angle) * sum;
  return odd ? 2 / std::numbers::pi * (angle + part) : part;
}

/// Of the population the values were drawn from (they differ); 0 for two. A sample shows too little
/// of it, at most about sqrt(n): raised by Hazen's 1 + 8.5 / n.
double skewness_of(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  if (values.size() < 3) return 0;
  const double center = mean(values), deviation = standard_deviation(values);
  std::vector<double> cubes;  // of small deviations would be 0
  for (const double value : values) cubes.push_back(std::pow((value - center) / deviation, 3));
  return exact_sum(cubes) * n / ((n - 1) * (n - 2)) * (1 + 8.5 / n);
}

/// Hall's transformation of T = (mean - truth) / se is T + a/3 T^2 + a^2/27 T^3 + a/6, where a is
/// the skewness of the mean; this is its inverse.
double untransformed(double t, double skewness) {
  if (std::abs(skewness) < 1e-6) return t;
  return 3 / skewness * (std::cbrt(1 + skewness * (t - skewness / 6)) - 1);
}

/// Of the mean of at least two values.
Reach reach(std::span<const double> values) {
  const double se = *estimate(values).se;
  if (se == 0) return {};
  const auto n = static_cast<double>(values.size());
  const double t = student_quantile(static_cast<int64_t>(values.size()) - 1);
  const double skewness = skewness_of(values) / std::sqrt(n);  // of the mean
  return {.below = se * untransformed(t, skewness), .above = -se * untransformed(-t, skewness)};
}

/// Wilson's interval of a share seen in n independent tries.
Interval wilson(double share, double n) {
  const double z2 = kNormal * kNormal;
  const double center = (share + z2 / (2 * n)) / (1 + z2 / n);
  const double half =
      kNormal / (1 + z2 / n) * std::sqrt(share * (1 - share) / n + z2 / (4 * n * n));
  return {share > 0 ? center - half : 0, share < 1 ? center + half : 1};  // exactly, at the ends
}

}  // namespace

double student_quantile(int64_t degrees) {
  HC_CHECK(degrees >= 1);
  degrees = std::min(degrees, int64_t{1000});
  double low = 0, high = std::numbers::pi / 2;
  for (int halving = 0; halving < 60; ++halving) {
    const double middle = (low + high) / 2;
    (student_within(middle, degrees) < kConfidence ? low : high) = middle;
  }
  return std::sqrt(static_cast<double>(degrees)) * std::tan(low);
}

Estimate mean_estimate(const ByOrder& values) {
  Estimate result = crossed_estimate(values);
  if (!result.se) return result;
  const Reach rows = reach(row_means(values));
  const Reach orders = values.size() >= 2 ? reach(order_means(values)) : Reach{};
  result.interval = {result.value - std::hypot(rows.below, orders.below),
                     result.value + std::hypot(rows.above, orders.above)};
  return result;
}

Estimate not_negative(Estimate estimate) {
  if (estimate.interval) estimate.interval->low = std::max(0.0, estimate.interval->low);
  return estimate;
}

Estimate share_estimate(const ByOrder& values) {
  Estimate result = crossed_estimate(values);
  if (values.size() == 1) {
    result.interval = wilson(result.value, static_cast<double>(result.n));
  } else if (result.se) {
    ByOrder more = values;
    for (const double all : {0, 0, 1, 1}) more.emplace_back(values.front().size(), all);
    const Estimate drawn = crossed_estimate(more);
    result.interval = {std::max(0.0, drawn.value - kNormal * *drawn.se),
                       std::min(1.0, drawn.value + kNormal * *drawn.se)};
  }
  return result;
}

Estimate range_estimate(const ByOrder& values) {
  Estimate result = crossed_estimate(values);
  if (values.size() < 2) return result;
  result.interval = central_range(order_means(values));
  return result;
}

}  // namespace headcount::metrics
