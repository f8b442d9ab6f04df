// Tables as text, Markdown, LaTeX and CSV.
#include "cli/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/tables.h"

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
  table.diagnostic_columns = {
      "model",        "audit",       "step_difference",  "moving",          "gap_p95",
      "residual_p95", "unconverged", "evaluations_mean", "evaluations_max", "n_missing"};
  const std::string model = "mha_1";
  for (const Cell& prob : {Cell(), Cell(0.25)}) {
    table.rows.push_back({int64_t{0}, int64_t{0}, prob, 2.0, 0.125, int64_t{64}, model});
    table.rows.push_back({int64_t{0}, int64_t{1}, prob, -1.2, 0.25, int64_t{64}, model});
    table.rows.push_back({int64_t{1}, int64_t{0}, prob, 0.01, 0.001, int64_t{64}, model});
    table.rows.push_back({int64_t{1}, int64_t{1}, prob, 0.3, Cell(), int64_t{64}, model});
  }
  table.diagnostics.push_back(
      {model, 0.0123, Cell(), 0.15, 0.3, 0.04, int64_t{2}, 92.5, 149.0, int64_t{0}});
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

TEST(Render, HeadScoresAreAMapTheStrongestHeadsAndHowFarToTrustThem) {
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
  EXPECT_THAT(text,
              HasSubstr("how far to trust each point; audit: change of the mean vector by "
                        "halving every interval, a row in sixteen;\n"
                        "moving: share of a row's |IG| that changes with it; "
                        "gap: |sum - change of J|, nats, residual: over the change or 1 nat\n"
                        "  model  audit   moving  gap p95  residual p95  unconverged  "
                        "gradients  largest  missing\n"
                        "  mha_1  1.23 %  15.0 %   0.3000  4.00 %                  2      92.50    "
                        "149.0        0\n"));
  EXPECT_THAT(text, HasSubstr("warning: 3 of 64 rows are missing\n"));
}

TEST(Render, HeadsWithinTwoStandardErrorsOfZeroAreDrawnLow) {
  Table table = importance();
  EXPECT_THAT(render({table}, Format::kText), Not(HasSubstr("▁")));
  table.rows[0][4] = 1.5;   // 2.0 ± 1.5
  table.rows[1][4] = 0.61;  // -1.2 ± 0.61
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, HasSubstr("  layer  0  ▄ -▃\n"));
  EXPECT_THAT(text, HasSubstr("  layer  1  ·  ░\n"));
  EXPECT_THAT(text,
              HasSubstr("  ▁ ▂ ▃ ▄ as ░ ▒ ▓ █, but less than two standard errors from zero\n"));
}

TEST(Render, SeveralPointsAreComparedByHowFarToTrustThem) {
  Table table = importance();
  auto more = table.rows;
  for (auto& row : more) row.back() = std::string("gqa");
  table.rows.insert(table.rows.end(), more.begin(), more.end());
  table.diagnostics.push_back(
      {std::string("gqa"), Cell(), 0.25, 0.5, 3.0, 0.75, int64_t{0}, Cell(), Cell(), int64_t{8}});
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, AllOf(HasSubstr("model = mha_1\n"), HasSubstr("model = gqa\n")));
  EXPECT_THAT(text, ContainsRegex("mha_1 +1.23 % +none +15.0 % +0.3000 +4.00 % +2 +92.50 +149.0 "
                                  "+0\n"));
  EXPECT_THAT(text, ContainsRegex("gqa +none +25.0 % +50.0 % +3.000 +75.0 % +0 +8\n"));
  EXPECT_THAT(text,
              HasSubstr("; step difference: change of the mean vector from half the steps;\n"));
}

TEST(Render, ATableOfAnOlderVersionShowsTheTrustItHas) {
  Table table = importance();
  table.diagnostic_columns = {"model",           "residual_mean", "residual_p95",
                              "step_difference", "unconverged",   "n_missing"};
  table.diagnostics = {{std::string("mha_1"), 0.0123, 0.04, 0.25, int64_t{2}, int64_t{0}}};
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, HasSubstr("how far to trust each point; step difference: "));
  EXPECT_THAT(text, ContainsRegex("model +step difference +residual p95 +residual +unconverged"));
  EXPECT_THAT(text, ContainsRegex("mha_1 +25.0 % +4.00 % +1.23 % +2 +0\n"));
  EXPECT_THAT(text, Not(HasSubstr("gap")));
}

