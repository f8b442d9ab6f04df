// The one law of a permutation, and that its key matters.
#include "experiments/datasets/permutation.h"

#include <gtest/gtest.h>

#include <set>

namespace headcount::datasets {
namespace {

TEST(Permutation, HitsEveryPlaceOnceForEverySize) {
  for (uint64_t n = 1; n <= 200; ++n) {
    const Permutation permutation(n, 7);
    std::set<uint64_t> places;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t place = permutation(i);
      ASSERT_LT(place, n);
      ASSERT_EQ(permutation.inverse(place), i);
      places.insert(place);
    }
    ASSERT_EQ(places.size(), n);
  }
}

TEST(Permutation, InverseUndoesItInLargeRanges) {
  for (const uint64_t n : {uint64_t{100'000'000}, uint64_t{1} << 40, uint64_t{1} << 62}) {
    const Permutation permutation(n, 1);
    for (uint64_t i = 0; i < n; i += n / 97) EXPECT_EQ(permutation.inverse(permutation(i)), i);
  }
}

TEST(Permutation, AnotherKeyAnotherOrder) {
  const Permutation a(1'000'000, 1), b(1'000'000, 2);
  int equal = 0;
  for (uint64_t i = 0; i < 10'000; ++i) equal += a(i) == b(i);
  EXPECT_LE(equal, 3);  // 0.01 expected
}

TEST(Permutation, NeighboursAreScattered) {
  const Permutation permutation(100'000'000, 3);
  double sum = 0;
  for (uint64_t i = 0; i < 10'000; ++i) sum += static_cast<double>(permutation(i)) / 1e8;
  EXPECT_NEAR(sum / 10'000, 0.5, 0.015);  // five standard errors of a uniform mean
}

}  // namespace
}  // namespace headcount::datasets
