// Tables as text, Markdown, LaTeX and CSV.
#include "cli/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headcount::cli {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

Table importance() {
  Table table;
  table.stage = "importance";
  table.kind = "head_importance";
  table.columns = {"layer", "head", "mask_prob", "value", "se", "n", "model"};
  table.diagnostic_columns = {"model",           "residual_mean", "residual_p95",
                              "step_difference", "unconverged",   "n_missing"};
  const std::string model = "mha_1";
  for (const Cell& prob : {Cell(), Cell(0.25)}) {
    table.rows.push_back({int64_t{0}, int64_t{0}, prob, 2.0, 0.125, int64_t{64}, model});
    table.rows.push_back({int64_t{0}, int64_t{1}, prob, -1.2, 0.25, int64_t{64}, model});
    table.rows.push_back({int64_t{1}, int64_t{0}, prob, 0.01, 0.001, int64_t{64}, model});
    table.rows.push_back({int64_t{1}, int64_t{1}, prob, 0.3, Cell(), int64_t{64}, model});
  }
  table.diagnostics.push_back({model, 0.0123, 0.04, Cell(), int64_t{2}, int64_t{0}});
  table.warnings = {"3 of 64 rows are missing"};
  return table;
}

TEST(Render, KnowsItsFormats) {
  EXPECT_EQ(format_of("latex"), Format::kLatex);
  EXPECT_EQ(format_of("json"), Format::kJson);
  EXPECT_EQ(format_of("pdf"), std::nullopt);
}

TEST(Render, NumbersAreReadable) {
  EXPECT_EQ(readable(0), "0");
  EXPECT_EQ(readable(1234.56), "1235");
  EXPECT_EQ(readable(-0.0123456), "-0.01235");
  EXPECT_EQ(readable(3.14159, 2), "3.1");
  EXPECT_EQ(readable(1e-7), "1.000e-07");
}

TEST(Render, HeadScoresAreAMapTheStrongestHeadsAndTheResidual) {
  const std::string text = render({importance()}, Format::kText);
  EXPECT_THAT(
      text,
      HasSubstr("importance · head_importance\nmodel = mha_1\n  n = 64 rows; J = -loss in nats"));
  EXPECT_THAT(text, HasSubstr("    head  0  1\n"));
  EXPECT_THAT(text, HasSubstr("  layer  0  █ -▓\n"));
  EXPECT_THAT(text, HasSubstr("  layer  1  ·  ░\n"));
  EXPECT_THAT(text, HasSubstr("1      0     0  2.000 ± 0.12"));
  EXPECT_THAT(text, HasSubstr("2      0     1  -1.200 ± 0.25"));
  EXPECT_THAT(text, HasSubstr("p = 0.25"));
  EXPECT_THAT(text, HasSubstr("completeness residual 1.23 % of the mean, 4.00 % at the 95th "
                              "percentile of rows; step difference none; "
                              "2 rows unconverged, 0 missing"));
  EXPECT_THAT(text, HasSubstr("warning: 3 of 64 rows are missing\n"));
}

TEST(Render, SeveralPointsAreComparedByHowFarToTrustThem) {
  Table table = importance();
  auto more = table.rows;
  for (auto& row : more) row.back() = std::string("gqa");
  table.rows.insert(table.rows.end(), more.begin(), more.end());
  table.diagnostics.push_back({std::string("gqa"), 0.5, 0.75, 0.25, int64_t{0}, int64_t{8}});
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, AllOf(HasSubstr("model = mha_1\n"), HasSubstr("model = gqa\n")));
  EXPECT_THAT(text, ContainsRegex("mha_1 +1.23 % +4.00 % +none +2 +0\n"));
  EXPECT_THAT(text, ContainsRegex("gqa +50.0 % +75.0 % +25.0 % +0 +8\n"));
}

