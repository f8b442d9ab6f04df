// Plans, refusals and tables of evaluate against numbers worked out by hand.
#include "experiments/kinds/evaluate/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "experiments/kinds/evaluate/questions.h"
#include "experiments/kinds/fixture.h"
#include "schemas/error.h"

namespace headcount::experiments::evaluate {
namespace {

using fixture::cell;
using fixture::complaints;
using fixture::diagnostic;
using fixture::keys;
using fixture::number;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Texts = std::vector<std::string>;

const Kind& kind() { return *find_kind("evaluate"); }
const ModelInfo kModel = fixture::masked_model();
const ModelInfo kCausal = fixture::causal_model();

Fields metrics(Texts names) { return {{"metrics", std::move(names)}}; }
Fields with(Fields fields, const Fields& more) {
  for (const auto& [name, value] : more) fields[name] = value;
  return fields;
}

double value_of(const Table& table, const std::string& metric) {
  return number(cell(table, fixture::rows_with(table, {metric}).at(0), "value"));
}

TEST(EvaluatePlan, LossAndPerplexityShareTheirShards) {
  const auto rows = fixture::masked_rows(20);
  const Fields masks = {{"mask_probs", std::vector<double>{0.3, 0.7}},
                        {"mask_samples", int64_t{3}}};
  const auto both =
      fixture::point(kind(), kModel, rows, with(metrics({"loss", "perplexity"}), masks));
  EXPECT_EQ(kind().count(both), 2 * 2 * 3);
  EXPECT_EQ(keys(kind(), both), keys(kind(), fixture::point(kind(), kModel, rows,
                                                            with(metrics({"perplexity"}), masks))));
  const Params params = params_of(kind().shard(both, 11));
  EXPECT_EQ(params.question, Question::kMaskedCe);
  EXPECT_EQ(params.mask_prob, 0.7);
  EXPECT_EQ(params.draw, 2);
}

TEST(EvaluatePlan, HowChoicesAreScoredCostsNoShard) {
  const auto rows = fixture::choice_rows({0, 1, 1}, 2);
  const auto sum = keys(kind(), fixture::point(kind(), kCausal, rows, {}));
  EXPECT_EQ(sum, keys(kind(), fixture::point(kind(), kCausal, rows,
                                             {{"choice_normalize", std::string("mean")},
                                              {"f1", std::string("micro")}})));
}

TEST(EvaluatePlan, ALongChoiceIsDrawnForInItsOwnBlockAlone) {
  const std::vector<int32_t> labels(kBlockRows + 1, 0);
  const auto rows = fixture::choice_rows(labels, 2);
  auto longer = rows;
  longer.rows.back().choices[0].push_back(3);
  const auto plain = fixture::point(kind(), kModel, rows, {}),
             point = fixture::point(kind(), kModel, longer, {});
  EXPECT_EQ(key(kind().shard(point, 0)), key(kind().shard(plain, 0)));
  EXPECT_EQ(params_of(kind().shard(plain, 1)).mc_samples, 0);
  EXPECT_EQ(params_of(kind().shard(point, 1)).mc_samples, kMcSamples);
}

TEST(EvaluatePlan, PrunedHeadsAreSortedAndNoneIsTheModelItself) {
  const auto rows = fixture::choice_rows({0}, 2);
  const auto plain = keys(kind(), fixture::point(kind(), kCausal, rows, {}));
  const auto empty = fixture::point(kind(), kCausal, rows, {{"pruned", std::vector<int64_t>{}}});
  EXPECT_EQ(keys(kind(), empty), plain);
  const auto two = fixture::point(kind(), kCausal, rows, {{"pruned", std::vector<int64_t>{3, 1}}});
  EXPECT_THAT(params_of(kind().shard(two, 0)).pruned, ElementsAre(1, 3));
}

TEST(EvaluatePlan, ScoresPruneTheirMostImportantHeads) {
  const auto rows = fixture::choice_rows({0}, 2);
  auto point = fixture::point(kind(), kModel, rows, {{"k", int64_t{2}}});
  point.scores = Scores{
      .stage = "importance", .value = {0.1, 0.9, 0.2, 0.8}, .dataset = nullptr, .values = {}};
  EXPECT_THAT(params_of(kind().shard(point, 0)).pruned, ElementsAre(1, 3));
  point.values["k"] = int64_t{0};
  EXPECT_THAT(params_of(kind().shard(point, 0)).pruned, IsEmpty());
}

const double kNoValue = std::nan("");

TEST(EvaluateTable, APointWithoutScoresHasNoNumberAndSaysSo) {
  const auto rows = fixture::choice_rows({0, 1, 1}, 2);
  auto point = fixture::point(kind(), kModel, rows, {{"k", int64_t{2}}});
  const auto compute = [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string&, const Row&, size_t choice) {
      return choice == 0 ? -1. : -2;
    });
  };
  const auto table_of = [&](const std::vector<double>& value) {
    point.scores = Scores{.stage = "importance", .value = value, .dataset = nullptr, .values = {}};
    return fixture::table(kind(), point, compute);
  };
  for (const auto& value :
       {std::vector<double>(4, kNoValue), std::vector<double>{0.1, kNoValue, kNoValue, kNoValue}}) {
    const Table table = table_of(value);
    const auto accuracy = fixture::rows_with(table, {std::string("accuracy")}).at(0);
    EXPECT_EQ(cell(table, accuracy, "value"), Cell());
    EXPECT_EQ(cell(table, accuracy, "n"), Cell(int64_t{0}));
    EXPECT_EQ(fixture::diagnostic(table, 0, "n_missing"), Cell(int64_t{3}));
    EXPECT_THAT(
        table.warnings,
        ElementsAre(
            HasSubstr("stage \"importance\" has scores of too few heads where model = tiny, "
                      "dataset = quiz"),
            HasSubstr("3 of 3 rows are missing")));
    EXPECT_THAT(params_of(kind().shard(point, 0)).pruned, IsEmpty());
  }
  EXPECT_DOUBLE_EQ(value_of(table_of({0.1, 0.2, kNoValue, kNoValue}), "accuracy"), 1.0 / 3);
  point.values["k"] = int64_t{0};  // the whole model needs no scores
  EXPECT_DOUBLE_EQ(value_of(table_of(std::vector<double>(4, kNoValue)), "accuracy"), 1.0 / 3);
}

