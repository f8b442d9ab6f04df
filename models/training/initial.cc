// Every weight has its own Philox row: adding a layer changes no other weight.
#include "models/training/initial.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>

#include <cmath>
#include <numbers>
#include <string>

#include "schemas/philox.h"

namespace headcount::models::training {

namespace {

/// N(0, deviation^2) by Box and Muller (1958).
at::Tensor normal(at::IntArrayRef shape, double deviation, uint64_t seed, uint64_t row) {
  at::Tensor result = at::empty(shape, at::kFloat);
  float* out = result.data_ptr<float>();
  for (int64_t i = 0; i < result.numel(); ++i) {
    const auto element = static_cast<uint32_t>(i);
    const double u = random_uniform(seed, Purpose::kTraining, row, 0, element);
    const double v = random_uniform(seed, Purpose::kTraining, row, 1, element);
    out[i] = static_cast<float>(deviation * std::sqrt(-2 * std::log1p(-u)) *
                                std::cos(2 * std::numbers::pi * v));
  }
  return result;
}

double deviation_of(const WeightShape& weight, const Config& config) {
  if (weight.name == "embedding") return 0.02;
  const double fan_in = 1 / std::sqrt(static_cast<double>(weight.shape.back()));
  const bool to_residual = weight.name.ends_with(".o") || weight.name.ends_with(".down");
  return to_residual ? fan_in / std::sqrt(2 * static_cast<double>(config.n_layers)) : fan_in;
}

}  // namespace

std::vector<at::Tensor> initial_weights(const Config& config, uint64_t seed) {
  std::vector<at::Tensor> weights;
  for (const WeightShape& weight : weight_shapes(config)) {
    at::Tensor initial =
        weight.shape.size() == 1
            ? at::ones(weight.shape, at::kFloat)
            : normal(weight.shape, deviation_of(weight, config), seed, weights.size());
    weights.push_back(initial.set_requires_grad(true));
  }
  return weights;
}

}  // namespace headcount::models::training
