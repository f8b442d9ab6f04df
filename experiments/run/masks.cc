// One pass over the span: the masked positions, and the smallest uniform in case there are none.
#include "experiments/run/masks.h"

#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::experiments {

std::vector<int32_t> masked_positions(const MaskDraw& mask, int32_t span_begin, int32_t span_end) {
  HC_CHECK(span_begin < span_end);
  std::vector<int32_t> masked;
  double smallest = 2;
  int32_t smallest_at = span_begin;
  for (int32_t position = span_begin; position < span_end; ++position) {
    const double u = random_uniform(mask.seed, Purpose::kMask, mask.row_id, mask.draw,
                                    static_cast<uint32_t>(position - span_begin));
    if (u < mask.probability) masked.push_back(position);
    if (u < smallest) {
      smallest = u;
      smallest_at = position;
    }
  }
  if (masked.empty()) masked.push_back(smallest_at);
  return masked;
}

}  // namespace headcount::experiments
