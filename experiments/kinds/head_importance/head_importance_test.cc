// Plans, refusals and tables of head_importance against numbers worked out by hand.
#include "experiments/kinds/head_importance/head_importance.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "experiments/kinds/fixture.h"
#include "schemas/error.h"

namespace headcount::experiments::head_importance {
namespace {

using fixture::cell;
using fixture::diagnostic;
using fixture::keys;
using fixture::n_new;
using fixture::number;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Kind& kind() { return *find_kind("head_importance"); }
const ModelInfo kModel = fixture::masked_model();

Fields masks(std::vector<double> probs, int64_t samples) {
  return {{"mask_probs", std::move(probs)}, {"mask_samples", samples}};
}
Fields with(Fields fields, const Fields& more) {
  for (const auto& [name, value] : more) fields[name] = value;
  return fields;
}
Fields stochastic(int64_t path_samples) {
  return with(masks({0.5}, 1),
              {{"path_mode", std::string("stochastic_threshold")}, {"path_samples", path_samples}});
}

TEST(HeadImportancePlan, CountsBlocksProbabilitiesDrawsAndPathBlocks) {
  const auto rows = fixture::masked_rows(33);
  const auto point = fixture::point(
      kind(), kModel, rows,
      with(masks({0.3, 0.7}, 3),
           {{"path_mode", std::string("stochastic_threshold")}, {"path_samples", int64_t{8}}}));
  EXPECT_EQ(kind().count(point), 3 * 2 * 3 * 2);
  EXPECT_EQ(keys(kind(), point).size(), 36u);
  const Shard last = kind().shard(point, 35);
  EXPECT_EQ(last.rows.size(), 1u);
  const Params params = params_of(last);
  EXPECT_EQ(params.mask_prob, 0.7);
  EXPECT_EQ(params.draw, 2);
  EXPECT_EQ(params.path_first, 4);
  EXPECT_EQ(params.path_count, 4);
  EXPECT_EQ(params.mask_id, 15);
}

TEST(HeadImportancePlan, SixteenPathsHoldTheShardsOfFour) {
  const auto rows = fixture::masked_rows(8);
  const auto four = keys(kind(), fixture::point(kind(), kModel, rows, stochastic(4)));
  const auto sixteen = keys(kind(), fixture::point(kind(), kModel, rows, stochastic(16)));
  EXPECT_EQ(sixteen.size(), 4u);
  EXPECT_EQ(n_new(sixteen, four), 3u);
}

TEST(HeadImportancePlan, MoreRowsCostOnlyTheNewBlocks) {
  const auto few = fixture::masked_rows(128), many = fixture::masked_rows(256);
  const auto before = keys(kind(), fixture::point(kind(), kModel, few, masks({0.5}, 2)));
  const auto after = keys(kind(), fixture::point(kind(), kModel, many, masks({0.5}, 2)));
  EXPECT_EQ(before.size(), 16u);
  EXPECT_EQ(n_new(after, before), 16u);
}

TEST(HeadImportancePlan, OneMoreMaskProbabilityCostsOnlyItsOwnShards) {
  const auto rows = fixture::masked_rows(32);
  const auto before = keys(kind(), fixture::point(kind(), kModel, rows, masks({0.3, 0.7}, 2)));
  const auto after = keys(kind(), fixture::point(kind(), kModel, rows, masks({0.5, 0.7, 0.3}, 2)));
  EXPECT_EQ(n_new(after, before), 4u);
}

TEST(HeadImportancePlan, WhatIsNotUsedIsNotInTheKey) {
  const auto rows = fixture::masked_rows(8);
  const auto plain = keys(kind(), fixture::point(kind(), kModel, rows, masks({0.5}, 1)));
  const auto same = with(masks({0.5}, 1), {{"path_samples", int64_t{64}},
                                           {"path_block", int64_t{8}},
                                           {"threshold_sampling", std::string("iid")},
                                           {"ramp_width", 0.5},
                                           {"view", std::string("abs")}});
  EXPECT_EQ(keys(kind(), fixture::point(kind(), kModel, rows, same)), plain);
  for (const Fields& used : {Fields{{"ig_steps", int64_t{16}}}, Fields{{"tol", 0.1}},
                             Fields{{"max_evaluations", int64_t{99}}}}) {
    const auto other = fixture::point(kind(), kModel, rows, with(masks({0.5}, 1), used));
    EXPECT_EQ(n_new(keys(kind(), other), plain), 1u);
  }
  const Fields fixed = with(masks({0.5}, 1), {{"quadrature", std::string("trapezoid")}});
  const auto of_fixed = keys(kind(), fixture::point(kind(), kModel, rows, fixed));
  const auto with_tol = with(fixed, {{"tol", 0.1}, {"max_evaluations", int64_t{9}}});
  EXPECT_EQ(keys(kind(), fixture::point(kind(), kModel, rows, with_tol)), of_fixed);
}

TEST(HeadImportancePlan, WithoutRandomnessTheSeedIsNotInTheKey) {
  const auto model = fixture::causal_model();
  const auto rows = fixture::labelled_rows(8);
  auto point = fixture::point(kind(), model, rows, {});
  const auto before = keys(kind(), point);
  point.seed = 8;
  EXPECT_EQ(keys(kind(), point), before);
  const auto masked = fixture::masked_rows(8);
  auto random = fixture::point(kind(), kModel, masked, masks({0.5}, 1));
  const auto seven = keys(kind(), random);
  random.seed = 8;
  EXPECT_EQ(n_new(keys(kind(), random), seven), 1u);
}

TEST(HeadImportancePlan, ParametersSurviveTheShard) {
  const Params params{.n_layers = 6,
                      .n_heads = 4,
                      .layer_first = 1,
                      .layer_last = 3,
                      .sum = true,
                      .baseline = 0.25,
                      .mask_prob = 0.3,
                      .draw = 5,
                      .mask_id = 9,
                      .path_mode = PathMode::kStochasticThreshold,
                      .path_first = 8,
                      .path_count = 8,
                      .path_block = 8,
                      .threshold_sampling = ThresholdSampling::kIid,
                      .ramp_width = 0.5,
                      .quadrature = Rule::kAdaptive,
                      .ig_steps = 4,
                      .tol = 1e-4,
                      .tol_floor = 0.1,
                      .max_evaluations = 17};
  Shard shard;
  shard.kind = computation().name;
  shard.params = to_fields(params);
  shard.rows = fixture::masked_rows(3).rows;
  EXPECT_EQ(params_of(shard), params);
  std::vector<std::string> names;
  for (const auto& plan : arrays(shard)) names.push_back(plan.name);
  EXPECT_THAT(names,
              ElementsAre("audit", "evaluations", "ig", "score_base", "score_one", "unconverged"));
  EXPECT_THAT(arrays(shard)[0].shape, ElementsAre(1, 12));
  EXPECT_THAT(arrays(shard)[2].shape, ElementsAre(3, 12));
}

TEST(HeadImportancePlan, RefusesAShardItCannotMean) {
  const auto rows = fixture::masked_rows(8);
  const Shard good = kind().shard(fixture::point(kind(), kModel, rows, masks({0.5}, 1)), 0);
  const auto refuses = [&](const std::string& name, const Field& value) {
    Shard bad = good;
    bad.params[name] = value;
    EXPECT_THROW(params_of(bad), Error) << name;
  };
  refuses("layer_last", int64_t{2});
  refuses("baseline", 1.0);
  refuses("mask_prob", 0.0);
  refuses("quadrature", std::string("simpson"));
  refuses("ig_steps", int64_t{0});
  refuses("ig_steps", int64_t{49});
  refuses("max_evaluations", int64_t{44});  // fewer than it starts with
  refuses("tol", 0.0);
  refuses("path_block", int64_t{4});  // of no use on the diagonal
  refuses("surprise", int64_t{1});
}

TEST(HeadImportanceCheck, AsksForMasksWhereTheyAreNeededAndRefusesThemElsewhere) {
  const auto masked = fixture::masked_rows(8);
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), kModel, masked, masks({0.5}, 1))),
              IsEmpty());
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), kModel, masked, {})),
              ElementsAre(HasSubstr("mask_probs: "), HasSubstr("mask_samples: ")));
  const auto model = fixture::causal_model();
  const auto labelled = fixture::labelled_rows(8);
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), model, labelled, {})), IsEmpty());
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), model, labelled, masks({0.5}, 1))),
              ElementsAre(HasSubstr("remove mask_probs"), HasSubstr("remove mask_samples")));
}

