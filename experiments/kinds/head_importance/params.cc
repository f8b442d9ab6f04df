// Params of head_importance to and from the fields of a shard: one place that knows which member is
// present when.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "experiments/kinds/head_importance/head_importance.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {
namespace {

constexpr std::array<std::pair<Quadrature, const char*>, 6> kQuadratures = {{
    {Quadrature::kRight, "right"},
    {Quadrature::kLeft, "left"},
    {Quadrature::kMidpoint, "midpoint"},
    {Quadrature::kTrapezoid, "trapezoid"},
    {Quadrature::kAdaptive, "adaptive"},
    {Quadrature::kGaussLegendre, "gauss_legendre"},
}};

[[noreturn]] void refuse(const std::string& what) {
  throw Error("a head_importance shard with " + what);
}

/// One of two words.
bool choose(const Fields& fields, const std::string& name, const char* no, const char* yes) {
  const auto text = get<std::string>(fields, name);
  if (text != no && text != yes) refuse("impossible " + name + " \"" + text + "\"");
  return text == yes;
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
  if (params.quadrature == Quadrature::kGaussLegendre && params.path_mode != PathMode::kDiagonal) {
    refuse("gauss_legendre on another path than the diagonal");
  }
  if (params.adaptive() &&
      !(params.tol > 0 && params.tol_floor > 0 && params.ig_steps <= kMostAdaptiveSteps &&
        params.max_evaluations >= params.least_evaluations())) {
    refuse("an impossible tol, tol_floor, ig_steps or max_evaluations");
  }
}

}  // namespace

Quadrature quadrature_of(const std::string& name) {
  for (const auto& [quadrature, text] : kQuadratures) {
    if (name == text) return quadrature;
  }
  refuse("unknown quadrature \"" + name + "\"");
}

Fields to_fields(const Params& params) {
  Fields fields = {{"n_layers", params.n_layers},
                   {"n_heads", params.n_heads},
                   {"layer_first", params.layer_first},
                   {"layer_last", params.layer_last},
                   {"loss_normalize", std::string(params.sum ? "sum" : "mean_masked")},
                   {"baseline", params.baseline},
                   {"ig_steps", params.ig_steps}};
  for (const auto& [quadrature, text] : kQuadratures) {
    if (quadrature == params.quadrature) fields["quadrature"] = std::string(text);
  }
  if (params.mask_prob) {
    fields["mask_prob"] = *params.mask_prob;
    fields["draw"] = params.draw;
    fields["mask_id"] = params.mask_id;
  }
  if (params.path_mode == PathMode::kStochasticThreshold) {
    fields["path_mode"] = std::string("stochastic_threshold");
    fields["path_first"] = params.path_first;
    fields["path_count"] = params.path_count;
    fields["path_block"] = params.path_block;
    fields["threshold_sampling"] = std::string(
        params.threshold_sampling == ThresholdSampling::kIid ? "iid" : "latin_hypercube");
    if (params.ramp_width) fields["ramp_width"] = *params.ramp_width;
  } else {
    fields["path_mode"] = std::string("diagonal");
  }
  if (params.adaptive()) {
    fields["tol"] = params.tol;
    fields["tol_floor"] = params.tol_floor;
    fields["max_evaluations"] = params.max_evaluations;
  }
  return fields;
}

Params params_of(const Shard& shard) {
  const Fields& fields = shard.params;
  Params params{.n_layers = get<int64_t>(fields, "n_layers"),
                .n_heads = get<int64_t>(fields, "n_heads"),
                .layer_first = get<int64_t>(fields, "layer_first"),
                .layer_last = get<int64_t>(fields, "layer_last"),
                .sum = choose(fields, "loss_normalize", "mean_masked", "sum"),
                .baseline = get<double>(fields, "baseline")};
  if (fields.count("mask_prob") > 0) {
    params.mask_prob = get<double>(fields, "mask_prob");
    params.draw = get<int64_t>(fields, "draw");
    params.mask_id = get<int64_t>(fields, "mask_id");
  }
  if (choose(fields, "path_mode", "diagonal", "stochastic_threshold")) {
    params.path_mode = PathMode::kStochasticThreshold;
    params.path_first = get<int64_t>(fields, "path_first");
    params.path_count = get<int64_t>(fields, "path_count");
    params.path_block = get<int64_t>(fields, "path_block");
    if (choose(fields, "threshold_sampling", "latin_hypercube", "iid")) {
      params.threshold_sampling = ThresholdSampling::kIid;
    }
    if (fields.count("ramp_width") > 0) params.ramp_width = get<double>(fields, "ramp_width");
  }
  params.quadrature = quadrature_of(get<std::string>(fields, "quadrature"));
  params.ig_steps = get<int64_t>(fields, "ig_steps");
  if (params.adaptive()) {
    params.tol = get<double>(fields, "tol");
    params.tol_floor = get<double>(fields, "tol_floor");
    params.max_evaluations = get<int64_t>(fields, "max_evaluations");
  }
  check(params);
  // A member that is present and not used would make equal computations unequal.
  for (const auto& [name, value] : fields) {
    if (to_fields(params).count(name) == 0) refuse("the unused parameter \"" + name + "\"");
  }
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
