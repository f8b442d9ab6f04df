// Tables of ParamInfo against what a user wrote.
#include "schemas/params.h"

#include <gtest/gtest.h>

namespace headcount {
namespace {

const std::vector<ParamInfo>& infos() {
  static const std::vector<ParamInfo> all = {
      {.name = "mask_probs",
       .type = ParamType::kNumbers,
       .at_least = 0,
       .at_most = 1,
       .above_least = true,
       .meaning = "Probabilities.",
       .example = "[0.5]"},
      {.name = "ig_steps",
       .type = ParamType::kInteger,
       .otherwise = Field(int64_t{8}),
       .at_least = 1,
       .at_most = 4096,
       .unit = "intervals",
       .meaning = "Intervals.",
       .example = "[8, 16]"},
      {.name = "baseline", .type = ParamType::kNumber, .otherwise = Field(0.0), .at_least = 0},
      {.name = "quadrature", .type = ParamType::kText, .choices = {"right", "left"}},
      {.name = "share", .type = ParamType::kBool, .axis = false},
      {.name = "rows", .type = ParamType::kInteger, .required = true},
  };
  return all;
}

struct Outcome {
  std::vector<Choice> choices;
  std::string problems;
};

Outcome read(const std::string& keys) {
  const ParsedSpec parsed =
      parse_spec("name = \"x\"\n[[stage]]\nname = \"s\"\nkind = \"k\"\n" + keys, "x.toml");
  EXPECT_TRUE(parsed.spec) << to_string(parsed.problems);
  const StageSpec& stage = parsed.spec->stages[0];
  constexpr std::array<std::string_view, 1> elsewhere = {"model"};
  std::vector<Problem> problems;
  auto choices =
      read_params(stage.keys, infos(), elsewhere, "stage[0]", "x.toml", stage.at, problems);
  return {std::move(choices), to_string(problems)};
}

TEST(Params, FillsDefaultsAndLeavesOutWhatHasNone) {
  const Outcome outcome = read("rows = 3\nmodel = 1\n");
  EXPECT_EQ(outcome.problems, "");
  ASSERT_EQ(outcome.choices.size(), 1u);
  EXPECT_EQ(to_json(outcome.choices[0].values), R"({"baseline": 0, "ig_steps": 8, "rows": 3})");
  EXPECT_TRUE(outcome.choices[0].axes.empty());
}

TEST(Params, ExpandsAxesTheFirstNameSlowestWhateverTheOrderInTheFile) {
  const Outcome outcome =
      read("rows = 3\nbaseline = [0, 0.5]\nig_steps = [8, 16]\nmask_probs = [[0.1], [0.2, 0.3]]\n");
  EXPECT_EQ(outcome.problems, "");
  ASSERT_EQ(outcome.choices.size(), 8u);
  EXPECT_EQ(outcome.choices[0].axes,
            (std::vector<std::string>{"mask_probs", "ig_steps", "baseline"}));
  EXPECT_EQ(to_json(outcome.choices[1].values),
            R"({"baseline": 0.5, "ig_steps": 8, "mask_probs": [0.1], "rows": 3})");
  EXPECT_EQ(to_json(outcome.choices[6].values),
            R"({"baseline": 0, "ig_steps": 16, "mask_probs": [0.2, 0.3], "rows": 3})");
}

TEST(Params, AListOfOneIsAnAxisAndAListByNatureIsNone) {
  const Outcome outcome = read("rows = [3]\nmask_probs = [0.1, 0.2]\n");
  EXPECT_EQ(outcome.choices[0].axes, std::vector<std::string>{"rows"});
}

TEST(Params, SaysWhatWasFoundAndWhatWasExpectedForEveryWrongKeyAtOnce) {
  EXPECT_EQ(
      read("ig_stepz = 3\nig_steps = 0\nmask_probs = 0.5\nbaseline = \"0.5\"\n"
           "quadrature = \"rigth\"\nshare = [true]\n")
          .problems,
      "x.toml:5:1: stage[0].ig_stepz: unknown key; did you mean \"ig_steps\"?\n"
      "x.toml:7:1: stage[0].mask_probs: expected a list of numbers above 0 and at most 1, "
      "found one value; write [0.5]\n"
      "x.toml:6:1: stage[0].ig_steps: expected an integer from 1 to 4096, found 0\n"
      "x.toml:8:1: stage[0].baseline: expected a number of at least 0, found \"0.5\" (a text); "
      "write it without quotes\n"
      "x.toml:9:1: stage[0].quadrature: expected one of \"right\", \"left\", found \"rigth\"; "
      "did you mean \"right\"?\n"
      "x.toml:10:1: stage[0].share: expected true or false; this key is no axis, found a list, "
      "[true]\n"
      "x.toml:2:1: stage[0].rows: required key is missing\n");
}

TEST(Params, PointsAtTheElementOfAnAxisOrListThatIsWrong) {
  EXPECT_EQ(
      read("rows = [1, 1, 2.0]\nmask_probs = [0.5, 0.0, 0.5]\nig_steps = []\n").problems,
      "x.toml:6:20: stage[0].mask_probs[1]: expected a number above 0 and at most 1, found 0.0\n"
      "x.toml:6:25: stage[0].mask_probs[2]: 0.5 is in the list twice\n"
      "x.toml:7:1: stage[0].ig_steps: expected an integer from 1 to 4096, or a list of such as "
      "an axis; found an empty list\n"
      "x.toml:5:12: stage[0].rows[1]: 1 is on the axis twice\n"
      "x.toml:5:15: stage[0].rows[2]: expected an integer, found 2.0 (a number); write 2\n");
}

TEST(Params, RefusesInfinitiesAndTreatsMinusZeroAsZero) {
  EXPECT_EQ(read("rows = 1\nbaseline = inf\n").problems,
            "x.toml:6:1: stage[0].baseline: expected a number of at least 0, found inf\n");
  EXPECT_EQ(read("rows = 1\nbaseline = nan\n").problems,
            "x.toml:6:1: stage[0].baseline: expected a number of at least 0, found nan\n");
  const Outcome zero = read("rows = 1\nbaseline = -0.0\n");
  EXPECT_EQ(to_json(zero.choices[0].values.at("baseline")), "0");
}

TEST(Params, RefusesMorePointsThanOneStageMayHaveBeforeExpanding) {
  std::string rows = "rows = [", steps = "ig_steps = [";
  for (int i = 1; i <= 2000; ++i) {
    rows += std::to_string(i) + ",";
    steps += std::to_string(i) + ",";
  }
  const Outcome outcome = read(rows + "]\n" + steps + "]\n");
  EXPECT_EQ(outcome.problems,
            "x.toml:2:1: stage[0]: the axes ig_steps (2000) x rows (2000) make more than 10000 "
            "points; split them over several specs\n");
  EXPECT_EQ(outcome.choices.size(), 1u);
}

TEST(Params, DescribesEveryKeyInOneTableRow) {
  EXPECT_EQ(
      describe(std::span(infos()).first(2)),
      "| key | takes | list | default | unit | meaning | example |\n"
      "|---|---|---|---|---|---|---|\n"
      "| `mask_probs` | a list of numbers above 0 and at most 1 | by nature; list of lists: axis "
      "| none | - | Probabilities. | `mask_probs = [0.5]` |\n"
      "| `ig_steps` | an integer from 1 to 4096 | axis | `8` | intervals | Intervals. | `ig_steps "
      "= [8, 16]` "
      "|\n");
}

}  // namespace
}  // namespace headcount
