// The numbers of a head_importance shard: the integrator of experiments/run on the model's gate
// gradients.
#include "experiments/kinds/head_importance/run.h"

#include "experiments/run/batch.h"
#include "experiments/run/run.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {
namespace {

void check_shard(const Shard& shard, const Params& params, const models::Config& config) {
  if (shard.numerics_version != kNumericsVersion)
    throw Error("a head_importance shard of numerics version " +
                std::to_string(shard.numerics_version) + ", this runner computes version " +
                std::to_string(kNumericsVersion));
  if (params.n_layers != config.n_layers || params.n_heads != config.n_heads)
    throw Error("a head_importance shard for another model shape");
}

std::vector<Example> examples_of(const Shard& shard, const Params& params,
                                 const models::Config& config) {
  std::vector<Example> examples;
  for (size_t i = 0; i < shard.rows.size(); ++i) {
    const Row& row = shard.rows[i];
    examples.push_back(params.mask_prob
                           ? masked_example(row,
                                            {.seed = shard.seed,
                                             .row_id = row.id,
                                             .draw = static_cast<uint32_t>(params.draw),
                                             .probability = *params.mask_prob},
                                            static_cast<int32_t>(params.mask_id), !params.sum)
                           : labelled_example(row, !params.sum));
    check_example(examples.back(), i, config);
  }
  return examples;
}

std::vector<Path> paths_of(const Shard& shard, const Params& params, const Row& row) {
  if (params.path_mode == PathMode::kDiagonal) return {Path{.baseline = params.baseline}};
  const ThresholdDraw draw{
      .seed = shard.seed,
      .row_id = row.id,
      .latin_hypercube = params.threshold_sampling == ThresholdSampling::kLatinHypercube,
      .path_block = static_cast<uint32_t>(params.path_block)};
  std::vector<Path> paths;
  for (int64_t p = params.path_first; p < params.path_first + params.path_count; ++p) {
    paths.push_back(
        {.baseline = params.baseline,
         .thresholds = thresholds(draw, static_cast<uint32_t>(p),
                                  params.layer_first * params.n_heads, params.n_selected()),
         .ramp_width = params.ramp_width});
  }
  return paths;
}

/// J and its gradient in the selected heads; all other gates are one.
ScoreFunction score_function(std::vector<Example> examples, const Params& params,
                             const models::Model& model, const models::PassOptions& pass) {
  return [examples = std::move(examples), params, &model, pass](const Samples& samples,
                                                                bool with_gradient) {
    const auto n_selected = static_cast<size_t>(params.n_selected());
    const auto n_all = static_cast<size_t>(params.n_layers * params.n_heads);
    const auto first = static_cast<size_t>(params.layer_first * params.n_heads);
    const size_t n = samples.row.size();
    std::vector<const Example*> asked;
    std::vector<double> gates(n * n_all, 1.0);
    for (size_t i = 0; i < n; ++i) {
      asked.push_back(&examples[static_cast<size_t>(samples.row[i])]);
      for (size_t head = 0; head < n_selected; ++head)
        gates[i * n_all + first + head] = samples.gates[i * n_selected + head];
    }
    const models::Batch batch = make_batch(asked, model);
    const at::Tensor gate_tensor = make_gates(gates, static_cast<int64_t>(n), model);
    if (!with_gradient)
      return Scored{.score = to_vector(models::score(model, batch, gate_tensor)), .gradient = {}};
    const models::GateGradient computed = models::gate_gradient(model, batch, gate_tensor, pass);
    Scored out{.score = to_vector(computed.score), .gradient = {}};
    const std::vector<double> all = to_vector(computed.grad);
    for (size_t i = 0; i < n; ++i) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i * n_all + first);
      out.gradient.insert(out.gradient.end(), begin, begin + params.n_selected());
    }
    return out;
  };
}

/// Of J, relative to its size: what 16-bit activations may leave of it. On builtin:addition in
/// bfloat16 (16 rows, p = 0.3 and 0.9) 2^-3 takes 256 gradients a row and mask and leaves one of 32
/// unconverged, 2^-5 473 and four; float16 has three bits more.
double score_rounding(const models::Model& model) {
  if (model.weights.embedding.scalar_type() == at::kBFloat16) return 0x1p-3;
  if (model.weights.embedding.scalar_type() == at::kHalf) return 0x1p-6;
  return 0;
}

}  // namespace

Integrand integrand(const Shard& shard, const models::Model& model,
                    const models::PassOptions& pass) {
  const Params params = params_of(shard);
  check_shard(shard, params, model.config);
  Integration integration{.n_gates = params.n_selected(),
                          .paths = {},
                          .rule = params.quadrature,
                          .steps = params.ig_steps,
                          .tol = params.tol,
                          .tol_floor = params.tol_floor,
                          .max_evaluations = params.max_evaluations,
                          .score_rounding = score_rounding(model),
                          .audited = {},
                          .micro_batch = shard.micro_batch};
  for (const Row& row : shard.rows) integration.paths.push_back(paths_of(shard, params, row));
  if (params.adaptive()) integration.audited = {static_cast<int64_t>(audited_row(shard.rows))};
  return {std::move(integration),
          score_function(examples_of(shard, params, model.config), params, model, pass)};
}

Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const DeviceMemory& device) {
  const Integrand asked = integrand(
      shard, model, {.checkpointing = pass_of(shard, model.config, device).checkpointing});
  Integrals integrals = integrate(asked.integration, asked.score, progress);

  const auto n_rows = static_cast<int64_t>(shard.rows.size());
  const int64_t n_gates = asked.integration.n_gates;
  Result result;
  const auto add = [&](const char* name, std::vector<int64_t> shape, std::vector<double>& data) {
    if (!data.empty()) result.arrays.push_back({name, std::move(shape), std::move(data)});
  };
  add("audit", {1, n_gates}, integrals.audit);
  add("evaluations", {n_rows}, integrals.evaluations);
  add("ig", {n_rows, n_gates}, integrals.ig);
  add("ig_half", {n_rows, n_gates}, integrals.ig_half);
  add("score_base", {n_rows}, integrals.score_base);
  add("score_one", {n_rows}, integrals.score_one);
  add("unconverged", {n_rows}, integrals.unconverged);
  return result;
}

}  // namespace headcount::experiments::head_importance
