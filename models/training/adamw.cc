// In-place operators under NoGrad: no copies of the moments are made.
#include "models/training/adamw.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace headcount::models::training {

AdamW::AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const at::Tensor& parameter : parameters_) {
    mean_.push_back(at::zeros_like(parameter));
    square_.push_back(at::zeros_like(parameter));
  }
}

void AdamW::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  ++n_steps_;
  const double n = static_cast<double>(n_steps_);
  const double mean_scale = 1 / (1 - std::pow(options_.beta1, n));
  const double square_scale = 1 / (1 - std::pow(options_.beta2, n));
  for (size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& parameter = parameters_[i];
    const at::Tensor gradient = parameter.grad();
    if (!gradient.defined()) continue;
    mean_[i].mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
    square_[i].mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
    if (parameter.dim() > 1) parameter.mul_(1 - learning_rate * options_.weight_decay);
    const at::Tensor below = square_[i].mul(square_scale).sqrt_().add_(options_.eps);
    parameter.addcdiv_(mean_[i], below, -learning_rate * mean_scale);
    parameter.mutable_grad().reset();
  }
}

double clip_gradients(const std::vector<at::Tensor>& parameters, double max_norm) {
  const at::NoGradGuard no_grad;
  double squares = 0;
  for (const at::Tensor& parameter : parameters)
    if (parameter.grad().defined())
      squares += parameter.grad().to(at::kDouble).square().sum().item<double>();
  const double norm = std::sqrt(squares);
  if (norm > max_norm)
    for (const at::Tensor& parameter : parameters)
      if (parameter.grad().defined()) parameter.grad().mul_(max_norm / norm);
  return norm;
}

double cosine_schedule(int64_t step, int64_t n_steps, int64_t n_warmup, double peak, double floor) {
  if (step < n_warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(n_warmup);
  const double done = static_cast<double>(step - n_warmup) /
                      static_cast<double>(std::max<int64_t>(1, n_steps - 1 - n_warmup));
  const double share = (1 + std::cos(std::numbers::pi * std::min(1.0, done))) / 2;
  return peak * (floor + (1 - floor) * share);
}

}  // namespace headcount::models::training
