// The computation of head_importance as planning sees it: what a shard yields and takes.
#include "experiments/computation.h"

#include <limits>

#include "experiments/kinds/head_importance/head_importance.h"

namespace headcount::experiments::head_importance {
namespace {

/// Gradients strictly inside each path, gradients at end points all paths of a row share, and how
/// many of a row's two end points are scored without a gradient (experiments/run/integrate.h). The
/// half rule needs nodes of its own where the rule's are not nested.
struct Evaluations {
  int64_t inside = 0, at_ends = 0, scores = 0;
};

Evaluations evaluations(const Params& params) {
  const int64_t k = params.ig_steps;
  const int64_t half = params.has_half() ? k / 2 : 0;
  switch (params.quadrature) {
    case Rule::kRight:
    case Rule::kLeft:
      return {k - 1, 1, 1};
    case Rule::kTrapezoid:
      return {k - 1, 2, 0};
    case Rule::kAdaptive:
      return {expected_evaluations(params) - 2, 2, 0};
    case Rule::kMidpoint:
    case Rule::kGaussLegendre:
      return {k + half, 0, 2};
  }
  return {};
}

/// How many samples the rounds of the adaptive rule have shows only in computing.
Work work(const Shard& shard) {
  const Params params = params_of(shard);
  const Evaluations each = evaluations(params);
  const auto n_rows = static_cast<int64_t>(shard.rows.size());
  const auto gradients = [&](int64_t inside) {
    // The audit of one row: four more in each interval, of which 4 n - 1 are inside n intervals.
    const int64_t audit = params.adaptive() ? inside + 1 : 0;
    return (n_rows * inside + audit) * params.path_count + n_rows * each.at_ends;
  };
  const int64_t expected = gradients(each.inside);
  const int64_t most = params.adaptive() ? gradients(params.max_evaluations - 2) : expected;
  const Passes passes{.forward = expected + n_rows * each.scores,
                      .backward = expected,
                      .most_forward = most + n_rows * each.scores,
                      .most_backward = most};
  return {.passes = passes,
          .samples = passes.uncertain() ? std::numeric_limits<int64_t>::max() : passes.forward};
}

std::vector<ArrayPlan> arrays_of(const Shard& shard) {
  const Params params = params_of(shard);
  const auto rows = static_cast<int64_t>(shard.rows.size());
  const std::vector<int64_t> per_row = {rows}, per_head = {rows, params.n_selected()};
  std::vector<ArrayPlan> planned;
  if (params.adaptive()) {
    planned.push_back({"audit", {1, params.n_selected()}});
    planned.push_back({"evaluations", per_row});
  }
  planned.push_back({"ig", per_head});
  if (params.has_half()) planned.push_back({"ig_half", per_head});
  planned.push_back({"score_base", per_row});
  planned.push_back({"score_one", per_row});
  if (params.adaptive()) planned.push_back({"unconverged", per_row});
  return planned;
}

}  // namespace

const Computation& computation() {
  static const Computation one{.name = "head_importance",
                               .numerics_version = kNumericsVersion,
                               .micro_batch = kMicroBatch,
                               .backward = true,
                               .arrays = arrays_of,
                               .work = work};
  return one;
}

}  // namespace headcount::experiments::head_importance
