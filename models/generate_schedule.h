// How many masked positions each step of a masked diffusion model's decoding fills in, and which:
// plain functions of numbers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace headcount::models {

/// LLaDA's: `n_masked` spread over `n_steps`, the remainder over the first steps. n_steps >= 1.
std::vector<int64_t> even_schedule(int64_t n_masked, int64_t n_steps);

/// Dream's noise levels: n_steps + 1 evenly spaced values from 1 down to `eps`.
std::vector<double> noise_levels(int64_t n_steps, double eps);

/// Dream's share of the remaining positions revealed at `step`: 1 - t[step + 1] / t[step], all of
/// them at the last step.
double revealed_share(const std::vector<double>& levels, int64_t step);

/// floor(n_masked * revealed_share).
int64_t revealed_count(const std::vector<double>& levels, int64_t step, int64_t n_masked);

/// The indices of the `n` largest values (all where there are fewer), ascending; of equal values
/// the lower index first.
std::vector<size_t> largest(const std::vector<double>& values, int64_t n);

}  // namespace headcount::models
