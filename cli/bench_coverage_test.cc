// The coverage table: the same for the same seed, and docs/coverage.md has its populations.
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <sstream>

#include "cli/bench.h"

namespace headcount::cli {
namespace {

std::string printed(int64_t trials, uint64_t seed) {
  const auto file = std::filesystem::path(testing::TempDir()) / "coverage.txt";
  Session session;
  session.common.output = file.string();
  EXPECT_EQ(bench_coverage(session, {.trials = trials, .seed = seed}), kOk);
  return read_file(file.string());
}

/// The lines of a table with every share in per cent left out.
std::vector<std::string> populations(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.ends_with(" % |"))
      lines.push_back(std::regex_replace(line, std::regex("[0-9.]+ % \\|"), ""));
  }
  return lines;
}

TEST(BenchCoverage, IsDeterminedByItsSeed) {
  const std::string once = printed(3, 1);
  EXPECT_EQ(printed(3, 1), once);
  EXPECT_NE(printed(3, 2), once);
}

TEST(BenchCoverage, ItsTableStandsInTheDocuments) {
  const auto documented = populations(read_file(HEADCOUNT_SOURCE_DIR "/docs/coverage.md"));
  EXPECT_GT(documented.size(), 30u);
  EXPECT_EQ(populations(printed(3, 1)), documented)
      << "run: headcount bench coverage, and put its table into docs/coverage.md";
}

}  // namespace
}  // namespace headcount::cli
