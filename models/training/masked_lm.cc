// Masks and rows are numbered, not drawn in sequence: step s always sees the same batch, whatever
// was reported in between.
#include "models/training/masked_lm.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full_like.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include "models/generate.h"
#include "models/training/adamw.h"
#include "models/training/initial.h"
#include "models/transformer.h"
#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::models::training {

namespace {

constexpr uint32_t kRatioDraw = 2, kPositionDraw = 3;  // initial.cc has draws 0 and 1
constexpr int64_t kIgnoreIndex = -100;
constexpr int64_t kDecodeBatch = 250;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Masks the span of every row of `ids` in place; returns the labels of the span, kIgnoreIndex
/// where nothing is masked.
at::Tensor mask_span(at::Tensor& ids, const Task& task, uint64_t seed, int64_t first,
                     int64_t mask) {
  at::Tensor labels =
      at::full_like(ids.narrow(1, task.begin, task.end - task.begin), kIgnoreIndex).contiguous();
  auto id = ids.accessor<int64_t, 2>();
  auto label = labels.accessor<int64_t, 2>();
  std::vector<double> u(static_cast<size_t>(task.end - task.begin));
  for (int64_t row = 0; row < ids.size(0); ++row) {
    const auto number = static_cast<uint64_t>(first + row);
    const double ratio = random_uniform(seed, Purpose::kTraining, number, kRatioDraw, 0);
    for (size_t i = 0; i < u.size(); ++i)
      u[i] =
          random_uniform(seed, Purpose::kTraining, number, kPositionDraw, static_cast<uint32_t>(i));
    const double threshold = std::max(ratio, *std::min_element(u.begin(), u.end()));
    for (size_t i = 0; i < u.size(); ++i) {
      if (u[i] > threshold) continue;
      const auto at = static_cast<int64_t>(i);
      label[row][at] = id[row][task.begin + at];
      id[row][task.begin + at] = mask;
    }
  }
  return labels;
}

/// Every position of the span of every row, row after row.
Batch span_batch(const at::Tensor& ids, int64_t begin, int64_t end) {
  Batch batch;
  batch.ids = ids;
  batch.sample = at::arange(ids.size(0), at::kLong).repeat_interleave(end - begin);
  batch.position = at::arange(begin, end, at::kLong).repeat({ids.size(0)});
  return batch;
}

}  // namespace

std::vector<at::Tensor> train(const Config& config, const Task& task, const TrainOptions& options,
                              const std::function<void(const TrainProgress&)>& report) {
  const auto started = std::chrono::steady_clock::now();
  const std::vector<at::Tensor> weights = initial_weights(config, options.seed);
  AdamW optimizer(weights, {});
  double loss_sum = 0;
  int64_t n_losses = 0;
  for (int64_t step = 0; step < options.n_steps; ++step) {
    const int64_t first = step * options.batch;
    at::Tensor ids = task.train(first, options.batch);
    const at::Tensor labels = mask_span(ids, task, options.seed, first, config.mask_id);
    const at::Tensor logits =
        forward_logits(make_model(config, weights), span_batch(ids, task.begin, task.end), {});
    const at::Tensor loss = at::cross_entropy_loss(logits, labels.flatten());
    loss.backward();
    const double value = loss.item<double>();
    if (!std::isfinite(value))
      throw Error("training diverged at step " + std::to_string(step) +
                  ": the loss is not finite; try another --seed or a lower --learning-rate");
    clip_gradients(weights, options.max_gradient_norm);
    optimizer.step(cosine_schedule(step, options.n_steps, options.n_warmup, options.learning_rate,
                                   /*floor=*/0.01));
    loss_sum += value;
    ++n_losses;
    const int64_t done = step + 1;
    if (done % options.report_every != 0 && done != options.n_steps) continue;
    const double seconds = seconds_since(started);
    const at::NoGradGuard no_grad;
    const Model model = make_model(config, weights);
    const double exact = static_cast<double>(count_exact(model, task.held_out, options.n_held_out,
                                                         task.begin, task.end)) /
                         static_cast<double>(options.n_held_out);
    report({.step = done,
            .n_steps = options.n_steps,
            .loss = loss_sum / static_cast<double>(n_losses),
            .exact_match = exact,
            .seconds = seconds,
            .seconds_left =
                seconds / static_cast<double>(done) * static_cast<double>(options.n_steps - done)});
    loss_sum = 0;
    n_losses = 0;
  }
  return weights;
}

at::Tensor unmask(const Model& model, const at::Tensor& ids, int64_t begin, int64_t end) {
  const at::NoGradGuard no_grad;
  at::Tensor filled = ids.clone().contiguous();
  filled.narrow(1, begin, end - begin).fill_(model.config.mask_id);
  Texts texts;
  for (int64_t row = 0; row < filled.size(0); ++row) {
    const int64_t* first = filled.data_ptr<int64_t>() + row * filled.size(1);
    texts.emplace_back(first, first + filled.size(1));
  }
  texts = fill_surest(model, std::move(texts),
                      {.mask_id = model.config.mask_id, .micro_batch = filled.size(0)});
  for (int64_t row = 0; row < filled.size(0); ++row)
    std::copy(texts[static_cast<size_t>(row)].begin(), texts[static_cast<size_t>(row)].end(),
              filled.data_ptr<int64_t>() + row * filled.size(1));
  return filled;
}

int64_t count_exact(const Model& model, const Rows& rows, int64_t n_rows, int64_t begin,
                    int64_t end) {
  int64_t exact = 0;
  for (int64_t first = 0; first < n_rows; first += kDecodeBatch) {
    const at::Tensor ids = rows(first, std::min(kDecodeBatch, n_rows - first));
    const at::Tensor filled = unmask(model, ids, begin, end);
    exact += filled.eq(ids).all(1).sum().item<int64_t>();
  }
  return exact;
}

}  // namespace headcount::models::training