TEST(EvaluatePlan, ScopeLayerNeedsScoresInEveryLayerAskedFor) {
  const auto rows = fixture::choice_rows({0}, 2);
  auto point =
      fixture::point(kind(), kModel, rows, {{"k", int64_t{1}}, {"scope", std::string("layer")}});
  const Arm most{.which = "most", .k = 1};
  point.scores = Scores{
      .stage = "importance", .value = {1, 2, kNoValue, kNoValue}, .dataset = nullptr, .values = {}};
  EXPECT_FALSE(is_scored(point, most));
  point.scores->values["layers"] = std::vector<int64_t>{0};
  EXPECT_TRUE(is_scored(point, most));
  EXPECT_THAT(heads_of_arm(point, most), ElementsAre(1));
}

TEST(EvaluatePlan, RefusesAShardItCannotMean) {
  const auto rows = fixture::masked_rows(8);
  const Shard good =
      kind().shard(fixture::point(kind(), kModel, rows, metrics({"exact_match"})), 0);
  const auto refuses = [&](const std::string& name, const Field& value) {
    Shard bad = good;
    bad.params[name] = value;
    EXPECT_THROW(params_of(bad), Error) << name;
  };
  EXPECT_EQ(params_of(good).question, Question::kExactMatch);
  refuses("metric", std::string("bleu"));
  refuses("pruned", std::vector<int64_t>{4});
  refuses("pruned", std::vector<int64_t>{1, 1});
  refuses("mask_prob", 0.5);
}

TEST(EvaluateCheck, SaysWhatTheRowsCannotAnswer) {
  const auto masked = fixture::masked_rows(4);
  const auto next = fixture::labelled_rows(4);
  const auto quiz = fixture::choice_rows({0, 1}, 2);
  const auto complain = [](const ModelInfo& model, const datasets::Dataset& rows,
                           const Fields& fields) {
    return complaints(kind(), fixture::point(kind(), model, rows, fields));
  };
  EXPECT_THAT(complain(kModel, masked, metrics({"exact_match"})), IsEmpty());
  EXPECT_THAT(complain(kModel, masked, metrics({"accuracy"})),
              ElementsAre(HasSubstr("needs rows with choices")));
  EXPECT_THAT(complain(kModel, masked, metrics({"loss"})),
              ElementsAre(HasSubstr("mask_probs: "), HasSubstr("mask_samples: ")));
  EXPECT_THAT(complain(kCausal, masked, metrics({"exact_match"})),
              ElementsAre(HasSubstr("has no mask token")));
  EXPECT_THAT(complain(kCausal, next, {}), IsEmpty());
  EXPECT_THAT(complain(kCausal, next, {{"mask_samples", int64_t{1}}}),
              ElementsAre(HasSubstr("remove mask_samples")));
  EXPECT_THAT(complain(kModel, next, metrics({"loss"})), ElementsAre(HasSubstr("sees it")));
  EXPECT_THAT(complain(kModel, quiz, {}), IsEmpty());
  EXPECT_THAT(complain(kModel, quiz, metrics({"loss"})),
              ElementsAre(HasSubstr("ask for accuracy or f1")));
  EXPECT_THAT(complain(kModel, quiz, {{"f1", std::string("positive")}}),
              ElementsAre(HasSubstr("add positive = 1")));
  EXPECT_THAT(complain(kModel, quiz, {{"f1", std::string("positive")}, {"positive", int64_t{2}}}),
              ElementsAre(HasSubstr("choices 0 to 1, found 2")));
  EXPECT_THAT(complain(kModel, quiz, {{"pruned", std::vector<int64_t>{4}}}),
              ElementsAre(HasSubstr("heads 0 to 3")));
  EXPECT_THAT(complain(kModel, quiz, {{"k", int64_t{1}}}), ElementsAre(HasSubstr("add scores = ")));
}

