// Windows cut from one text, with and without a shared stretch.
#include "experiments/kinds/windows.h"

#include <gtest/gtest.h>

namespace headcount::experiments {
namespace {

datasets::Windows windows(std::vector<int64_t> first, int64_t length = 20) {
  return {.text = "/text", .first = std::move(first), .length = length};
}

TEST(Windows, NeighboursThatDoNotOverlapAreApart) {
  EXPECT_EQ(n_overlapping(windows({40, 60}), windows({0, 20})), 0);
}

TEST(Windows, ASharedTokenIsSeenFromEitherSide) {
  const auto scored = windows({0, 20});
  EXPECT_EQ(n_overlapping(windows({39, 60}), scored), 1);
  EXPECT_EQ(n_overlapping(scored, windows({39, 60})), 1);
  EXPECT_EQ(n_overlapping(windows({10}), scored), 1);
}

TEST(Windows, LengthsMayDiffer) {
  EXPECT_EQ(n_overlapping(windows({25}, 5), windows({0}, 30)), 1);
  EXPECT_EQ(n_overlapping(windows({0}, 30), windows({25}, 5)), 1);
  EXPECT_EQ(n_overlapping(windows({0}, 5), windows({0}, 30)), 1);
}

TEST(Windows, EqualWindowsAndOtherTextsAreAnotherMatter) {
  EXPECT_EQ(n_overlapping(windows({0}), windows({0})), 0);
  auto elsewhere = windows({10});
  elsewhere.text = "/other";
  EXPECT_EQ(n_overlapping(elsewhere, windows({0})), 0);
}

}  // namespace
}  // namespace headcount::experiments
