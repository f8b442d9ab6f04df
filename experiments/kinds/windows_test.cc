// Windows cut from one text, with and without a shared stretch.
#include "experiments/kinds/windows.h"

#include <gtest/gtest.h>

#include <numeric>

#include "experiments/kinds/fixture.h"

namespace headcount::experiments {
namespace {

/// Windows of `length` tokens of the text 0, 1, 2 ... that begin at these places, after a
/// beginning-of-text token where `bos`.
datasets::Dataset windows(const std::vector<int32_t>& starts, size_t length, bool bos = false) {
  auto dataset = fixture::named("text", datasets::Objective::kNextToken);
  for (const int32_t start : starts) {
    Row row;
    row.ids.resize(length);
    std::iota(row.ids.begin(), row.ids.end(), start);
    if (bos) row.ids.insert(row.ids.begin(), 9999);
    dataset.rows.push_back(row);
  }
  return dataset;
}

TEST(Windows, NeighboursThatDoNotOverlapAreApart) {
  EXPECT_EQ(n_overlapping(windows({40, 60}, 20), windows({0, 20}, 20)), 0);
  EXPECT_EQ(n_overlapping(windows({40, 60}, 20, true), windows({0, 20}, 20, true)), 0);
}

TEST(Windows, ASharedStretchIsSeenFromEitherSide) {
  for (const bool bos : {false, true}) {
    const auto scored = windows({0, 20}, 20, bos);
    EXPECT_EQ(n_overlapping(windows({30, 60}, 20, bos), scored), 1) << bos;
    EXPECT_EQ(n_overlapping(scored, windows({30, 60}, 20, bos)), 1) << bos;
    EXPECT_EQ(n_overlapping(windows({32}, 20, bos), scored), 1) << bos;  // kLeastOverlap
    EXPECT_EQ(n_overlapping(windows({33}, 20, bos), scored), 0) << bos;
  }
}

TEST(Windows, EqualWindowsAreAnotherMatter) {
  EXPECT_EQ(n_overlapping(windows({0}, 20), windows({0}, 20)), 0);
  EXPECT_EQ(n_overlapping(windows({0}, 5), windows({1}, 5)), 0);
}

}  // namespace
}  // namespace headcount::experiments