TEST(HeadImportanceCheck, NamesTheFixOfEveryMisfit) {
  const auto rows = fixture::masked_rows(8);
  const auto complain = [&](const Fields& fields) {
    return fixture::complaints(kind(),
                               fixture::point(kind(), kModel, rows, with(masks({0.5}, 1), fields)));
  };
  const Field stp = std::string("stochastic_threshold");
  EXPECT_THAT(complain({{"path_mode", stp}, {"path_samples", int64_t{6}}}),
              ElementsAre("path_samples: expected a multiple of path_block = 4, found 6: take 8, "
                          "or another path_block"));
  EXPECT_THAT(complain({{"path_mode", stp}, {"quadrature", std::string("gauss_legendre")}}),
              ElementsAre(HasSubstr("use trapezoid or midpoint")));
  EXPECT_THAT(complain({{"quadrature", std::string("gauss_legendre")}}), IsEmpty());
  EXPECT_THAT(complain({{"layers", std::vector<int64_t>{1, 2}}}),
              ElementsAre("layers: model \"tiny\" has layers 0 to 1, found 2"));
  EXPECT_THAT(complain({{"quadrature", std::string("adaptive")}, {"max_evaluations", int64_t{8}}}),
              ElementsAre(HasSubstr("expected at least 45 (4 x ig_steps + 1")));
  EXPECT_THAT(complain({{"ig_steps", int64_t{49}}}),
              ElementsAre(HasSubstr("adaptive starts from at most 48 intervals")));
  EXPECT_THAT(complain({{"ig_steps", int64_t{48}}, {"max_evaluations", int64_t{193}}}), IsEmpty());
  const auto big = fixture::masked_model(4, 2);
  const auto gap = fixture::point(kind(), big, rows,
                                  with(masks({0.5}, 1), {{"layers", std::vector<int64_t>{0, 2}}}));
  EXPECT_THAT(fixture::complaints(kind(), gap),
              ElementsAre(HasSubstr("expected consecutive layers")));
}

