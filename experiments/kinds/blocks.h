// What the plans of all kinds share: aligned blocks of rows, and the part of a shard that model,
// dtype and micro-batch decide.
#pragma once

#include <cstdint>
#include <vector>

#include "experiments/kind.h"

namespace headcount::experiments {

/// What a shard asks its rows; decides which of their members travel.
enum class Ask { kSpan, kLabels, kChoices };

int64_t n_blocks(size_t n_rows, int64_t block_rows);

/// Rows block * block_rows .. of the dataset, reduced to what `ask` reads, so that equal questions
/// have equal shards.
std::vector<Row> block_rows(const datasets::Dataset& dataset, int64_t block, int64_t block_rows,
                            Ask ask);

/// A shard with everything but params, seed and rows.
Shard blank_shard(const Point& point, const Computation& computation);

/// How far `index` is in nested loops of the given sizes, the last one fastest.
std::vector<int64_t> unravel(int64_t index, const std::vector<int64_t>& sizes);

}  // namespace headcount::experiments
