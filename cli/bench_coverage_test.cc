// The coverage table: the same for the same seed, and docs/coverage.md has its populations.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "cli/bench.h"

namespace headcount::cli {
namespace {

std::string printed(int64_t trials, uint64_t seed, const std::string& orders = "") {
  const auto file = std::filesystem::path(testing::TempDir()) / "coverage.txt";
  Session session;
  session.common.output = file.string();
  EXPECT_EQ(bench_coverage(session, {.trials = trials, .seed = seed, .orders = orders}), kOk);
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

TEST(BenchCoverage, DrawsFromOrdersThatWerePruned) {
  const std::string file = testing::TempDir() + "/orders.json";
  std::string rows;
  for (int seed = 0; seed < 100; ++seed) {
    rows += (seed > 0 ? "," : "") +
            std::string(R"({"metric": "loss", "which": "random", "k": 4, )") + R"("prune_seed": )" +
            std::to_string(seed) + R"(, "value": )" + std::to_string(seed) + "}";
  }
  std::ofstream(file) << R"({"stages": [{"name": "pruning", "rows": [)" << rows << "]}]}";
  const auto lines = populations(printed(200, 1, file));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_NE(lines[0].find("pruning, random k = 4 of 100 orders | mean |  | 20 |"),
            std::string::npos)
      << lines[0];
  std::ofstream(file) << "{}";
  EXPECT_THROW(printed(1, 1, file), BadInput);
}

TEST(BenchCoverage, ItsTableStandsInTheDocuments) {
  auto documented = populations(read_file(HEADCOUNT_SOURCE_DIR "/docs/coverage.md"));
  const auto ours = populations(printed(3, 1));
  EXPECT_GT(ours.size(), 30u);
  documented.resize(ours.size());  // the rest are orders that were pruned
  EXPECT_EQ(ours, documented)
      << "run: headcount bench coverage, and put its table into docs/coverage.md";
}

}  // namespace
}  // namespace headcount::cli