TEST(HeadImportanceCheck, RefusesRowsTheModelCannotAnswer) {
  const auto causal = fixture::causal_model();
  const auto masked = fixture::masked_rows(8);
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), causal, masked, masks({0.5}, 1))),
              ElementsAre(HasSubstr("has no mask token")));
  const auto next = fixture::labelled_rows(8);
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), kModel, next, {})),
              ElementsAre(HasSubstr("sees it")));
  const auto given = fixture::labelled_rows(8, datasets::Objective::kGivenLabels);
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), kModel, given, {})), IsEmpty());
  const auto quiz = fixture::choice_rows({0, 1}, 2);
  EXPECT_THAT(fixture::complaints(kind(), fixture::point(kind(), kModel, quiz, {})),
              ElementsAre(HasSubstr("hold only choices")));
}

/// ig of row i, head h at probability p, draw d: (i + 1) (h + 1) p + d. Half the steps give half
/// of it, twice the intervals four fifths, of the row of the smallest id, 1000.
std::optional<Result> worked_out(const Shard& shard) {
  const Params params = params_of(shard);
  return fixture::result_of(shard, [&](const std::string& name, const Row& row, size_t head) {
    const double i = name == "audit" ? 0 : static_cast<double>(row.id - 1000);
    const double h = static_cast<double>(head);
    const double ig = (i + 1) * (h + 1) * *params.mask_prob + static_cast<double>(params.draw);
    if (name == "ig") return ig;
    if (name == "ig_half") return ig / 2;
    if (name == "audit") return 0.8 * ig;
    if (name == "unconverged") return 0.0;
    if (name == "evaluations") return (100 + i) * static_cast<double>(params.path_count);
    if (name == "score_one") return -1.0;
    return -21.0;  // score_base: J rises by 20
  });
}

