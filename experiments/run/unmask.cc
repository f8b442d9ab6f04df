// Steps over all examples at once; an example leaves when it has no mask left.
#include "experiments/run/unmask.h"

#include <ATen/ops/argmax.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>

namespace headcount::experiments {
namespace {

/// Writes the surest token into the example and takes its position off the list. `best` begins at
/// the example's first.
void write_surest(Example& example, std::span<const BestToken> best) {
  size_t surest = 0;
  for (size_t s = 1; s < example.position.size(); ++s) {
    if (best[s].probability > best[surest].probability) surest = s;
  }
  const auto place = static_cast<std::ptrdiff_t>(surest);
  example.ids[static_cast<size_t>(example.position[surest])] = best[surest].token;
  example.position.erase(example.position.begin() + place);
  example.target.erase(example.target.begin() + place);
}

}  // namespace

std::vector<BestToken> best_tokens(const models::Model& model, const models::Batch& batch,
                                   const at::Tensor& gates, int64_t mask_id) {
  at::Tensor logits = models::logits(model, batch, gates).to(at::kFloat);
  if (mask_id >= 0) logits.select(1, mask_id).fill_(-std::numeric_limits<float>::infinity());
  const at::Tensor token = at::argmax(logits, 1);
  const at::Tensor probability =
      at::softmax(logits, 1).gather(1, token.unsqueeze(1)).squeeze(1).cpu().contiguous();
  const at::Tensor token_cpu = token.cpu().contiguous();
  std::vector<BestToken> best;
  for (int64_t i = 0; i < token_cpu.numel(); ++i)
    best.push_back(
        {static_cast<int32_t>(token_cpu.data_ptr<int64_t>()[i]), probability.data_ptr<float>()[i]});
  return best;
}

std::vector<std::vector<int32_t>> unmask(const models::Model& model, std::vector<Example> examples,
                                         const Unmasking& how) {
  size_t longest = 0;
  for (const Example& example : examples) longest = std::max(longest, example.position.size());
  const auto size = static_cast<size_t>(how.micro_batch);
  for (size_t step = 0; step < longest; ++step) {
    std::vector<Example*> open;
    for (Example& example : examples) {
      if (!example.position.empty()) open.push_back(&example);
    }
    for (size_t first = 0; first < open.size(); first += size) {
      const std::vector<const Example*> chosen(
          open.begin() + static_cast<std::ptrdiff_t>(first),
          open.begin() + static_cast<std::ptrdiff_t>(std::min(first + size, open.size())));
      const std::vector<BestToken> best =
          best_tokens(model, make_batch(chosen, model), how.gates(chosen.size()), how.mask_id);
      size_t at = 0;
      for (size_t i = first; i < first + chosen.size(); ++i) {
        const size_t n_masked = open[i]->position.size();
        write_surest(*open[i], std::span(best).subspan(at, n_masked));
        at += n_masked;
      }
    }
    how.progress(static_cast<double>(step + 1) / static_cast<double>(longest));
  }
  std::vector<std::vector<int32_t>> ids;
  for (Example& example : examples) ids.push_back(std::move(example.ids));
  return ids;
}

}  // namespace headcount::experiments
