#include "models/batch.h"

#include <ATen/ops/tensor.h>

#include <algorithm>

#include "models/model.h"
#include "schemas/error.h"

namespace headcount::models {

Batch make_batch(std::span<const Example* const> examples, const Model& model) {
  HC_CHECK(!examples.empty());
  const auto n = static_cast<int64_t>(examples.size());
  size_t longest = 0;
  for (const Example* example : examples) longest = std::max(longest, example->ids.size());
  std::vector<int64_t> ids(examples.size() * longest), lengths, sample, position, target;
  std::vector<double> weight;
  bool padded = false;
  for (size_t b = 0; b < examples.size(); ++b) {
    const Example& example = *examples[b];
    HC_CHECK(example.raw_rows == examples[0]->raw_rows);
    HC_CHECK(example.position.size() == example.target.size());
    std::copy(example.ids.begin(), example.ids.end(),
              ids.begin() + static_cast<std::ptrdiff_t>(b * longest));
    lengths.push_back(static_cast<int64_t>(example.ids.size()));
    padded = padded || example.ids.size() < longest;
    sample.insert(sample.end(), example.position.size(), static_cast<int64_t>(b));
    position.insert(position.end(), example.position.begin(), example.position.end());
    target.insert(target.end(), example.target.begin(), example.target.end());
    weight.insert(weight.end(), example.position.size(), example.weight);
  }
  const auto there = [&](const auto& values, at::ScalarType dtype) {
    return at::tensor(values, dtype).to(model.weights.embedding.device());
  };
  return {.ids = there(ids, at::kLong).view({n, static_cast<int64_t>(longest)}),
          .lengths = padded ? there(lengths, at::kLong) : at::Tensor(),
          .sample = there(sample, at::kLong),
          .position = there(position, at::kLong),
          .target = there(target, at::kLong),
          .raw_rows = examples[0]->raw_rows,
          .weight = there(weight, at::kDouble)};
}

}  // namespace headcount::models
