// What a sweep is bound to.
#include "coordinator/campaign.h"

#include <gtest/gtest.h>

namespace headcount::coordinator {
namespace {

std::string chosen(const std::vector<TagView>& tags) { return of_most_capacity(tags).tag; }

TEST(Binding, IsToTheTagOfMostCapacity) {
  const TagView cpus{.tag = "avx2", .n_runners = 96, .capacity_bytes = 900, .since = 1};
  const TagView more_cpus{.tag = "avx512", .n_runners = 97, .capacity_bytes = 1, .since = 9};
  const TagView two_small{.tag = "cuda-a", .n_runners = 2, .capacity_bytes = 48, .since = 2};
  const TagView one_large{.tag = "cuda-b", .n_runners = 1, .capacity_bytes = 80, .since = 3};
  EXPECT_EQ(chosen({cpus, more_cpus}), "avx512");
  EXPECT_EQ(chosen({cpus, two_small}), "cuda-a");
  EXPECT_EQ(chosen({cpus, two_small, one_large}), "cuda-b");
  EXPECT_EQ(chosen({one_large, cpus}), "cuda-b");
}

TEST(Binding, OfEqualOnesTheFirstComeWins) {
  const TagView late{.tag = "a", .n_runners = 4, .since = 20};
  const TagView early{.tag = "b", .n_runners = 4, .since = 10};
  EXPECT_EQ(chosen({late, early}), "b");
  EXPECT_EQ(chosen({early, late}), "b");
}

}  // namespace
}  // namespace headcount::coordinator
