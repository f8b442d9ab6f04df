// The quadrature rules by name: one table for specs, shards and the command line. What they do to
// gradients: experiments/run/quadrature.h, experiments/run/adaptive.h.
#pragma once

#include <array>
#include <string_view>
#include <utility>
#include <vector>

namespace headcount::experiments {

/// Intervals are [k/K, (k+1)/K], K = ig_steps; the gradient is weighted by the exact gate increment
/// of its interval.
///   right, left, midpoint  the gradient at that t
///   trapezoid              the mean of the two end gradients
///   gauss_legendre         own nodes
///   adaptive               Simpson's rule, from ig_steps intervals graded towards the baseline
///                          that are halved where tol asks for it (experiments/run/adaptive.h)
enum class Rule { kRight, kLeft, kMidpoint, kTrapezoid, kGaussLegendre, kAdaptive };

/// In the order documents list them, the default first.
inline constexpr std::array<std::pair<Rule, std::string_view>, 6> kRules = {{
    {Rule::kAdaptive, "adaptive"},
    {Rule::kRight, "right"},
    {Rule::kLeft, "left"},
    {Rule::kMidpoint, "midpoint"},
    {Rule::kTrapezoid, "trapezoid"},
    {Rule::kGaussLegendre, "gauss_legendre"},
}};

/// The rule of that name; throws Error on any other.
Rule rule_of(std::string_view name);
std::vector<std::string_view> rule_names();

}  // namespace headcount::experiments
