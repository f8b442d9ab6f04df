// What a table's diagnostics hold against its scores.
#include "experiments/trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace headcount::experiments {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// One diagnostics row of these columns after the model's.
std::string held(const std::map<std::string, Cell>& cells) {
  Table table;
  table.diagnostic_columns = {"model"};
  std::vector<Cell> row = {std::string("mha")};
  for (const auto& [name, cell] : cells) {
    table.diagnostic_columns.push_back(name);
    row.push_back(cell);
  }
  return distrust(table, row);
}

TEST(Distrust, NamesEveryShareAboveATenthAndNoneUpToIt) {
  const std::map<std::string, std::string> reasons = {
      {"audit", "halving every interval moves the mean vector by 10.5 %"},
      {"step_difference", "from half the steps to all, the mean vector moves by 10.5 %"},
      {"moving", "they move so much of a row's |IG|: 10.5 %"},
      {"residual_p95", "sum minus change of J, at the 95th percentile, 10.5 %"}};
  for (const auto& [name, reason] : reasons) {
    EXPECT_THAT(held({{name, 0.105}}), testing::StartsWith(reason + "; ")) << name;
    EXPECT_EQ(held({{name, 0.1}}), "") << name;
    EXPECT_EQ(held({{name, Cell()}}), "") << name;
  }
}

TEST(Distrust, NamesTheRowsThatDidNotConverge) {
  EXPECT_EQ(held({{"unconverged", int64_t{0}}}), "");
  EXPECT_THAT(held({{"unconverged", int64_t{1}}}), HasSubstr("1 row unconverged"));
  EXPECT_THAT(held({{"unconverged", int64_t{3}}}), HasSubstr("3 rows unconverged"));
}

TEST(Distrust, SaysAllReasonsAtOnceAndWhatWouldSettleThem) {
  EXPECT_EQ(held({{"step_difference", 3.79}, {"residual_p95", 0.5}}),
            "from half the steps to all, the mean vector moves by 379 %, sum minus change of J, at "
            "the 95th "
            "percentile, 50 %; quadrature = \"adaptive\", the default, settles them");
  EXPECT_EQ(
      held({{"audit", 0.2}, {"unconverged", int64_t{2}}, {"evaluations_mean", 90.0}}),
      "halving every interval moves the mean vector by 20 %, 2 rows unconverged; take a smaller "
      "tol, or a larger max_evaluations where rows are unconverged");
}

TEST(Distrust, DoesNotJudgeWhatCancelsWhatIsNoShareOrWhatATableDoesNotSay) {
  EXPECT_EQ(held({{"residual_mean", 0.9}, {"gap_p95", 12.0}, {"evaluations_mean", 4097.0}}), "");
  EXPECT_EQ(held({}), "");
}

}  // namespace
}  // namespace headcount::experiments
