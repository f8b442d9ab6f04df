// Kind surprisal: how surprised a masked-diffusion model is by each token of a completion when all
// of the completion is masked: -ln p of the token that stands there, in nats, by position. The
// example of docs/adding-a-kind.md.
//
// A shard is one block of rows; its parameters are `positions`, how many leading positions of a
// completion are read, and `mask_id`. Array of its result, float64:
//   nats  [rows, positions]  0 past the end of a row's own completion
#pragma once

#include <algorithm>
#include <cstdint>

#include "experiments/computation.h"
#include "schemas/row.h"

namespace headcount::experiments::surprisal {

constexpr int64_t kNumericsVersion = 1;
/// Rows of a shard; aligned blocks.
constexpr int64_t kBlockRows = 16;

/// How many positions of the row are read.
inline int64_t n_read(const Row& row, int64_t positions) {
  return std::min<int64_t>(positions, row.span_end - row.span_begin);
}

/// The computation of such shards.
const Computation& computation();

}  // namespace headcount::experiments::surprisal
