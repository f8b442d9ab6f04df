// A small random model with heads that matter, and shards for it: what the tests of every run.cc
// share.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "experiments/run/run.h"
#include "models/model.h"
#include "schemas/error.h"
#include "schemas/result.h"
#include "schemas/shard.h"

namespace headcount::experiments {

constexpr int32_t kTestMask = 15;  // of the vocabulary 0 .. 15

/// 2 layers, 4 heads (2 of keys and values), width 16, float64; bidirectional with a mask token, or
/// causal. Its weights are scaled up so that J is far from linear in the gates.
inline models::Model test_model(bool causal) {
  models::Config config;
  config.family = "llada";
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.d_model = 16;
  config.d_head = 4;
  config.d_mlp = 24;
  config.vocab_size = 16;
  config.max_positions = 32;
  config.causal = causal;
  config.mask_id = causal ? -1 : kTestMask;
  models::Model model = models::random_model(config, 7, at::kDouble, at::kCPU);
  model.weights.embedding.mul_(40);
  model.weights.head.mul_(20);
  for (models::LayerWeights& layer : model.weights.layers) {
    for (at::Tensor* weight : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) weight->mul_(20);
  }
  return model;
}

/// Row number i: ids that differ from row to row, a completion of five tokens at the end, labels
/// there, four choices for its first.
inline Row test_row(int32_t i, size_t size = 9) {
  Row row;
  row.id = static_cast<uint64_t>(1000 + i);
  for (size_t t = 0; t < size; ++t)
    row.ids.push_back(static_cast<int32_t>((t * t + 3 * t + static_cast<size_t>(i) * 5) % 15));
  row.span_begin = static_cast<int32_t>(size) - 5;
  row.span_end = static_cast<int32_t>(size);
  return row;
}

/// The same row asking for given labels: what follows each token of the completion.
inline Row labelled_row(int32_t i, size_t size = 9) {
  Row row = test_row(i, size);
  row.labels.assign(row.ids.size(), kIgnore);
  for (size_t t = size - 5; t + 1 < size; ++t) row.labels[t] = row.ids[t + 1];
  row.span_begin = row.span_end = 0;
  return row;
}

/// $HEADCOUNT_SHARED, else ../shared.
inline std::string shared_file(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return std::string(given ? given : HEADCOUNT_SOURCE_DIR "/../shared") + "/" + path;
}

inline Result run_quietly(const Shard& shard, const models::Model& model) {
  return run(shard, model, [](double) {});
}

}  // namespace headcount::experiments
