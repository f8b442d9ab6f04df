// AdamW (Loshchilov and Hutter 2019, algorithm 2): Adam's step, weight decay apart from it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace headcount::models::training {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.01;  // of matrices only: vectors (norms) are not decayed
};

/// Owns the two moments of every parameter; the parameters' storage is updated in place.
class AdamW {
 public:
  AdamW(std::vector<at::Tensor> parameters, const AdamWOptions& options);
  /// One update from the parameters' gradients, which are then cleared. A parameter without a
  /// gradient stays as it is.
  void step(double learning_rate);

 private:
  std::vector<at::Tensor> parameters_, mean_, square_;
  AdamWOptions options_;
  int64_t n_steps_ = 0;
};

/// Scales all gradients down so that their joint L2 norm is at most `max_norm`; returns the norm
/// before.
double clip_gradients(const std::vector<at::Tensor>& parameters, double max_norm);

/// Linear rise over `n_warmup` steps, then a cosine fall to `floor` of the peak at the last step.
/// `step` counts from 0.
double cosine_schedule(int64_t step, int64_t n_steps, int64_t n_warmup, double peak, double floor);

}  // namespace headcount::models::training
