// The fixed shuffle deals problem a * 10^4 + b to a place; a split is a range of places.
#include "experiments/datasets/addition.h"

#include "schemas/philox.h"

namespace headcount::datasets::addition {

namespace {

constexpr uint64_t kOperands = 10'000, kProblems = kOperands * kOperands;
constexpr uint64_t kValidationBegin = 80'000'000, kTestBegin = 90'000'000;
constexpr uint32_t kDigitDraw = 100;  // apart from the draws of Permutation's rounds
constexpr uint64_t kDealKey =
    4242;  // never change: shipped models were trained on the places below kValidationBegin

uint64_t begin_of(Split split) {
  switch (split) {
    case Split::kTrain:
      return 0;
    case Split::kValidation:
      return kValidationBegin;
    case Split::kTest:
      return kTestBegin;
  }
  return 0;
}

/// The key of the order that `seed` deals in: the seed, but for the one that would undo the fixed
/// shuffle (the train split then came as 0+0, 0+1, 0+2 ...).
uint64_t order_key(uint64_t seed) { return seed == kDealKey ? ~seed : seed; }

uint64_t number(Problem problem) {
  return static_cast<uint64_t>(problem.a) * kOperands + static_cast<uint64_t>(problem.b);
}

/// The `n` last decimal digits, most significant first.
void append_digits(std::vector<int32_t>& ids, int32_t value, int n) {
  const size_t end = ids.size() + static_cast<size_t>(n);
  ids.resize(end);
  for (size_t i = end; n-- > 0; value /= 10) ids[--i] = value % 10;
}

}  // namespace

uint64_t size(Split split) {
  switch (split) {
    case Split::kTrain:
      return kValidationBegin;
    case Split::kValidation:
      return kTestBegin - kValidationBegin;
    case Split::kTest:
      return kProblems - kTestBegin;
  }
  return 0;
}

Split split_of(int32_t a, int32_t b) {
  const uint64_t place = Permutation(kProblems, kDealKey)(number({a, b}));
  if (place < kValidationBegin) return Split::kTrain;
  return place < kTestBegin ? Split::kValidation : Split::kTest;
}

Stream::Stream(Split split, uint64_t seed)
    : deal_(kProblems, kDealKey),
      order_(addition::size(split), order_key(seed)),
      begin_(begin_of(split)) {}

Problem Stream::operator()(uint64_t i) const {
  const uint64_t problem = deal_.inverse(begin_ + order_(i));
  return {static_cast<int32_t>(problem / kOperands), static_cast<int32_t>(problem % kOperands)};
}

std::vector<int32_t> tokens(Problem problem) {
  std::vector<int32_t> ids;
  ids.reserve(kPromptSize + kAnswerSize);
  append_digits(ids, problem.a, 4);
  ids.push_back(kPlus);
  append_digits(ids, problem.b, 4);
  ids.push_back(kEquals);
  append_digits(ids, problem.a + problem.b, kAnswerSize);
  return ids;
}

Row row(Problem problem, uint64_t seed) {
  Row row;
  row.ids = tokens(problem);
  row.span_begin = kPromptSize;
  row.span_end = kPromptSize + kAnswerSize;
  const uint64_t digit =
      random_bits(seed, Purpose::kDataset, number(problem), kDigitDraw, 0) % kAnswerSize;
  row.choice_at = kPromptSize + static_cast<int32_t>(digit);
  row.choices.reserve(10);
  for (int32_t d = 0; d < 10; ++d) row.choices.push_back({d});
  row.label = row.ids[static_cast<size_t>(row.choice_at)];
  return row;
}

}  // namespace headcount::datasets::addition
