// The inner loop of byte-pair encoding: merge the adjacent pair of lowest rank, the leftmost of
// equals, until no pair can be merged.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/tokenizers/vocabulary.h"

namespace headcount::models {

/// (left, right) -> {rank, merged}.
using Merges = PairMap;

/// Buffers of merge().
struct MergeWorkspace {
  struct Candidate {
    uint32_t rank;
    int32_t left_id, right_id, merged;
    size_t left;
  };
  std::vector<uint32_t> ranks;
  std::vector<size_t> next, previous;
  std::vector<Candidate> queue;
};

/// Replaces `symbols` by what is left when no adjacent pair is in `merges`. Time n log n.
void merge(const Merges& merges, std::vector<int32_t>& symbols, MergeWorkspace& work);

/// Which code points may end up in one token as neighbours. Between two others a text can be cut
/// and its parts merged apart with the same result: no merge ever reaches across.
class Junctions {
 public:
  /// A merge, or a place inside a token, brings these two together.
  void join(char32_t left, char32_t right) { joined_.set(left, right, {}); }
  /// The same, for the last code point of `left` and the first of `right` (valid, not empty).
  void join(std::string_view left, std::string_view right);
  bool joined(char32_t left, char32_t right) const { return joined_.find(left, right) != nullptr; }

 private:
  PairMap joined_;
};

}  // namespace headcount::models