TEST(EvaluateCheck, ScoresNeedAKThatLeavesAHead) {
  const auto quiz = fixture::choice_rows({0, 1}, 2);
  auto point = fixture::point(kind(), kModel, quiz, {});
  point.scores = Scores{.stage = "importance", .value = {}, .dataset = nullptr, .values = {}};
  EXPECT_THAT(complaints(kind(), point), ElementsAre(HasSubstr("add k")));
  point.values["k"] = int64_t{4};
  EXPECT_THAT(complaints(kind(), point), ElementsAre(HasSubstr("fewer than the 4 scored heads")));
  point.scores->values["layers"] = std::vector<int64_t>{1};
  point.values["k"] = int64_t{2};
  EXPECT_THAT(complaints(kind(), point), ElementsAre(HasSubstr("fewer than the 2 scored heads")));
  point.values["k"] = int64_t{1};
  EXPECT_THAT(complaints(kind(), point), IsEmpty());
}

TEST(EvaluateCheck, MaskParametersComeFromTheScoringStage) {
  const auto masked = fixture::masked_rows(4);
  auto point = fixture::point(kind(), kModel, masked, with(metrics({"loss"}), {{"k", int64_t{1}}}));
  point.scores =
      Scores{.stage = "importance",
             .value = {1, 2, 3, 4},
             .dataset = nullptr,
             .values = {{"mask_probs", std::vector<double>{0.2}}, {"mask_samples", int64_t{5}}}};
  EXPECT_THAT(complaints(kind(), point), IsEmpty());
  EXPECT_EQ(kind().count(point), 5);
  EXPECT_EQ(params_of(kind().shard(point, 4)).mask_prob, 0.2);
}

/// Truth 0 0 0 1 1 2; predicted 0 0 1 1 2 2: F1 of the classes 0.8, 0.5, 2/3.
Table quiz_table(const Fields& fields) {
  static const auto rows = fixture::choice_rows({0, 0, 0, 1, 1, 2}, 3);
  static const std::vector<size_t> predicted = {0, 0, 1, 1, 2, 2};
  return fixture::table(
      kind(), fixture::point(kind(), kModel, rows, fields), [](const Shard& shard) {
        return fixture::result_of(shard, [](const std::string&, const Row& row, size_t choice) {
          return choice == predicted[row.id - 3000] ? -0.5 : -3.0;
        });
      });
}

TEST(EvaluateTable, AccuracyAndF1AreThoseOfTheConfusionMatrix) {
  const Table table = quiz_table({});
  EXPECT_THAT(table.columns,
              ElementsAre("metric", "value", "se", "low", "high", "n", "model", "dataset"));
  EXPECT_DOUBLE_EQ(value_of(table, "accuracy"), 4.0 / 6);
  EXPECT_DOUBLE_EQ(number(cell(table, table.rows[0], "se")), std::sqrt(4.0 / 6 * 2.0 / 6 / 5));
  EXPECT_DOUBLE_EQ(value_of(table, "f1"), (0.8 + 0.5 + 2.0 / 3) / 3);
  // Wilson's interval of 4 of 6, the bootstrap's of F1.
  EXPECT_NEAR(number(cell(table, table.rows[0], "low")), 0.3000, 1e-4);
  EXPECT_NEAR(number(cell(table, table.rows[0], "high")), 0.9032, 1e-4);
  EXPECT_GT(number(cell(table, table.rows[1], "se")), 0);
  EXPECT_LT(number(cell(table, table.rows[1], "low")), value_of(table, "f1"));
  EXPECT_GT(number(cell(table, table.rows[1], "high")), value_of(table, "f1"));
  EXPECT_DOUBLE_EQ(value_of(quiz_table({{"f1", std::string("micro")}}), "f1"), 4.0 / 6);
  EXPECT_DOUBLE_EQ(
      value_of(quiz_table({{"f1", std::string("positive")}, {"positive", int64_t{1}}}), "f1"), 0.5);
}

