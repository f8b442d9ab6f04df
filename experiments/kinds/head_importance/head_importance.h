// Kind head_importance: integrated gradients of J = -loss over per-head gates
// (docs/methods.md 1; Sundararajan et al. 2017; gates: Michel et al. 2019). This header
// is the contract between plan.cc, aggregate.cc and run.cc: what a shard says and what it yields.
//
// A shard is one block of rows x one (mask probability, draw) x one block of paths. Rows with given
// labels (`tokens`, next-token) have no mask; the diagonal has one path. Arrays of its result,
// float64, averaged over the block's paths (equal weights, in path order):
//   ig          [rows, selected heads]  sum over the path of gradient of J x exact gate increment;
//                                       layer-major
//   score_one   [rows]  J with all gates one (it depends on row and mask only)
//   score_base  [rows]  J with the selected gates at `baseline`, all others one
// Fixed rules with even ig_steps:
//   ig_half     [rows, selected heads]  the same by the same rule with ig_steps / 2
// adaptive:
//   audit       [1, selected heads]  ig of the audited row with every final interval halved
//   unconverged [rows]  paths that hit max_evaluations
//   evaluations [rows]  gradient evaluations spent, summed over the paths, without the audit's
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experiments/computation.h"
#include "experiments/rule.h"
#include "schemas/fields.h"
#include "schemas/row.h"
#include "schemas/shard.h"

namespace headcount::experiments::head_importance {

/// 2: labels of a row are read at Dream's unshifted logits; a GPU sums 16-bit products in float32.
/// 3: cross-entropy is taken in float64 from the logits: small losses keep their digits; adaptive
/// is Simpson's rule from a graded start.
constexpr int64_t kNumericsVersion = 3;
/// Rows of a shard. Blocks are aligned: an incomplete last block is computed again when the dataset
/// grows.
constexpr int64_t kBlockRows = 16;
/// Intervals that adaptive starts from (the first reaches to 2^-10), and how many it may.
constexpr int64_t kAdaptiveSteps = 11, kMostAdaptiveSteps = 48;
/// The tolerance of adaptive unless the spec says otherwise: from the table in docs/numbers.md.
constexpr double kTol = 0.02;
/// Forward samples (row x path x step) computed together on a CPU unless the spec says otherwise.
constexpr int64_t kMicroBatch = 64;

/// diagonal:             gate(t)   = baseline + t (1 - baseline).
/// stochastic_threshold: gate_h(t) = baseline + ramp_h(t) (1 - baseline) with u_h uniform.
enum class PathMode { kDiagonal, kStochasticThreshold };
/// u_h: independent, or Latin hypercube within the block of path_block paths:
/// u_h = (permutation_h(path - path_first) + U) / path_block.
enum class ThresholdSampling { kIid, kLatinHypercube };
/// What Shard::params of this kind mean; a member that is not used by the computation is absent
/// there, so that equal computations share a key. In brackets: the condition under which it is
/// present.
struct Params {
  int64_t n_layers = 0, n_heads = 0;  // of the model
  int64_t layer_first = 0,
          layer_last = 0;  // inclusive; heads of these layers are the selected ones
  bool sum = false;        // loss_normalize: "sum" or "mean_masked" (over supervised positions)
  double baseline = 0;     // gate at the start of the path, in [0, 1)
  std::optional<double> mask_prob = {};  // [masked objective]
  int64_t draw =
      0;  // [masked objective] which mask of that probability; the `draw` of Purpose::kMask
  int64_t mask_id = -1;  // [masked objective]
  PathMode path_mode = PathMode::kDiagonal;
  /// [stochastic_threshold] paths path_first .. + path_count - 1 (always one whole block:
  /// path_count = path_block); a path's number is the `draw` of its thresholds, which depend on
  /// neither mask nor layer range. Diagonal: 0 and 1, path_block absent.
  int64_t path_first = 0, path_count = 1, path_block = 1;
  ThresholdSampling threshold_sampling =
      ThresholdSampling::kLatinHypercube;  // [stochastic_threshold]
  /// [stochastic_threshold]
  ///   absent:  every ramp ends at t = 1, ramp_h(t) = clip((t - u_h) / max(1 - u_h, 1e-6), 0, 1)
  ///   present: ramp_h(t) = clip((t (1 + w) - u_h) / w, 0, 1); w -> 0 is the Shapley permutation
  ///            path
  std::optional<double> ramp_width = {};
  Rule quadrature = Rule::kAdaptive;
  int64_t ig_steps = kAdaptiveSteps;
  /// [adaptive] intervals are halved until their errors add up to
  /// <= tol * max(|score_one - score_base|, tol_floor) of this (row, mask, path), within
  /// max_evaluations gradients.
  double tol = kTol, tol_floor = 1.0;
  int64_t max_evaluations = 0;
  bool operator==(const Params&) const = default;

  int64_t n_selected() const { return (layer_last - layer_first + 1) * n_heads; }
  bool adaptive() const { return quadrature == Rule::kAdaptive; }
  bool has_half() const { return !adaptive() && ig_steps % 2 == 0; }
  /// Gradients of one (row, path) before the adaptive rule halves anything.
  int64_t least_evaluations() const { return 4 * ig_steps + 1; }
};

/// How many gradients adaptive is expected to spend on one (row, path), ends included: what it took
/// on the built-in models (docs/numbers.md); on smoother models it takes a third of that.
int64_t expected_evaluations(const Params& params);

/// Which of a block's rows the adaptive rule audits: the one of the smallest row id.
size_t audited_row(std::span<const Row> rows);

/// The parameters as a shard carries them, and back. params_of throws Error naming the member that
/// is missing, unknown or impossible.
Fields to_fields(const Params& params);
Params params_of(const Shard& shard);

/// The computation of such shards.
const Computation& computation();

}  // namespace headcount::experiments::head_importance