TEST(HeadImportanceTable, MeansErrorsAndDiagnosticsAreThoseWorkedOutByHand) {
  const auto rows = fixture::masked_rows(3);
  const auto point =
      fixture::point(kind(), kModel, rows,
                     with(masks({0.25, 0.75}, 2), {{"quadrature", std::string("trapezoid")}}));
  const Table table = fixture::table(kind(), point, worked_out);
  EXPECT_THAT(table.columns,
              ElementsAre("layer", "head", "mask_prob", "value", "se", "n", "model", "dataset"));
  ASSERT_EQ(table.rows.size(), 12u);  // 4 heads, mean and two probabilities

  // Head 3 = (layer 1, head 1): rows 2 i + 2 + 0.5 over all probabilities (p = 0.5 on average, d =
  // 0.5): 2.5, 4.5, 6.5.
  const auto mean = fixture::rows_with(table, {int64_t{1}, int64_t{1}, Cell()});
  ASSERT_EQ(mean.size(), 1u);
  EXPECT_DOUBLE_EQ(number(cell(table, mean[0], "value")), 4.5);
  EXPECT_DOUBLE_EQ(number(cell(table, mean[0], "se")), 2 / std::sqrt(3.0));
  EXPECT_EQ(std::get<int64_t>(cell(table, mean[0], "n")), 3);
  // The same head at 0.75: 3.5, 6.5, 9.5.
  const auto at = fixture::rows_with(table, {int64_t{1}, int64_t{1}, 0.75});
  ASSERT_EQ(at.size(), 1u);
  EXPECT_DOUBLE_EQ(number(cell(table, at[0], "value")), 6.5);
  EXPECT_DOUBLE_EQ(number(cell(table, at[0], "se")), 3 / std::sqrt(3.0));

  // Sum over heads of row i: 10 (i + 1) p + 4 d, where J rises by 20. The gaps of the twelve rows
  // and masks: 1, 2.5, 5, 6.5, 8.5, 8.5, 11, 12.5, 12.5, 13.5, 15, 17.5.
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "gap_p95")), 15 + 0.45 * 2.5);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "residual_p95")), (15 + 0.45 * 2.5) / 20);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "step_difference")), 0.5);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "moving")), 0.5);
  EXPECT_EQ(diagnostic(table, 0, "unconverged"), Cell(int64_t{0}));
  EXPECT_EQ(diagnostic(table, 0, "n_missing"), Cell(int64_t{0}));
  for (const char* of_adaptive : {"audit", "evaluations_mean", "evaluations_max"})
    EXPECT_EQ(diagnostic(table, 0, of_adaptive), Cell()) << of_adaptive;
  EXPECT_THAT(
      table.warnings,
      ElementsAre(HasSubstr("the scores where model = tiny, dataset = train are not "
                            "settled: from half the steps to all, the mean vector moves by 50 %")));
}

TEST(HeadImportanceTable, OfAdaptiveAuditsTheRowOfTheSmallestIdOfEveryBlock) {
  auto rows = fixture::masked_rows(3);
  std::swap(rows.rows[0].id, rows.rows[2].id);
  const auto point = fixture::point(kind(), kModel, rows, masks({0.25, 0.75}, 2));
  const Table table = fixture::table(kind(), point, worked_out);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "audit")), 0.25);  // (1 - 0.8) / 0.8
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "moving")), 0.25);
  EXPECT_EQ(diagnostic(table, 0, "step_difference"), Cell());
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "evaluations_mean")), 101);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "evaluations_max")), 102);
  EXPECT_THAT(table.warnings,
              ElementsAre(HasSubstr("halving every interval moves the mean vector by")));
}

TEST(HeadImportanceTable, CountsEvaluationsAPathAndAuditsOverBlocksOfPaths) {
  const auto rows = fixture::masked_rows(20);  // two blocks: the second audits its own first row
  const auto point = fixture::point(kind(), kModel, rows, stochastic(8));
  const Table table = fixture::table(kind(), point, [](const Shard& shard) {
    const Params params = params_of(shard);
    return fixture::result_of(shard, [&](const std::string& name, const Row& row, size_t) {
      // The two blocks of paths cancel in part: ig 3 and -1, audited 3 and -1.5 (mean 0.75).
      const bool first = params.path_first == 0;
      if (name == "ig") return first ? 3.0 : -1.0;
      if (name == "audit") return first ? 3.0 : -1.5;
      if (name == "evaluations") return row.id == 1019 ? 800.0 : 400.0;
      if (name == "score_one") return first ? 12.0 : -4.0;
      return 0.0;
    });
  });
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "audit")), 0.25 / 0.75);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "moving")), 0.25 / 0.75);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "evaluations_mean")), (19 * 100 + 200) / 20.0);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "evaluations_max")), 200);
  EXPECT_EQ(number(diagnostic(table, 0, "gap_p95")), 0);
}

