// The rows of logits that decoding a masked model asks for, and the token each row gives.
#pragma once

#include <vector>

#include "models/generate.h"

namespace headcount::models {

/// A sequence being filled in.
struct Canvas {
  std::vector<int32_t> ids;
  uint64_t sequence = 0;
  size_t index = 0;                  // among the prompts: whose gates
  std::vector<int64_t> wanted = {};  // positions whose logits this step needs, ascending
  std::vector<int64_t> given = {};   // positions of the prompt that hold no mask
};

Texts texts_of(const std::vector<Canvas>& canvases);
/// Each prompt followed by n_new masks. Throws Error, saying which, where it does not fit the model
/// or the model is not a masked one.
std::vector<Canvas> open_canvases(const Model& model, const Texts& prompts,
                                  const DecodeOptions& options);
/// The positions before `end` that hold the model's mask.
std::vector<int64_t> masked_before(const Model& model, const Canvas& canvas, size_t end);

/// The batch of these sequences and their wanted positions, on the model's device.
Batch batch_of(const Model& model, const std::vector<Canvas*>& canvases);

/// Calls take(chosen) for the canvases with wanted positions, in order, micro_batch at a time.
void for_each_batch(std::vector<Canvas>& canvases, int64_t micro_batch,
                    const std::function<void(const std::vector<Canvas*>&)>& take);

/// Calls take(canvas, logits [wanted, vocab_size]) for every canvas with wanted positions, in
/// order.
void for_each_logits(const Model& model, std::vector<Canvas>& canvases,
                     const DecodeOptions& options, double cfg_scale,
                     const std::function<void(Canvas&, const at::Tensor&)>& take);

/// One of `choose(row, i)` for every row of logits, in float64 on the CPU, rows in parallel.
std::vector<Picked> pick_rows(
    const at::Tensor& logits,
    const std::function<Picked(std::vector<double>& row, size_t i)>& choose);

/// pick(row, {}, ...) of every row, computed where the logits are. Not all measures are there:
/// `probability`, and the margin or the negative entropy where asked for.
struct Measures {
  bool margin = false, entropy = false;
};
std::vector<Picked> best_rows(const at::Tensor& logits, const Measures& measures);

}  // namespace headcount::models
