// A row of a dataset as every experiment sees it: token ids and what is asked about them. Tokenized
// on the coordinator's machine; travels inside shards, so workers need no datasets.
#pragma once

#include <cstdint>
#include <vector>

namespace headcount {

constexpr int32_t kIgnore = -100;  // a label that supervises nothing

/// One row. Exactly one question is asked of it, by the stage's objective:
///  - masked: positions [span_begin, span_end) are the completion; the experiment masks some of
///  them itself.
///  - given labels (`tokens` rows, next-token): labels[i] is what the logit at position i must
///  predict, kIgnore = not supervised.
///  - choices: choices[k] is put at position `choice_at`; where choice_at == ids.size() it
///  continues the row.
struct Row {
  uint64_t id =
      0;  // of its token content and occurrence number: see row_id() in experiments/datasets
  std::vector<int32_t> ids;                   // the whole sequence, unmasked
  std::vector<int32_t> labels;                // empty, or one a position
  int32_t span_begin = 0, span_end = 0;       // empty span: no masked objective
  std::vector<std::vector<int32_t>> choices;  // empty, or at least two, none of them empty
  int32_t choice_at = 0;
  int32_t label = -1;  // index of the right choice
  bool operator==(const Row&) const = default;
};

}  // namespace headcount
