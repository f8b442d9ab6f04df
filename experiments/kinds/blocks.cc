#include "experiments/kinds/blocks.h"

#include <algorithm>

#include "schemas/error.h"

namespace headcount::experiments {

int64_t n_blocks(size_t n_rows, int64_t block_rows) {
  return (static_cast<int64_t>(n_rows) + block_rows - 1) / block_rows;
}

std::vector<Row> block_rows(const datasets::Dataset& dataset, int64_t block, int64_t block_rows,
                            Ask ask) {
  const auto first = static_cast<size_t>(block * block_rows);
  const size_t last = std::min(first + static_cast<size_t>(block_rows), dataset.rows.size());
  HC_CHECK(first < last);
  std::vector<Row> rows(dataset.rows.begin() + static_cast<ptrdiff_t>(first),
                        dataset.rows.begin() + static_cast<ptrdiff_t>(last));
  const Row nothing;
  for (Row& row : rows) {
    if (ask != Ask::kSpan) row.span_begin = row.span_end = 0;
    if (ask != Ask::kLabels) row.labels.clear();
    if (ask != Ask::kChoices) {
      row.choices.clear();
      row.choice_at = nothing.choice_at;
      row.label = nothing.label;
    }
  }
  return rows;
}

Shard blank_shard(const Point& point, const Computation& computation) {
  Shard shard;
  shard.kind = computation.name;
  shard.numerics_version = computation.numerics_version;
  shard.model = point.model->fingerprint;
  shard.dtype = point.model->dtype;
  shard.micro_batch = point.micro_batch > 0 ? point.micro_batch : computation.micro_batch;
  return shard;
}

std::vector<int64_t> unravel(int64_t index, const std::vector<int64_t>& sizes) {
  std::vector<int64_t> at(sizes.size());
  for (size_t i = sizes.size(); i-- > 0;) {
    at[i] = index % sizes[i];
    index /= sizes[i];
  }
  HC_CHECK(index == 0);
  return at;
}

}  // namespace headcount::experiments