/// One point of a pruning stage: loss, then exact match.
Table pruning() {
  Table table;
  table.stage = "pruning";
  table.kind = "head_pruning";
  table.columns = {"metric", "which", "k",        "prune_seed", "value", "se",
                   "low",    "high",  "n_orders", "n",          "model"};
  table.diagnostic_columns = {"model", "metric"};
  for (const char* way : {"", "_clipped", "_log"}) {
    for (const char* gap : {"abc", "random_most", "least_random"}) {
      for (const char* end : {"", "_low", "_high"})
        table.diagnostic_columns.push_back(std::string(gap) + way + end);
    }
  }
  for (const char* name : {"n_heads", "chance", "n_missing"})
    table.diagnostic_columns.emplace_back(name);
  const Cell loss = std::string("loss"), match = std::string("exact_match"),
             model = std::string("mha");
  const auto add = [&](const Cell& metric, const char* which, int64_t k, const Cell& seed,
                       double value, const Cell& n_orders) {
    table.rows.push_back({metric, std::string(which), k, seed, value, 0.01, value - 0.25,
                          value + 0.5, n_orders, int64_t{512}, model});
  };
  add(loss, "none", 0, Cell(), 0.5, Cell());
  add(loss, "most", 1, Cell(), 2.5, Cell());
  add(loss, "least", 1, Cell(), 0.5, Cell());
  add(loss, "random", 1, Cell(), 1.0, int64_t{20});
  add(loss, "random", 1, int64_t{0}, 99.0, int64_t{1});
  add(match, "none", 0, Cell(), 1.0, Cell());
  add(match, "most", 1, Cell(), 0.25, Cell());
  add(match, "least", 1, Cell(), 1.0, Cell());
  const auto diagnose = [&](const Cell& metric, const Cell& chance) {
    std::vector<Cell> row = {model, metric};
    for (const double way : {0.2, 0.15, 1.5}) {
      row.insert(row.end(), {way, way - 0.1, way + 0.1});
      row.resize(row.size() + 6);
    }
    row.insert(row.end(), {int64_t{32}, chance, int64_t{0}});
    table.diagnostics.push_back(row);
  };
  diagnose(loss, 2.7726);
  diagnose(match, Cell());
  return table;
}

TEST(Render, PruningIsCurvesOverK) {
  const std::string text = render({pruning()}, Format::kText);
  EXPECT_THAT(text, HasSubstr("loss (nats) with no head removed: 0.5000 [0.250, 1.00]; n = 512 "
                              "rows x 20 random orders; in [ ] 95 % intervals; random up to k = "
                              "2: the middle 95 % of these orders\n"));
  EXPECT_THAT(text, ContainsRegex("1 +2.500 .2.25, 3.00. +1.000 .0.750, 1.50. +0.5000"));
  EXPECT_THAT(text, HasSubstr("L.........R............................M"));
  EXPECT_THAT(text, Not(HasSubstr("99")));
}

TEST(Render, AnAreaHasUnitAxisAndRange) {
  const std::string text = render({pruning()}, Format::kText);
  EXPECT_THAT(text, ContainsRegex("area between +linear +clipped at chance +over log2.1 . k.\n"));
  EXPECT_THAT(text, ContainsRegex("most and least +0.2000 .0.100, 0.300. +0.1500 .0.0500, 0.250. "
                                  "+1.500 .1.40, 1.60.\n"));
  EXPECT_THAT(text, HasSubstr("linear: nats x share of heads removed, 0 to 1/32; clipped: no "
                              "curve worse than 2.773, a guess; log: nats x log2(1 + k), 0 to 1"));
  // An exact match has no chance: two areas.
  EXPECT_THAT(text, ContainsRegex("most and least +0.2000 .0.100, 0.300. +1.500 .1.40, 1.60.\n"));
  EXPECT_THAT(text, HasSubstr("linear: share of rows x share of heads removed, 0 to 1/32; log:"));
}