TEST(HeadImportanceTable, AChangeOfJBelowOneNatIsNoMeasureOfAGap) {
  const auto rows = fixture::masked_rows(2);
  const auto share = [&](double climb) {
    const auto point = fixture::point(kind(), kModel, rows, masks({0.5}, 1));
    const Table table = fixture::table(kind(), point, [&](const Shard& shard) {
      return fixture::result_of(shard, [&](const std::string& name, const Row&, size_t) {
        if (name == "score_one") return climb;
        return name == "ig" ? climb / 4 + 0.005 : 0.0;  // four heads: 0.02 nats too much
      });
    });
    EXPECT_NEAR(number(diagnostic(table, 0, "gap_p95")), 0.02, 1e-12);
    return number(diagnostic(table, 0, "residual_p95"));
  };
  EXPECT_NEAR(share(0.01), 0.02, 1e-12);
  EXPECT_NEAR(share(-4), 0.005, 1e-12);
}

TEST(HeadImportanceTable, MovingIsThatOfTheRowsNotOfTheirMean) {
  // Rows move by opposite amounts: the mean stands still.
  const auto rows = fixture::masked_rows(2);
  const auto point = fixture::point(
      kind(), kModel, rows, with(masks({0.5}, 1), {{"quadrature", std::string("trapezoid")}}));
  const Table table = fixture::table(kind(), point, [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string& name, const Row& row, size_t) {
      if (name == "ig") return 1.0;
      if (name == "ig_half") return row.id == 1000 ? 1.5 : 0.5;
      return name == "score_one" ? 4.0 : 0.0;
    });
  });
  EXPECT_EQ(number(diagnostic(table, 0, "step_difference")), 0);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "moving")), 0.5);
  EXPECT_THAT(table.warnings, ElementsAre(HasSubstr("they move so much of a row's |IG|: 50 %")));
}

TEST(HeadImportanceTable, WhereAPointHasAViewTheSignedMeanStandsBesideTheValue) {
  const auto rows = fixture::masked_rows(2);
  const auto point = fixture::point(kind(), kModel, rows,
                                    with(masks({0.5}, 1), {{"view", std::string("relu_per_row")}}));
  const Table table = fixture::table(kind(), point, [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string&, const Row& row, size_t) {
      return row.id == 1000 ? -3.0 : 1.0;
    });
  });
  EXPECT_THAT(table.columns, ElementsAre("layer", "head", "mask_prob", "signed_mean", "value", "se",
                                         "n", "model", "dataset"));
  EXPECT_EQ(number(cell(table, table.rows[0], "signed_mean")), -1);
  EXPECT_EQ(number(cell(table, table.rows[0], "value")), 0.5);
}

TEST(HeadImportanceTable, OneRowHasNoStandardErrorAndOddStepsNoDifference) {
  const auto rows = fixture::masked_rows(1);
  const auto point = fixture::point(
      kind(), kModel, rows,
      with(masks({0.5}, 1), {{"quadrature", std::string("trapezoid")}, {"ig_steps", int64_t{5}}}));
  const Table table = fixture::table(kind(), point, worked_out);
  EXPECT_EQ(cell(table, table.rows[0], "se"), Cell());
  EXPECT_EQ(diagnostic(table, 0, "step_difference"), Cell());
  EXPECT_EQ(diagnostic(table, 0, "moving"), Cell());
}

TEST(HeadImportanceTable, ViewsTransformTheMeanAndPerRowViewsTheRows) {
  const auto rows = fixture::masked_rows(2);
  const auto value_of = [&](const std::string& view) {
    const auto point =
        fixture::point(kind(), kModel, rows, with(masks({0.5}, 1), {{"view", view}}));
    const Table table = fixture::table(kind(), point, [](const Shard& shard) {
      return fixture::result_of(shard, [](const std::string&, const Row& row, size_t) {
        return row.id == 1000 ? -3.0 : 1.0;
      });
    });
    EXPECT_DOUBLE_EQ(number(cell(table, table.rows[0], "se")),
                     view.ends_with("per_row") ? (view[0] == 'a' ? 1.0 : 0.5) : 2.0);
    return number(cell(table, table.rows[0], "value"));
  };
  EXPECT_EQ(value_of("signed"), -1);
  EXPECT_EQ(value_of("abs"), 1);
  EXPECT_EQ(value_of("relu"), 0);
  EXPECT_EQ(value_of("abs_per_row"), 2);
  EXPECT_EQ(value_of("relu_per_row"), 0.5);
}