TEST(Render, PruningIsCurvesOverK) {
  Table table;
  table.stage = "pruning";
  table.kind = "head_pruning";
  table.columns = {"metric", "which", "k", "prune_seed", "value", "se", "n", "model"};
  table.diagnostic_columns = {"model",
                              "metric",
                              "abc",
                              "abc_low",
                              "abc_high",
                              "random_most",
                              "random_most_low",
                              "random_most_high",
                              "least_random",
                              "least_random_low",
                              "least_random_high",
                              "n_missing"};
  const Cell loss = std::string("loss"), model = std::string("mha");
  const auto add = [&](const char* which, int64_t k, const Cell& seed, double value) {
    table.rows.push_back({loss, std::string(which), k, seed, value, 0.01, int64_t{512}, model});
  };
  add("none", 0, Cell(), 0.5);
  add("most", 1, Cell(), 2.5);
  add("least", 1, Cell(), 0.5);
  add("random", 1, Cell(), 1.0);
  add("random", 1, int64_t{0}, 99.0);
  table.diagnostics.push_back(
      {model, loss, 0.2, 0.1, 0.3, Cell(), Cell(), Cell(), Cell(), Cell(), Cell(), int64_t{0}});
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, HasSubstr("loss (nats) with no head removed: 0.5000 ± 0.010"));
  EXPECT_THAT(text, HasSubstr("2.500 ± 0.010"));
  EXPECT_THAT(text, HasSubstr("L.........R............................M"));
  EXPECT_THAT(text,
              HasSubstr("area between most and least, 95 % interval: 0.2000 [0.1000, 0.3000]"));
  EXPECT_THAT(text, Not(HasSubstr("99")));
}

TEST(Render, EvaluationsAreOneLineAPoint) {
  Table table;
  table.stage = "test";
  table.kind = "evaluate";
  table.columns = {"metric", "value", "se", "n", "model"};
  table.rows = {{std::string("accuracy"), 0.75, 0.05, int64_t{80}, std::string("a")},
                {std::string("f1"), 0.7, Cell(), int64_t{80}, std::string("a")},
                {std::string("accuracy"), Cell(), Cell(), int64_t{0}, std::string("b")}};
  EXPECT_THAT(
      render({table}, Format::kText),
      AllOf(ContainsRegex("model +accuracy +f1 +n\n"),
            ContainsRegex("  a +0.7500 ± 0.050 +0.7000 +80\n"), ContainsRegex("  b +- +- +0\n")));
}

TEST(Render, MarkdownAndLatexEscapeAndHoldEveryRow) {
  const std::string markdown = render({importance()}, Format::kMarkdown);
  EXPECT_THAT(markdown,
              HasSubstr("| layer | head | mask_prob | value | se | n | model |\n| --- |"));
  EXPECT_THAT(markdown, HasSubstr("| 1 | 1 | 0.2500 | 0.3000 |  | 64 | mha_1 |\n"));
  const std::string latex = render({importance()}, Format::kLatex);
  EXPECT_THAT(latex, HasSubstr("\\begin{tabular}{rrrrrrr}"));
  EXPECT_THAT(latex, HasSubstr("mask\\_prob"));
  EXPECT_THAT(latex, HasSubstr("1 & 1 & 0.2500 & 0.3000 &  & 64 & mha\\_1 \\\\\n"));
}

TEST(Render, CsvQuotesAndKeepsEveryDigit) {
  Table table = importance();
  table.rows = {
      {int64_t{0}, int64_t{0}, Cell(), 0.1 + 0.2, Cell(), int64_t{1}, std::string("a,\"b\"")}};
  EXPECT_EQ(render({table}, Format::kCsv),
            "stage,layer,head,mask_prob,value,se,n,model\n"
            "importance,0,0,,0.30000000000000004,,1,\"a,\"\"b\"\"\"\n");
}

TEST(Render, ATableWithoutResultsSaysSo) {
  Table table = importance();
  for (auto& row : table.rows) row[3] = Cell(), row[4] = Cell(), row[5] = int64_t{0};
  EXPECT_THAT(render({table}, Format::kText), HasSubstr("nothing yet"));
}

}  // namespace
}  // namespace headcount::cli