TEST(Render, ExactMatchComesFirst) {
  const std::string text = render({pruning()}, Format::kText);
  EXPECT_LT(text.find("exact_match with no head removed: 1.000"), text.find("loss (nats)"));
  EXPECT_THAT(text, Not(HasSubstr(" \n")));
}

TEST(Render, LayerMatchedHasTwoRandomArms) {
  Table table = pruning();
  const Cell loss = std::string("loss");
  table.rows.erase(table.rows.begin() + 3, table.rows.begin() + 5);
  for (const auto& [which, value] :
       {std::pair("random_as_most", 2.0), std::pair("random_as_least", 1.0)}) {
    table.rows.push_back({loss, std::string(which), int64_t{1}, Cell(), value, 0.01, value, value,
                          int64_t{20}, int64_t{512}, std::string("mha")});
  }
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, ContainsRegex("k +most +random_as_most +random_as_least +least"));
  EXPECT_THAT(text, HasSubstr("L.........r..................R.........M"));
}

TEST(Render, ATableOfAnOlderVersionHasNoIntervals) {
  Table table = pruning();
  for (auto& row : table.rows) row.erase(row.begin() + 6, row.begin() + 9);
  table.columns.erase(table.columns.begin() + 6, table.columns.begin() + 9);
  table.diagnostic_columns.resize(table.diagnostic_columns.size() - 3);
  for (auto& row : table.diagnostics) row.resize(row.size() - 3);
  const std::string text = render({table}, Format::kText);
  EXPECT_THAT(text, HasSubstr("loss (nats) with no head removed: 0.5000 ± 0.010; n = 512 rows\n"));
  EXPECT_THAT(text, Not(HasSubstr("[ ]")));
  EXPECT_THAT(text, HasSubstr("share of heads removed, 0 to 1 heads; log:"));
}

TEST(Render, EvaluationsAreOneLineAPoint) {
  Table table;
  table.stage = "test";
  table.kind = "evaluate";
  table.columns = {"metric", "value", "se", "low", "high", "n", "model"};
  const std::string a = "a", b = "b";
  table.rows = {{std::string("accuracy"), 1.0, 0.0, 0.954, 1.0, int64_t{80}, a},
                {std::string("f1"), 0.7, Cell(), Cell(), Cell(), int64_t{80}, a},
                {std::string("accuracy"), Cell(), Cell(), Cell(), Cell(), int64_t{0}, b}};
  EXPECT_THAT(render({table}, Format::kText),
              AllOf(ContainsRegex("model +accuracy +f1 +n\n"),
                    ContainsRegex("  a +1.000 .0.954, 1.00. +0.7000 +80\n"),
                    ContainsRegex("  b +- +- +0\n")));
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

TEST(Render, WarningsAreVisibleInEveryFormat) {
  Table table = importance();
  table.warnings = {"step_difference of {50 %} \\ a^b", "more"};
  EXPECT_THAT(render({table}, Format::kMarkdown), HasSubstr("\nWarning: more.\n"));
  EXPECT_THAT(render({table}, Format::kLatex),
              HasSubstr("\\end{tabular}\n\n\\noindent Warning: step\\_difference of \\{50 \\%\\} "
                        "\\textbackslash{} a\\^{}b.\n\n\\noindent Warning: more.\n"));
  EXPECT_THAT(render({table}, Format::kJson), HasSubstr("\"more\"]"));
  EXPECT_THAT(render({table}, Format::kCsv), Not(HasSubstr("more")));
  testing::internal::CaptureStderr();
  warn_aside({table});
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("warning: stage importance: more\n"));
}

TEST(Render, ListsAreTheirTextButInJson) {
  Table table = importance();
  for (auto& row : table.rows) row.back() = JsonList{"[0, 3]"};
  table.diagnostics.clear();
  EXPECT_THAT(render({table}, Format::kText), HasSubstr("model = [0, 3]\n"));
  EXPECT_THAT(render({table}, Format::kMarkdown), HasSubstr("| [0, 3] |\n"));
  EXPECT_THAT(render({table}, Format::kCsv), HasSubstr(",\"[0, 3]\"\n"));
  const std::string json = render({table}, Format::kJson);
  EXPECT_THAT(json, HasSubstr("\"model\": [0, 3]}"));
  EXPECT_EQ(to_json(tables_from_json(json)), json);
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
