// Four-digit addition as rows: "dddd+dddd=" and a five-digit answer, both zero-padded, most
// significant digit first. All 10^8 problems are dealt to three splits by one fixed shuffle, the
// same for every seed: train 8 x 10^7, validation 10^7, test 10^7.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "experiments/datasets/permutation.h"
#include "schemas/row.h"

namespace headcount::datasets::addition {

/// The vocabulary: digits 0-9, '+', '=', and the specials.
constexpr int32_t kPlus = 10, kEquals = 11, kBos = 12, kEos = 13, kPad = 14, kMask = 15,
                  kVocabSize = 16;
constexpr int kPromptSize = 10, kAnswerSize = 5;

enum class Split { kTrain, kValidation, kTest };
/// How many problems the split holds.
uint64_t size(Split split);
/// The split a problem belongs to; operands 0 .. 9999.
Split split_of(int32_t a, int32_t b);

struct Problem {
  int32_t a = 0, b = 0;
  bool operator==(const Problem&) const = default;
};

/// The problems of a split in the order of `seed`: problem i is the same however many are asked
/// for, and none comes twice.
class Stream {
 public:
  Stream(Split split, uint64_t seed);
  uint64_t size() const { return order_.size(); }
  /// i < size().
  Problem operator()(uint64_t i) const;

 private:
  Permutation deal_, order_;
  uint64_t begin_;
};

/// The whole sequence: kPromptSize prompt ids, kAnswerSize answer ids.
std::vector<int32_t> tokens(Problem problem);

/// The row: its answer is the completion; ten choices ask for one digit of it, which one Philox
/// draws from (seed, problem). The id is left to assign_ids.
Row row(Problem problem, uint64_t seed);

}  // namespace headcount::datasets::addition
