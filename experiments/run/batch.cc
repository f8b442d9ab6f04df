// Examples from rows, gates from numbers.
#include "experiments/run/batch.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <string>

#include "schemas/error.h"

namespace headcount::experiments {
namespace {

double weight_of(size_t n_supervised, bool mean) {
  return mean ? 1 / static_cast<double>(std::max<size_t>(n_supervised, 1)) : 1;
}

bool in_vocabulary(int32_t id, const models::Config& config) {
  return id >= 0 && id < config.vocab_size;
}

}  // namespace

Example masked_example(const Row& row, const MaskDraw& mask, int32_t mask_id, bool mean) {
  if (row.span_begin < 0 || row.span_begin >= row.span_end ||
      static_cast<size_t>(row.span_end) > row.ids.size())
    throw Error("a row has no completion to mask");
  Example example{.ids = row.ids,
                  .position = masked_positions(mask, row.span_begin, row.span_end),
                  .target = {}};
  for (const int32_t position : example.position) {
    int32_t& id = example.ids[static_cast<size_t>(position)];
    example.target.push_back(id);
    id = mask_id;
  }
  example.weight = weight_of(example.position.size(), mean);
  return example;
}

Example labelled_example(const Row& row, bool mean) {
  if (row.labels.size() != row.ids.size())
    throw Error("a row has " + std::to_string(row.labels.size()) + " labels for " +
                std::to_string(row.ids.size()) + " ids");
  Example example{.ids = row.ids, .position = {}, .target = {}, .raw_rows = true};
  for (size_t i = 0; i < row.labels.size(); ++i) {
    if (row.labels[i] == kIgnore) continue;
    example.position.push_back(static_cast<int32_t>(i));
    example.target.push_back(row.labels[i]);
  }
  example.weight = weight_of(example.position.size(), mean);
  return example;
}

void check_example(const Example& example, size_t row, const models::Config& config) {
  const std::string name = "row " + std::to_string(row) + " of the shard ";
  const auto size = static_cast<int64_t>(example.ids.size());
  if (size == 0) throw Error(name + "has no ids");
  if (size > config.max_positions)
    throw Error(name + "has " + std::to_string(size) + " ids, the model takes " +
                std::to_string(config.max_positions));
  for (const auto* ids : {&example.ids, &example.target}) {
    for (const int32_t id : *ids) {
      if (!in_vocabulary(id, config))
        throw Error(name + "has token id " + std::to_string(id) +
                    ", the model's vocabulary is 0 to " + std::to_string(config.vocab_size - 1));
    }
  }
  if (example.position.empty()) throw Error(name + "has nothing to supervise");
  for (const int32_t position : example.position) {
    if (position < 0 || position >= size)
      throw Error(name + "supervises position " + std::to_string(position) + " of " +
                  std::to_string(size));
  }
}

at::Tensor make_gates(std::span<const double> gates, int64_t n, const models::Model& model) {
  // from_blob does not own: clone before the numbers die, then move.
  return at::from_blob(const_cast<double*>(gates.data()),
                       {n, model.config.n_layers, model.config.n_heads},
                       at::TensorOptions(at::kDouble))
      .clone()
      .to(model.weights.embedding.device());
}

std::vector<double> to_vector(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous();
  const double* data = flat.data_ptr<double>();
  return {data, data + flat.numel()};
}

}  // namespace headcount::experiments
