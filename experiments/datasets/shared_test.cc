// Equal datasets are kept once; too large ones are refused before they are read.
#include "experiments/datasets/shared.h"

#include <gmock/gmock.h>

#include "experiments/datasets/test_files.h"
#include "schemas/shard.h"

namespace headcount::datasets {
namespace {

using testing::HasSubstr;

Dataset of_rows(int64_t n_rows, const std::string& split = "test") {
  return load(spec_of("addition", {{"split", text(split)}, {"rows", number(n_rows)}}), 1,
              addition_model(), "");
}

TEST(SharedDatasets, EqualOnesAreOneForAsLongAsSomebodyHasIt) {
  SharedDatasets shared;
  auto one = shared.share(of_rows(8));
  EXPECT_EQ(shared.share(of_rows(8)), one);
  EXPECT_NE(shared.share(of_rows(9)), one);
  EXPECT_NE(shared.share(of_rows(8, "train")), one);
  Dataset renamed = of_rows(8);
  renamed.name = "other";
  EXPECT_NE(shared.share(std::move(renamed)), one);
  const std::weak_ptr<const Dataset> last = one;
  one.reset();
  EXPECT_TRUE(last.expired());
  EXPECT_EQ(shared.share(of_rows(8))->rows.size(), 8u);
}

TEST(SharedDatasets, RowsAreKnownByTheKeyOfAShardOfThem) {
  const Dataset dataset = of_rows(2000);  // longer than what is hashed at once
  Shard whole;
  whole.rows = dataset.rows;
  EXPECT_EQ(dataset.rows_digest, key(whole));
}

std::string refusal(const DatasetSpec& spec) {
  std::vector<Problem> problems;
  check(spec, 0, "test.toml", problems);
  return problems.empty() ? "" : to_string(problems.front());
}

TEST(LargeDatasets, AreRefusedAtTheirPlaceBeforeAnythingIsRead) {
  EXPECT_EQ(refusal(spec_of("addition", {{"split", text("train")}, {"rows", number(kMaxRows)}})),
            "");
  EXPECT_THAT(
      refusal(spec_of("addition", {{"split", text("train")}, {"rows", number(60'000'000)}})),
      HasSubstr("test.toml:6:1: datasets.d.rows: 60000000 rows are more than a dataset may have"));
  const auto windows = [](int64_t offset) {
    return spec_of("text", {{"path", text("story.txt")},
                            {"window", number(1024)},
                            {"offset", number(offset)},
                            {"rows", number(200'000)}});
  };
  EXPECT_EQ(refusal(windows(0)), "");
  EXPECT_THAT(refusal(windows(100'000)),
              HasSubstr("300000 rows of 1024 tokens are more than a dataset may have"));
}

}  // namespace
}  // namespace headcount::datasets
