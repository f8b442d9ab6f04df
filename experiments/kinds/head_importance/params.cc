// Params of head_importance to and from the fields of a shard, and what they imply.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "experiments/kinds/field_list.h"
#include "experiments/kinds/head_importance/head_importance.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {
namespace {

constexpr std::array<std::pair<bool, const char*>, 2> kNormalizations = {
    {{false, "mean_masked"}, {true, "sum"}}};
constexpr std::array<std::pair<PathMode, const char*>, 2> kPathModes = {
    {{PathMode::kDiagonal, "diagonal"}, {PathMode::kStochasticThreshold, "stochastic_threshold"}}};
constexpr std::array<std::pair<ThresholdSampling, const char*>, 2> kSamplings = {
    {{ThresholdSampling::kLatinHypercube, "latin_hypercube"}, {ThresholdSampling::kIid, "iid"}}};

/// What a shard carries of Params, and when.
template <class List, class P>
void list(List& to, P& params) {
  to("n_layers", params.n_layers);
  to("n_heads", params.n_heads);
  to("layer_first", params.layer_first);
  to("layer_last", params.layer_last);
  to.word("loss_normalize", params.sum, kNormalizations);
  to("baseline", params.baseline);
  if (to("mask_prob", params.mask_prob)) {
    to("draw", params.draw);
    to("mask_id", params.mask_id);
  }
  to.word("path_mode", params.path_mode, kPathModes);
  if (params.path_mode == PathMode::kStochasticThreshold) {
    to("path_first", params.path_first);
    to("path_count", params.path_count);
    to("path_block", params.path_block);
    to.word("threshold_sampling", params.threshold_sampling, kSamplings);
    to("ramp_width", params.ramp_width);
  }
  to.word("quadrature", params.quadrature, kRules);
  to("ig_steps", params.ig_steps);
  if (params.adaptive()) {
    to("tol", params.tol);
    to("tol_floor", params.tol_floor);
    to("max_evaluations", params.max_evaluations);
  }
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error("a head_importance shard with " + what);
}

void check(const Params& params) {
  if (params.n_layers < 1 || params.n_heads < 1) refuse("no layers or heads");
  if (params.layer_first < 0 || params.layer_last < params.layer_first ||
      params.layer_last >= params.n_layers) {
    refuse("layers outside the model");
  }
  if (!(params.baseline >= 0 && params.baseline < 1)) refuse("a baseline outside [0, 1)");
  if (params.mask_prob && !(*params.mask_prob > 0 && *params.mask_prob <= 1))
    refuse("a mask_prob outside (0, 1]");
  if (params.draw < 0 || params.path_first < 0 || params.path_count < 1 || params.ig_steps < 1) {
    refuse("a negative count");
  }
  if (params.path_mode == PathMode::kStochasticThreshold &&
      (params.path_count != params.path_block || params.path_first % params.path_block != 0)) {
    refuse("paths that are not one whole block");
  }
  if (params.ramp_width && !(*params.ramp_width > 0)) refuse("a ramp_width that is not positive");
  if (params.quadrature == Rule::kGaussLegendre && params.path_mode != PathMode::kDiagonal) {
    refuse("gauss_legendre on another path than the diagonal");
  }
  if (params.adaptive() &&
      !(params.tol > 0 && params.tol_floor > 0 && params.ig_steps <= kMostAdaptiveSteps &&
        params.max_evaluations >= params.least_evaluations())) {
    refuse("an impossible tol, tol_floor, ig_steps or max_evaluations");
  }
}

}  // namespace

Fields to_fields(const Params& params) {
  FieldWriter to;
  list(to, params);
  return to.fields();
}

Params params_of(const Shard& shard) {
  Params params;
  FieldReader from(shard.params, "a head_importance shard");
  list(from, params);
  from.end();
  check(params);
  return params;
}

int64_t expected_evaluations(const Params& params) {
  // Simpson's rule is of fourth order where the path is straight and of second at its kinks, whose
  // share grows as tol falls: the fits to the table of docs/numbers.md.
  const bool kinks = params.path_mode == PathMode::kStochasticThreshold;
  const double at_hundredth = kinks ? 260 : 100;
  const double order = kinks ? 0.29 : 0.21;
  const double expected = at_hundredth * std::pow(0.01 / params.tol, order);
  return static_cast<int64_t>(std::clamp(expected, static_cast<double>(params.least_evaluations()),
                                         static_cast<double>(params.max_evaluations)));
}

size_t audited_row(std::span<const Row> rows) {
  const auto least = std::min_element(rows.begin(), rows.end(),
                                      [](const Row& a, const Row& b) { return a.id < b.id; });
  return static_cast<size_t>(least - rows.begin());
}

}  // namespace headcount::experiments::head_importance
