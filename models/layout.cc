// Part of models/passes.h.
// A batch's valid and supervised positions, one after the other.
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>

#include "models/passes.h"
#include "schemas/error.h"

namespace headcount::models {

Layout layout_of(const Model& model, const Batch& batch) {
  const int64_t n_sequences = batch.ids.size(0), n_positions = batch.ids.size(1);
  const at::Device device = model.weights.embedding.device();
  const at::Tensor lengths = batch.lengths.defined() ? batch.lengths.cpu() : at::Tensor();
  Layout layout;
  layout.start = {0};
  for (int64_t b = 0; b < n_sequences; ++b) {
    const int64_t n = lengths.defined() ? lengths.data_ptr<int64_t>()[b] : n_positions;
    HC_CHECK(n >= 1 && n <= n_positions);
    layout.start.push_back(layout.start.back() + n);
  }
  const int64_t total = layout.start.back();
  layout.position = at::empty({total}, at::kLong);
  at::Tensor source = at::empty({total}, at::kLong);  // where in the padded ids
  at::Tensor sequence = at::empty({total}, at::kLong);
  for (int64_t b = 0, row = 0; b < n_sequences; ++b) {
    for (int64_t t = 0; row < layout.start[static_cast<size_t>(b) + 1]; ++t, ++row) {
      layout.position.data_ptr<int64_t>()[row] = t;
      source.data_ptr<int64_t>()[row] = b * n_positions + t;
      sequence.data_ptr<int64_t>()[row] = b;
    }
  }
  const at::Tensor sample = batch.sample.cpu().contiguous(),
                   position = logit_rows(model.config, batch).cpu().contiguous();
  const int64_t n_supervised = sample.numel();
  layout.sample.assign(sample.data_ptr<int64_t>(), sample.data_ptr<int64_t>() + n_supervised);
  layout.supervised = at::empty({n_supervised}, at::kLong);
  layout.supervised_start.assign(static_cast<size_t>(n_sequences) + 1, 0);
  for (int64_t s = 0; s < n_supervised; ++s) {
    const auto b = static_cast<size_t>(layout.sample[static_cast<size_t>(s)]);
    const int64_t at = position.data_ptr<int64_t>()[s];
    HC_CHECK(b + 1 < layout.start.size() && at >= 0 && at < layout.start[b + 1] - layout.start[b]);
    HC_CHECK(s == 0 ||
             layout.sample[static_cast<size_t>(s) - 1] <= layout.sample[static_cast<size_t>(s)]);
    layout.supervised.data_ptr<int64_t>()[s] = layout.start[b] + at;
    ++layout.supervised_start[b + 1];
  }
  for (size_t b = 0; b + 1 < layout.supervised_start.size(); ++b)
    layout.supervised_start[b + 1] += layout.supervised_start[b];
  if (model.config.n_time_steps > 0)
    layout.time = noise_levels(model.config, batch).cpu().index_select(0, sequence).to(device);
  layout.ids = batch.ids.to(device).reshape({-1}).index_select(0, source.to(device));
  layout.supervised_position = position.to(device);
  layout.supervised = layout.supervised.to(device);
  layout.position = layout.position.to(device);
  return layout;
}

}  // namespace headcount::models
