// That a seed determines a simulation, and that broken laws are found: four planted bugs.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/simulator/simulation.h"

namespace headcount::simulator {
namespace {

TEST(Simulator, ReplaysASeedExactly) {
  const Report once = simulate(11);
  const Report again = simulate(11);
  EXPECT_EQ(once.trace_hash, again.trace_hash);
  EXPECT_EQ(once.faults, again.faults);
  EXPECT_EQ(once.ended_at, again.ended_at);
  EXPECT_NE(once.trace_hash, simulate(12).trace_hash);
}

TEST(Simulator, EverySeedIsLargeEnoughAndEndsWithEveryLawKept) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const Report report = simulate(seed);
    EXPECT_EQ(report.violation, "") << "seed " << seed;
    EXPECT_GE(report.n_workers, 3);
    EXPECT_GE(report.n_shards, 60);
    EXPECT_EQ(report.n_cancelled, 1);
    EXPECT_GT(report.n_recorded, 0);
  }
}

class PlantedBug : public ::testing::TestWithParam<Bug> {};

TEST_P(PlantedBug, IsFound) {
  std::string seeds, first;
  int n_found = 0;
  for (uint64_t seed = 1; seed <= 400 && n_found < 3; ++seed) {
    const Report report = simulate(seed, GetParam());
    if (report.violation.empty()) continue;
    if (n_found++ == 0) first = report.violation;
    seeds += " " + std::to_string(seed);
  }
  std::printf("%s: found by seeds%s; the first: %s\n", std::string(to_string(GetParam())).c_str(),
              seeds.c_str(), first.c_str());
  EXPECT_GT(n_found, 0);
}

INSTANTIATE_TEST_SUITE_P(, PlantedBug,
                         ::testing::Values(Bug::kAcknowledgeBeforeCommit, Bug::kGrantBeforeRecord,
                                           Bug::kLateResultOverwrites, Bug::kReorderedMessages),
                         [](const auto& planted) { return std::string(to_string(planted.param)); });

}  // namespace
}  // namespace headcount::simulator
