// Part of models/generate.h.
// One sequence after the other, each with its own keys and values: what stands beside a prompt
// cannot change it.
#include <algorithm>

#include "models/decode.h"
#include "models/generate.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

std::vector<double> to_doubles(const at::Tensor& logits) {
  const at::Tensor cpu = logits.to(at::kCPU, at::kDouble).contiguous();
  const double* first = cpu.data_ptr<double>();
  return {first, first + cpu.numel()};
}

std::vector<int32_t> continue_text(const Model& model, std::vector<int32_t> ids, size_t prompt,
                                   const CausalOptions& options) {
  if (ids.empty()) throw Error("a prompt of no tokens: a causal model continues at least one");
  const auto n_prompt = static_cast<int64_t>(ids.size());
  const int64_t n_new = std::min(options.n_new, model.config.max_positions - n_prompt);
  if (n_new <= 0) return ids;
  const at::Tensor gates = options.gates.defined()
                               ? options.gates.select(0, static_cast<int64_t>(prompt))
                               : at::Tensor();
  KvCache cache = make_cache(model, n_prompt + n_new);
  std::vector<int32_t> unread = ids;
  for (int64_t step = 0; step < n_new; ++step) {
    const Draw draw{.seed = options.seed,
                    .sequence = options.first_sequence + prompt,
                    .position = n_prompt + step};
    const int32_t token = pick(to_doubles(extend(model, cache, unread, gates)), options.sampling,
                               Filter::kTopKFirst, draw)
                              .token;
    if (std::find(options.stop_ids.begin(), options.stop_ids.end(), token) !=
        options.stop_ids.end())
      break;
    ids.push_back(token);
    if (options.written) options.written(prompt, token);
    unread = {token};
  }
  return ids;
}

}  // namespace

Texts continue_texts(const Model& model, const Texts& prompts, const CausalOptions& options) {
  if (!model.config.causal)
    throw Error("a continuation needs a causal model; this one fills masked positions instead");
  Texts texts;
  for (size_t i = 0; i < prompts.size(); ++i)
    texts.push_back(continue_text(model, prompts[i], i, options));
  return texts;
}

std::vector<int32_t> greedy(const Model& model, const std::vector<int32_t>& prompt, int64_t n_new) {
  CausalOptions options;
  options.n_new = n_new;
  options.stop_ids = model.config.stop_ids;
  return continue_texts(model, {prompt}, options).front();
}

}  // namespace headcount::models
