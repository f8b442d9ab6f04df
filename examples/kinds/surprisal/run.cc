// The numbers of a surprisal shard: one forward pass a row, its whole completion masked.
#include "experiments/run/run.h"

#include "experiments/run/batch.h"
#include "schemas/error.h"
#include "surprisal/surprisal.h"

namespace headcount::experiments::surprisal {

Result run(const Shard& shard, const models::Model& model, const Progress& progress,
           const DeviceMemory&) {
  if (shard.numerics_version != kNumericsVersion)
    throw Error("a surprisal shard of numerics version " + std::to_string(shard.numerics_version));
  const auto positions = get<int64_t>(shard.params, "positions");
  const auto mask_id = static_cast<int32_t>(get<int64_t>(shard.params, "mask_id"));
  const size_t n_rows = shard.rows.size(), size = static_cast<size_t>(shard.micro_batch);
  std::vector<double> nats(n_rows * static_cast<size_t>(positions));
  for (size_t first = 0; first < n_rows; first += size) {
    const size_t end = std::min(first + size, n_rows);
    std::vector<Example> examples;
    for (size_t row = first; row < end; ++row) {
      const MaskDraw everything{.row_id = shard.rows[row].id, .probability = 1};
      examples.push_back(masked_example(shard.rows[row], everything, mask_id, false));
      check_example(examples.back(), row, model.config);
    }
    std::vector<const Example*> asked;
    for (const Example& example : examples) asked.push_back(&example);
    const std::vector<double> log_probs =
        to_vector(models::target_log_probs(model, make_batch(asked, model), {}));
    size_t next = 0;  // of the row's log-probabilities, those of all rows behind each other
    for (size_t row = first; row < end; ++row) {
      for (int64_t i = 0; i < n_read(shard.rows[row], positions); ++i)
        nats[row * static_cast<size_t>(positions) + static_cast<size_t>(i)] =
            -log_probs[next + static_cast<size_t>(i)];
      next += examples[row - first].position.size();
    }
    progress(static_cast<double>(end) / static_cast<double>(n_rows));
  }
  return {{{"nats", {static_cast<int64_t>(n_rows), positions}, std::move(nats)}}};
}

}  // namespace headcount::experiments::surprisal
