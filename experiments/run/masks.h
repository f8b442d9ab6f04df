// Which positions of a completion are masked: counter-based Bernoulli masks, the same on every
// device and in any order (ARCHITECTURE.md, law 3; schemas/philox.h). One uniform per position serves
// every mask probability, so masks of a row and draw are nested in the probability.
#pragma once

#include <cstdint>
#include <vector>

namespace headcount::experiments {

/// One mask of one row.
struct MaskDraw {
  uint64_t seed = 0;
  uint64_t row_id = 0;
  uint32_t draw = 0;
  double probability = 0;  // in (0, 1]
};

/// The masked positions of the span [span_begin, span_end), ascending and never empty: the i-th of
/// the span is masked iff u(seed, kMask, row id, draw, i) < probability; where none is, the one
/// with the smallest u (the first of equals). The span must not be empty.
std::vector<int32_t> masked_positions(const MaskDraw& mask, int32_t span_begin, int32_t span_end);

}  // namespace headcount::experiments
