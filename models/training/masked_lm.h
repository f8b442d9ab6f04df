// Trains a masked-diffusion language model from nothing on rows of one length whose answer span is
// to be filled in: each row's mask ratio is uniform in (0, 1) (LLaDA, arXiv 2502.09992,
// section 2.1), the loss is the mean cross-entropy of the masked positions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "models/model.h"

namespace headcount::models::training {

/// Rows first .. first + count - 1 of a stream: int64 [count, T].
using Rows = std::function<at::Tensor(int64_t first, int64_t count)>;

/// What is learnt: rows never shown twice, and rows that are never trained on; positions begin ..
/// end - 1 are the answer.
struct Task {
  Rows train, held_out;
  int64_t begin = 0, end = 0;
};

struct TrainOptions {
  uint64_t seed = 0;  // of the initial weights and the masks
  int64_t n_steps = 600;
  int64_t batch = 256;
  double learning_rate = 3e-3;
  int64_t n_warmup = 50;
  double max_gradient_norm = 1;
  int64_t report_every = 50;  // steps
  int64_t n_held_out = 256;   // rows decoded for a report
};

struct TrainProgress {
  int64_t step = 0, n_steps = 0;
  double loss = 0;         // mean since the last report, nats per masked position
  double exact_match = 0;  // of held-out rows, greedy unmasking
  double seconds = 0, seconds_left = 0;
};

/// The trained weights, float32 in weight_shapes(config) order. `report` is called every
/// report_every steps and after the last. Throws Error when the loss stops being finite.
std::vector<at::Tensor> train(const Config& config, const Task& task, const TrainOptions& options,
                              const std::function<void(const TrainProgress&)>& report);

/// Fills in the span of every row, all of it masked at first, by fill_surest (models/generate.h).
/// Returns int64 [N, T]. ids are not changed.
at::Tensor unmask(const Model& model, const at::Tensor& ids, int64_t begin, int64_t end);

/// How many of rows 0 .. n_rows - 1 come out of `unmask` as they are.
int64_t count_exact(const Model& model, const Rows& rows, int64_t n_rows, int64_t begin,
                    int64_t end);

}  // namespace headcount::models::training
