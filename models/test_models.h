// Small models, batches and gates for the tests of models/.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "models/model.h"
#include "models/transformer.h"

namespace headcount::models {

inline std::string shared(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return (given != nullptr ? std::string(given)
                           : std::string(HEADCOUNT_SOURCE_DIR) + "/../shared") +
         "/" + path;
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not on this machine"

inline at::Tensor to_tensor(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong);
}

inline double max_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// One sequence, mean loss over the given (position, token) pairs.
inline Batch one_sequence(const std::vector<int64_t>& ids,
                          const std::vector<std::pair<int64_t, int64_t>>& supervised) {
  std::vector<int64_t> positions, targets;
  for (const auto& [position, token] : supervised) {
    positions.push_back(position);
    targets.push_back(token);
  }
  const auto n = static_cast<int64_t>(supervised.size());
  return {.ids = to_tensor(ids).unsqueeze(0),
          .lengths = {},
          .sample = at::zeros({n}, at::kLong),
          .position = to_tensor(positions),
          .target = to_tensor(targets),
          .weight = at::full({n}, 1.0 / static_cast<double>(n), at::kDouble)};
}

/// Tiny, bidirectional, two key/value heads shared by six query heads, d_head no multiple of any
/// vector.
inline Config tiny_config() {
  Config c;
  c.family = "llada";
  c.n_layers = 3;
  c.n_heads = 6;
  c.n_kv_heads = 2;
  c.d_model = 36;
  c.d_head = 6;
  c.d_mlp = 20;
  c.vocab_size = 37;
  c.max_positions = 64;
  c.mask_id = 36;
  return c;
}

/// Weights large enough for attention to be far from uniform, and for every bias and norm to count.
inline Model tiny_model(const Config& config, at::ScalarType dtype, double sharpness = 20) {
  const Model model = random_model(config, 7, dtype, at::kCPU);
  const Weights& w = model.weights;
  const auto grow = [](const at::Tensor& t, double factor) {
    if (t.defined()) t.mul_(factor);
  };
  const auto vary = [&](const NormWeights& norm, bool has_weight) {
    if (norm.weight.defined() && has_weight && config.family != "llada")
      norm.weight.mul_((at::arange(norm.weight.size(0), at::kDouble) * 0.7).sin() * 0.5 + 1);
    grow(norm.bias, 10);
  };
  for (const at::Tensor& t : {w.embedding, w.positions, w.times}) grow(t, 30);
  for (const LayerWeights& layer : w.layers) {
    grow(layer.q, sharpness);
    grow(layer.k, sharpness);
    for (const at::Tensor& t : {layer.v, layer.o, layer.gate_up, layer.down, layer.qkv_bias,
                                layer.o_bias, layer.gate_up_bias, layer.down_bias})
      grow(t, 10);
    for (const NormWeights& norm : {layer.attn_norm, layer.mlp_norm})
      vary(norm, config.norm_weight);
    for (const NormWeights& norm : {layer.q_norm, layer.k_norm}) vary(norm, config.qk_norm_weight);
  }
  vary(w.final_norm, config.norm_weight);
  if (!config.tied_head) grow(w.head, 10);
  grow(w.head_bias, 10);
  return model;
}

/// The same numbers in float32.
inline Model widened(const Model& model) {
  Model wide = random_model(model.config, 7, at::kFloat, at::kCPU);
  const auto copy = [](const at::Tensor& to, const at::Tensor& from) {
    if (to.defined()) to.copy_(from);
  };
  const auto copy_norm = [&](const NormWeights& to, const NormWeights& from) {
    copy(to.weight, from.weight);
    copy(to.bias, from.bias);
  };
  const Weights &to = wide.weights, &from = model.weights;
  copy(to.embedding, from.embedding);
  copy(to.positions, from.positions);
  copy(to.times, from.times);
  for (size_t l = 0; l < to.layers.size(); ++l) {
    const LayerWeights &a = to.layers[l], &b = from.layers[l];
    copy_norm(a.attn_norm, b.attn_norm);
    copy_norm(a.mlp_norm, b.mlp_norm);
    copy_norm(a.q_norm, b.q_norm);
    copy_norm(a.k_norm, b.k_norm);
    for (const auto& [x, y] : {std::pair{a.qkv, b.qkv},
                               {a.qkv_bias, b.qkv_bias},
                               {a.o, b.o},
                               {a.o_bias, b.o_bias},
                               {a.gate_up, b.gate_up},
                               {a.gate_up_bias, b.gate_up_bias},
                               {a.down, b.down},
                               {a.down_bias, b.down_bias}})
      copy(x, y);
  }
  copy_norm(to.final_norm, from.final_norm);
  copy(to.head, from.head);
  copy(to.head_bias, from.head_bias);
  return wide;
}

/// Three sequences of 9, 50 and 17 positions, padded to 50 with ids that must not matter; one,
/// seven and three positions supervised.
inline Batch ragged_batch(const Config& config, int64_t padding_id = 1) {
  const at::Tensor lengths = to_tensor({9, 50, 17});
  at::Tensor ids = (at::arange(150, at::kLong) * 31 % config.vocab_size).reshape({3, 50});
  for (int64_t b = 0; b < 3; ++b) {
    const int64_t n = lengths[b].item<int64_t>();
    ids[b].narrow(0, n, 50 - n).fill_(padding_id);
  }
  const at::Tensor sample = to_tensor({0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2});
  return {.ids = ids,
          .lengths = lengths,
          .sample = sample,
          .position = to_tensor({8, 0, 3, 4, 20, 21, 33, 49, 2, 5, 16}),
          .target = to_tensor({3, 0, 36, 5, 20, 21, 33, 1, 2, 5, 16}),
          .weight =
              at::tensor(std::vector<double>{1, .1, .2, .1, .3, .1, .1, .1, 1, 1, 1}, at::kDouble)};
}

inline at::Tensor some_gates(const Config& c, int64_t n_samples) {
  return (at::arange(n_samples * c.n_layers * c.n_heads, at::kDouble) * 0.37)
      .frac()
      .reshape({n_samples, c.n_layers, c.n_heads});
}

inline GateGradient by_autograd(const Model& model, const Batch& batch, const at::Tensor& gates) {
  const at::Tensor variable = gates.detach().clone().requires_grad_(true);
  const at::Tensor score = forward_score(model, batch, variable);
  score.sum().backward();
  return {score.detach().to(at::kDouble), variable.grad()};
}

}  // namespace headcount::models
