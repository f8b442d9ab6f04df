// Greedy continuation: the whole prefix runs again for each token, which is plenty for prompts of a
// few hundred tokens.
#include "models/generate.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "schemas/error.h"

namespace headcount::models {

std::vector<int32_t> greedy(const Model& model, const std::vector<int32_t>& prompt, int64_t n_new) {
  if (!model.config.causal)
    throw Error(
        "greedy continuation needs a causal model; this one fills masked positions instead");
  HC_CHECK(!prompt.empty());
  std::vector<int32_t> ids = prompt;
  const at::Device device = model.weights.embedding.device();
  for (int64_t n = 0; n < n_new && static_cast<int64_t>(ids.size()) < model.config.max_positions;
       ++n) {
    const auto last = static_cast<int64_t>(ids.size()) - 1;
    const Batch batch{.ids = at::tensor(ids, at::kInt).to(at::kLong).unsqueeze(0).to(device),
                      .lengths = {},
                      .sample = at::zeros({1}, at::kLong),
                      .position = at::full({1}, last, at::kLong),
                      .target = at::zeros({1}, at::kLong),
                      .weight = at::ones({1}, at::kDouble)};
    const auto next =
        static_cast<int32_t>(logits(model, batch, {}).select(0, 0).argmax().item<int64_t>());
    if (next == model.config.bos_id) break;
    ids.push_back(next);
  }
  return ids;
}

}  // namespace headcount::models