TEST(HeadImportanceTable, RowsWithAMissingShardAreLeftOutAndCounted) {
  const auto rows = fixture::masked_rows(19);  // blocks of 16 and 3
  const auto point = fixture::point(kind(), kModel, rows, masks({0.25, 0.75}, 1));
  const Table table =
      fixture::table(kind(), point, [](const Shard& shard) -> std::optional<Result> {
        if (shard.rows.size() == 3 && params_of(shard).mask_prob == 0.75) return std::nullopt;
        return worked_out(shard);
      });
  EXPECT_EQ(diagnostic(table, 0, "n_missing"), Cell(int64_t{3}));
  EXPECT_EQ(cell(table, fixture::rows_with(table, {int64_t{0}, int64_t{0}, Cell()})[0], "n"),
            Cell(int64_t{16}));
  EXPECT_EQ(cell(table, fixture::rows_with(table, {int64_t{0}, int64_t{0}, 0.25})[0], "n"),
            Cell(int64_t{19}));
  EXPECT_EQ(cell(table, fixture::rows_with(table, {int64_t{0}, int64_t{0}, 0.75})[0], "n"),
            Cell(int64_t{16}));
  EXPECT_THAT(
      table.warnings,
      Contains("3 of 19 rows are missing and left out where model = tiny, dataset = train"));

  const Table none = fixture::table(kind(), point, [](const Shard&) { return std::nullopt; });
  EXPECT_EQ(none.rows.size(), 12u);
  EXPECT_EQ(cell(none, none.rows[0], "value"), Cell());
  EXPECT_EQ(cell(none, none.rows[0], "n"), Cell(int64_t{0}));
}

TEST(HeadImportanceTable, OrderOfMaskProbabilitiesChangesNoMean) {
  const auto rows = fixture::masked_rows(5);
  const auto mean_of = [&](std::vector<double> probs) {
    const auto point = fixture::point(kind(), kModel, rows, masks(std::move(probs), 1));
    const Table table = fixture::table(kind(), point, worked_out);
    return fixture::rows_with(table, {int64_t{1}, int64_t{0}, Cell()});
  };
  EXPECT_EQ(mean_of({0.25, 0.5, 0.75}), mean_of({0.75, 0.25, 0.5}));
}

TEST(HeadImportanceTable, CountsRowsThatDidNotConverge) {
  const auto rows = fixture::masked_rows(4);
  const auto point =
      fixture::point(kind(), kModel, rows,
                     with(masks({0.25, 0.75}, 1), {{"quadrature", std::string("adaptive")}}));
  const Table table = fixture::table(kind(), point, [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string& name, const Row& row, size_t) {
      return name == "unconverged" && row.id < 1002 ? 1.0 : 0.0;
    });
  });
  EXPECT_EQ(diagnostic(table, 0, "unconverged"), Cell(int64_t{2}));
  EXPECT_EQ(diagnostic(table, 0, "residual_p95"), Cell(0.0));  // nothing changes, nothing is lost
  EXPECT_EQ(diagnostic(table, 0, "moving"), Cell());
  EXPECT_THAT(table.warnings, ElementsAre(HasSubstr("settled: 2 rows unconverged; take a smaller "
                                                    "tol, or a larger max_evaluations")));
}

TEST(HeadImportanceTable, ARangeOfLayersIsNumberedAsInTheModel) {
  const auto model = fixture::masked_model(4, 2);
  const auto rows = fixture::masked_rows(2);
  const auto point = fixture::point(
      kind(), model, rows, with(masks({0.5}, 1), {{"layers", std::vector<int64_t>{2, 3}}}));
  const Table table = fixture::table(kind(), point, worked_out);
  ASSERT_EQ(table.rows.size(), 8u);
  EXPECT_EQ(table.rows[0][0], Cell(int64_t{2}));
  EXPECT_EQ(table.rows[3][0], Cell(int64_t{3}));
}

}  // namespace
}  // namespace headcount::experiments::head_importance