TEST(EvaluateTable, TiesGoToTheLowerIndexAndMeansDivideByLength) {
  auto rows = fixture::choice_rows({0, 1}, 2);
  for (Row& row : rows.rows) row.choices[1] = {1, 2};  // two tokens
  const auto accuracy = [&](const std::string& normalize, double second) {
    const auto point = fixture::point(
        kind(), kCausal, rows, with(metrics({"accuracy"}), {{"choice_normalize", normalize}}));
    return value_of(fixture::table(kind(), point,
                                   [&](const Shard& shard) {
                                     return fixture::result_of(
                                         shard, [&](const std::string&, const Row&, size_t choice) {
                                           return choice == 0 ? -2.0 : second;
                                         });
                                   }),
                    "accuracy");
  };
  EXPECT_EQ(accuracy("sum", -2.0), 0.5);   // a tie: both rows predicted 0
  EXPECT_EQ(accuracy("mean", -4.0), 0.5);  // a tie of means
  EXPECT_EQ(accuracy("mean", -3.0), 0.5);  // both predicted 1
}

TEST(EvaluateTable, LossIsTheMeanOverDrawsAndPerplexityPoolsTokens) {
  const auto rows = fixture::masked_rows(2);
  const Fields fields = {{"metrics", Texts{"loss", "perplexity"}},
                         {"mask_probs", std::vector<double>{0.3, 0.7}},
                         {"mask_samples", int64_t{1}}};
  const Table table =
      fixture::table(kind(), fixture::point(kind(), kModel, rows, fields), [](const Shard& shard) {
        const double p = *params_of(shard).mask_prob;
        return fixture::result_of(shard, [&](const std::string& name, const Row& row, size_t) {
          if (name == "tokens") return p < 0.5 ? 1.0 : 2.0;
          return row.id == 1000 ? 1.0 : 3.0;  // nll
        });
      });
  // Row 0: (1 / 1 + 1 / 2) / 2 = 0.75; row 1: (3 + 1.5) / 2 = 2.25.
  EXPECT_DOUBLE_EQ(value_of(table, "loss"), 1.5);
  EXPECT_DOUBLE_EQ(number(cell(table, table.rows[0], "se")), 0.75);
  EXPECT_EQ(number(cell(table, table.rows[0], "low")), 0);  // Student's of two rows is negative
  EXPECT_DOUBLE_EQ(value_of(table, "perplexity"), std::exp(8.0 / 6));
}

TEST(EvaluateTable, RepeatsWhatIsHeldAgainstTheScoresItPrunesBy) {
  const auto quiz = fixture::choice_rows({0, 0, 1}, 2);
  auto point = fixture::point(kind(), kModel, quiz, {{"k", int64_t{2}}});
  point.scores = Scores{.stage = "importance",
                        .value = {4, 3, 2, 1},
                        .distrust = "model = tiny are not settled: 3 rows unconverged",
                        .dataset = nullptr,
                        .values = {}};
  const auto compute = [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string&, const Row&, size_t) { return -1.0; });
  };
  EXPECT_THAT(fixture::table(kind(), point, compute).warnings,
              ElementsAre("the scores of stage \"importance\" where model = tiny are not settled: "
                          "3 rows unconverged"));
  point.scores->distrust = "";
  EXPECT_THAT(fixture::table(kind(), point, compute).warnings, IsEmpty());
}

TEST(EvaluateTable, MissingBlocksAreLeftOutAndCounted) {
  const auto rows = fixture::masked_rows(20);
  const auto point = fixture::point(kind(), kModel, rows, metrics({"exact_match"}));
  const Table table =
      fixture::table(kind(), point, [](const Shard& shard) -> std::optional<Result> {
        if (shard.rows.size() < 16) return std::nullopt;
        return fixture::result_of(shard, [](const std::string&, const Row& row, size_t) {
          return row.id < 1004 ? 1.0 : 0.0;
        });
      });
  EXPECT_DOUBLE_EQ(value_of(table, "exact_match"), 0.25);
  EXPECT_EQ(cell(table, table.rows[0], "n"), Cell(int64_t{16}));
  EXPECT_EQ(diagnostic(table, 0, "n_missing"), Cell(int64_t{4}));
  EXPECT_EQ(table.warnings.size(), 1u);
}

}  // namespace
}  // namespace headcount::experiments::evaluate
