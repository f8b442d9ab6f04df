// The forward pass of a few new positions whose keys and values join those already there. Keys are
// kept normed but not turned: attention turns them with everything else it reads.
#include "models/decode.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "models/layer_pass.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

/// The positions behind the cache's, the last one supervised.
Layout layout_behind(const KvCache& cache, const std::vector<int32_t>& ids, at::Device device) {
  const auto n = static_cast<int64_t>(ids.size());
  Layout layout;
  layout.ids = at::tensor(ids, at::kInt).to(at::kLong).to(device);
  layout.position = at::arange(cache.length, cache.length + n, layout.ids.options());
  layout.start = {0, n};
  layout.supervised = at::arange(n - 1, n, layout.ids.options());
  layout.supervised_position = layout.position.narrow(0, n - 1, 1);
  layout.supervised_start = {0, 1};
  layout.sample = {0};
  return layout;
}

void check_room(const Config& config, const KvCache& cache, int64_t n) {
  const int64_t end = cache.length + n, capacity = cache.k.front().size(0);
  if (end > capacity)
    throw Error("a text of " + std::to_string(end) + " tokens does not fit the cache made for " +
                std::to_string(capacity));
  if (end > config.max_positions)
    throw Error("a text of " + std::to_string(end) + " tokens is longer than the model's " +
                std::to_string(config.max_positions) + " positions");
}

}  // namespace

KvCache make_cache(const Model& model, int64_t capacity) {
  const Config& c = model.config;
  if (!c.causal)
    throw Error(
        "decoding token by token needs a causal model; this one fills masked positions instead");
  KvCache cache;
  const at::TensorOptions options = model.weights.embedding.options();
  for (int64_t layer = 0; layer < c.n_layers; ++layer) {
    cache.k.push_back(at::empty({capacity, c.n_kv_heads * c.d_head}, options));
    cache.v.push_back(at::empty({capacity, c.n_kv_heads * c.d_head}, options));
  }
  cache.tables = rotary_tables(c, capacity, model.weights.embedding.scalar_type(),
                               model.weights.embedding.device());
  return cache;
}

at::Tensor extend(const Model& model, KvCache& cache, const std::vector<int32_t>& ids,
                  const at::Tensor& gates) {
  const at::NoGradGuard no_grad;
  HC_CHECK(!ids.empty() && cache.k.size() == model.weights.layers.size());
  const auto n = static_cast<int64_t>(ids.size()), begin = cache.length;
  check_room(model.config, cache, n);
  const at::Tensor& embedding = model.weights.embedding;
  const Ops& ops = ops_for(embedding);
  const Layout layout = layout_behind(cache, ids, embedding.device());
  const at::Tensor wide_gates =
      gates.defined()
          ? gates.detach().to(embedding.device()).to(wide(embedding.scalar_type())).unsqueeze(0)
          : gates;
  const Pass pass(model, layout, wide_gates, ops, cache.tables);
  const std::vector<int64_t> key_start = {0, begin + n};
  Scratch scratch(pass);
  at::Tensor residual = embed(pass), added, normed = scratch.normed.narrow(0, 0, n);
  for (size_t l = 0; l < model.weights.layers.size(); ++l) {
    LayerTape t = pass.layer_tape(l);
    t.x = l == 0 ? residual : pass.rows(n, model.config.d_model);
    ops.norm(pass.norm_op(pass.layer(l).attn_norm), residual, added, t.x, normed, t.norm);
    fill_queries(pass, l, scratch, t);
    const AttentionOp own = attention_op(pass, l, t);
    cache.k[l].narrow(0, begin, n).copy_(own.k);
    cache.v[l].narrow(0, begin, n).copy_(own.v);
    const AttentionOp all{.config = own.config,
                          .window = own.window,
                          .tables = own.tables,
                          .q_start = own.q_start,
                          .k_start = key_start,
                          .q_position = own.q_position,
                          .q = own.q,
                          .k = cache.k[l].narrow(0, 0, begin + n),
                          .v = cache.v[l].narrow(0, 0, begin + n),
                          .gate = own.gate};
    fill_rest(pass, l, all, scratch, t);
    added = leave(pass, l, scratch, t);
    residual = t.mid;
  }
  at::Tensor sum = pass.rows(1, model.config.d_model), hidden = pass.rows(1, model.config.d_model);
  NormTape norm = pass.norm_tape(1);
  ops.norm(pass.norm_op(model.weights.final_norm), residual, added, sum, hidden, norm);
  cache.length += n;
  return head_logits(model, hidden).squeeze(0);
}

}  // namespace headcount::models
