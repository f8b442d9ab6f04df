// Paths of the head gates from the baseline to one, and the thresholds of stochastic ones
// (docs/methods.md 2). With baseline b, the gate of head h at
// time t in [0, 1] is b + (1 - b) * rho_h(t):
//   diagonal         rho = t
//   ramp "to_end"    rho = clip((t - u_h) / max(1 - u_h, 1e-6), 0, 1): all ramps end at t = 1
//   ramp of width w  rho = clip((t (1 + w) - u_h) / w, 0, 1): w -> 0 is Shapley by permutations
// Every path starts at the baseline and ends at one, exactly.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace headcount::experiments {

/// One path through the gates of n heads.
struct Path {
  double baseline = 0;
  std::vector<double> thresholds{};    // u_h in [0, 1), one a head; empty: the diagonal
  std::optional<double> ramp_width{};  // > 0; absent: "to_end"
};

/// Writes the gates at time t, in [0, 1]; `gates` has one element a head.
void gates_at(const Path& path, double t, std::span<double> gates);

/// When the gate of a head opens: linear from the baseline at `begin` to one at `end`, constant
/// before and after. `end` may lie behind 1 by rounding; the gate is one at t = 1 all the same.
struct Ramp {
  double begin = 0, end = 1;
};
Ramp ramp_of(const Path& path, size_t head);

/// The times in (0, 1) at which any ramp begins or ends, ascending, each once: between them the
/// path is straight.
std::vector<double> kinks(const Path& path);

/// How the thresholds of one row's paths are drawn.
struct ThresholdDraw {
  uint64_t seed = 0;
  uint64_t row_id = 0;
  bool latin_hypercube = true;  // within blocks of `path_block` paths; false: independent
  uint32_t path_block = 4;
};

/// u_h of path `path` for the heads first_head .. first_head + n_heads - 1 (flat, layer-major:
/// layer * n_heads + head of the whole model, so that a layer range changes no draw).
///   independent      u_h = u(seed, kThreshold, row id, path, head)
///   Latin hypercube  u_h = (pi(j) + that uniform) / path_block, path = path_block * b + j, where
///                    pi is the permutation of (row, block b, head): each head has one threshold
///                    in every stratum of a block
std::vector<double> thresholds(const ThresholdDraw& draw, uint32_t path, int64_t first_head,
                               int64_t n_heads);

}  // namespace headcount::experiments
