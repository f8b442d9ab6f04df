// Results files: nothing is lost, nothing malformed is accepted, and `compare` measures what it
// says.
#include "worker/runner/results_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "schemas/error.h"

namespace headcount::runner {
namespace {

class ResultsFiles : public testing::Test {
 protected:
  std::string path_ = testing::TempDir() + "/results_" + std::to_string(getpid());
  ~ResultsFiles() override { std::filesystem::remove(path_); }

  std::string bytes() const {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void write_bytes(const std::string& content) const {
    std::ofstream(path_, std::ios::binary) << content;
  }
};

ResultsFile two_shards(double nudge) {
  ResultsFile file{.tag = "cpu-test", .results = {}};
  for (const char* name : {"one", "two"}) {
    Result result;
    result.arrays.push_back({"ig", {2, 2}, {3, 4, 0, 0 + nudge}});
    result.arrays.push_back({"score_one", {2}, {-1, -2}});
    file.results.emplace_back(sha256(name), result);
  }
  return file;
}

TEST_F(ResultsFiles, KeepTagKeysAndNumbers) {
  const ResultsFile file = two_shards(0.25);
  write_results(path_, file);
  const ResultsFile read = read_results(path_);
  EXPECT_EQ(read.tag, file.tag);
  EXPECT_EQ(read.results, file.results);
  EXPECT_FALSE(std::filesystem::exists(path_ + ".tmp"));
}

TEST_F(ResultsFiles, AreRefusedWhenCutShortOrForeignOrLonger) {
  write_results(path_, two_shards(0));
  const std::string whole = bytes();
  for (const size_t size : {size_t{0}, size_t{3}, size_t{9}, whole.size() / 2, whole.size() - 1}) {
    write_bytes(whole.substr(0, size));
    EXPECT_THROW(read_results(path_), Error) << size;
  }
  write_bytes(whole + "x");
  EXPECT_THROW(read_results(path_), Error);
  write_bytes("PK" + whole);
  EXPECT_THROW(read_results(path_), Error);
  std::string huge = whole;
  huge[8] = huge[9] = huge[10] = '\xff';  // the tag's size
  write_bytes(huge);
  EXPECT_THROW(read_results(path_), Error);
  EXPECT_THROW(read_results(path_ + ".absent"), Error);
}

TEST(Compare, MeasuresEachArray) {
  const Comparison same = compare(two_shards(0), two_shards(0));
  EXPECT_TRUE(same.equal_bytes);
  EXPECT_EQ(same.shards, 2);
  ASSERT_EQ(same.arrays.size(), 2U);
  EXPECT_EQ(same.arrays[0].mean_relative_l2, 0);

  const Comparison apart = compare(two_shards(0.5), two_shards(0));
  EXPECT_FALSE(apart.equal_bytes);
  EXPECT_EQ(apart.arrays[0].name, "ig");
  EXPECT_DOUBLE_EQ(apart.arrays[0].max_absolute, 0.5);
  EXPECT_DOUBLE_EQ(apart.arrays[0].max_relative, 1);
  EXPECT_DOUBLE_EQ(apart.arrays[0].relative_l2, 0.1);       // sqrt(2 * 0.25) over sqrt(2 * 25)
  EXPECT_DOUBLE_EQ(apart.arrays[0].mean_relative_l2, 0.1);  // (3, 4.5) from (3, 4) summed over rows
  EXPECT_EQ(apart.arrays[1].max_absolute, 0);
}

TEST(Compare, CountsShardsOnlyOneSideHas) {
  ResultsFile less = two_shards(0);
  less.results.pop_back();
  EXPECT_EQ(compare(less, two_shards(0)).only_second, 1);
  EXPECT_EQ(compare(two_shards(0), less).only_first, 1);
}

TEST(Compare, RefusesResultsOfOtherShapes) {
  ResultsFile other = two_shards(0);
  other.results[1].second.arrays[1].shape = {1, 2};
  EXPECT_THROW(compare(other, two_shards(0)), Error);
}

}  // namespace
}  // namespace headcount::runner
