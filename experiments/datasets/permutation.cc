// The network permutes [0, 4^half_bits), at most four times n: a walk takes four steps on average
// or fewer.
#include "experiments/datasets/permutation.h"

#include "schemas/error.h"
#include "schemas/philox.h"

namespace headcount::datasets {

namespace {
constexpr uint32_t kRounds = 6;
}  // namespace

Permutation::Permutation(uint64_t n, uint64_t key) : n_(n), key_(key), half_bits_(1) {
  HC_CHECK(n >= 1 && n <= uint64_t{1} << 62);
  while (uint64_t{1} << (2 * half_bits_) < n) ++half_bits_;
  half_mask_ = (uint64_t{1} << half_bits_) - 1;
}

uint64_t Permutation::round(uint64_t half, uint32_t number) const {
  return random_bits(key_, Purpose::kDataset, half, number, 0) & half_mask_;
}

uint64_t Permutation::forward(uint64_t x) const {
  uint64_t left = x >> half_bits_, right = x & half_mask_;
  for (uint32_t i = 0; i < kRounds; ++i) {
    const uint64_t next = left ^ round(right, i);
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

uint64_t Permutation::backward(uint64_t x) const {
  uint64_t left = x >> half_bits_, right = x & half_mask_;
  for (uint32_t i = kRounds; i-- > 0;) {
    const uint64_t before = right ^ round(left, i);
    right = left;
    left = before;
  }
  return left << half_bits_ | right;
}

uint64_t Permutation::operator()(uint64_t i) const {
  HC_CHECK(i < n_);
  do i = forward(i);
  while (i >= n_);
  return i;
}

uint64_t Permutation::inverse(uint64_t i) const {
  HC_CHECK(i < n_);
  do i = backward(i);
  while (i >= n_);
  return i;
}

}  // namespace headcount::datasets
