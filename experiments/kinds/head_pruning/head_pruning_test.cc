// Plans and curves of head_pruning against numbers worked out by hand.
#include "experiments/kinds/head_pruning/head_pruning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <utility>

#include "experiments/kinds/fixture.h"
#include "experiments/metrics/intervals.h"

namespace headcount::experiments::head_pruning {
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

const Kind& kind() { return *find_kind("head_pruning"); }
const ModelInfo kModel = fixture::masked_model();

/// Scores 4, 3, 2, 1 of heads 0 to 3, made with one mask of probability 0.5; from the rows of
/// `scored`, where given.
Point scored_point(const datasets::Dataset& rows, const Fields& fields) {
  Point point = fixture::point(kind(), kModel, rows, fields);
  Scores scores{.stage = "importance",
                .value = {4, 3, 2, 1},
                .dataset = nullptr,
                .values = {{"mask_probs", std::vector<double>{0.5}}, {"mask_samples", int64_t{1}}}};
  point.scores = scores;
  return point;
}

Point scored_point(const datasets::Dataset& rows, const Fields& fields,
                   const datasets::Dataset& scored) {
  Point point = scored_point(rows, fields);
  point.scores->dataset = &scored;
  return point;
}

Fields ks(std::vector<int64_t> k) { return {{"k", std::move(k)}}; }

TEST(HeadPruningPlan, ArmsAreTheBaselineThenEachSetInOrder) {
  const auto rows = fixture::masked_rows(4);
  Fields fields = ks({2, 0, 1});
  fields["prune_seeds"] = int64_t{2};
  const auto point = scored_point(rows, fields);
  EXPECT_THAT(arms(point),
              ElementsAre(Arm{"none", 0, -1}, Arm{"most", 1, -1}, Arm{"most", 2, -1},
                          Arm{"least", 1, -1}, Arm{"least", 2, -1}, Arm{"random", 1, 0},
                          Arm{"random", 2, 0}, Arm{"random", 1, 1}, Arm{"random", 2, 1}));
  EXPECT_EQ(kind().count(point), 9);
}

TEST(HeadPruningPlan, ItsShardsAreEvaluationsWithCommonMasks) {
  const auto rows = fixture::masked_rows(4);
  const auto point = scored_point(rows, ks({1, 2}));
  const Shard none = kind().shard(point, 0), most = kind().shard(point, 2);
  EXPECT_EQ(none.kind, "evaluate");
  EXPECT_EQ(none.seed, most.seed);
  EXPECT_EQ(none.rows, most.rows);
  EXPECT_THAT(evaluate::params_of(none).pruned, IsEmpty());
  EXPECT_THAT(evaluate::params_of(most).pruned, ElementsAre(0, 1));
  const Kind& evaluation = *find_kind("evaluate");
  const auto alone = fixture::point(evaluation, kModel, rows,
                                    {{"metrics", Texts{"loss"}},
                                     {"mask_probs", std::vector<double>{0.5}},
                                     {"mask_samples", int64_t{1}},
                                     {"pruned", std::vector<int64_t>{0, 1}}});
  EXPECT_EQ(key(evaluation.shard(alone, 0)), key(most));
}

TEST(HeadPruningPlan, MorePruneSeedsAndMoreKCostOnlyTheirOwnShards) {
  const auto rows = fixture::masked_rows(4);
  Fields few = ks({1}), more = ks({1, 2});
  few["prune_seeds"] = int64_t{2};
  more["prune_seeds"] = int64_t{3};
  const auto before = keys(kind(), scored_point(rows, few)),
             after = keys(kind(), scored_point(rows, more));
  for (const auto& one : before) EXPECT_EQ(after.count(one), 1u);
}

TEST(HeadPruningCheck, NamesTheFix) {
  const auto rows = fixture::masked_rows(4);
  EXPECT_THAT(complaints(kind(), scored_point(rows, ks({1, 3}))), IsEmpty());
  EXPECT_THAT(complaints(kind(), scored_point(rows, ks({1, 4}))),
              ElementsAre(HasSubstr("k: expected fewer than the 4 scored heads")));
  Fields layer = ks({2});
  layer["scope"] = std::string("layer");
  EXPECT_THAT(complaints(kind(), scored_point(rows, layer)),
              ElementsAre(HasSubstr("the 2 scored heads of a layer")));
  Fields accuracy = ks({1});
  accuracy["metrics"] = Texts{"accuracy"};
  EXPECT_THAT(complaints(kind(), scored_point(rows, accuracy)),
              ElementsAre(HasSubstr("needs rows with choices")));
}

/// Loss of row i without heads S: i + sum of (4 - head) over S.
std::optional<Result> worked_out(const Shard& shard) {
  double lost = 0;
  for (const int64_t head : evaluate::params_of(shard).pruned)
    lost += static_cast<double>(4 - head);
  return fixture::result_of(shard, [&](const std::string& name, const Row& row, size_t) {
    return name == "tokens" ? 2.0 : 2 * (static_cast<double>(row.id - 1000) + lost);
  });
}

TEST(HeadPruningTable, CurvesAndAreasAreThoseWorkedOutByHand) {
  const auto rows = fixture::masked_rows(3);
  const auto point = scored_point(rows, ks({1, 2}));
  const Table table = fixture::table(kind(), point, worked_out);
  EXPECT_THAT(table.columns, ElementsAre("metric", "which", "k", "prune_seed", "value", "se", "low",
                                         "high", "n_orders", "n", "model", "dataset"));
  const Cell loss = std::string("loss"), most = std::string("most"), least = std::string("least");
  const auto value = [&](const Cell& which, int64_t k) {
    const auto found = fixture::rows_with(table, {loss, which, k, Cell()});
    EXPECT_EQ(found.size(), 1u);
    return number(cell(table, found.at(0), "value"));
  };
  EXPECT_DOUBLE_EQ(value(std::string("none"), 0), 1);
  EXPECT_DOUBLE_EQ(value(most, 1), 5);
  EXPECT_DOUBLE_EQ(value(most, 2), 8);
  EXPECT_DOUBLE_EQ(value(least, 1), 2);
  EXPECT_DOUBLE_EQ(value(least, 2), 4);
  const auto row = fixture::rows_with(table, {loss, most, int64_t{1}, Cell()}).at(0);
  EXPECT_DOUBLE_EQ(number(cell(table, row, "se")), 1 / std::sqrt(3.0));
  // Student's t of two degrees of freedom; losses 4, 5, 6 are not skewed.
  EXPECT_NEAR(number(cell(table, row, "low")), 5 - 4.3026527 / std::sqrt(3.0), 1e-6);
  EXPECT_NEAR(number(cell(table, row, "high")), 5 + 4.3026527 / std::sqrt(3.0), 1e-6);
  EXPECT_EQ(cell(table, row, "n_orders"), Cell());
  // Gaps 0, 3, 4 at shares 0, 1/4, 2/4: area (1.5 + 3.5) / 4, the same for every row.
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "abc")), 1.25);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "abc_low")), 1.25);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "abc_high")), 1.25);
  const double random_most = number(diagnostic(table, 0, "random_most")),
               least_random = number(diagnostic(table, 0, "least_random"));
  EXPECT_NEAR(random_most + least_random, 1.25, 1e-12);
  EXPECT_LT(number(diagnostic(table, 0, "random_most_low")),
            random_most);  // prune seeds differ, so the interval is open
  EXPECT_GT(number(diagnostic(table, 0, "random_most_high")), random_most);
}

TEST(HeadPruningTable, RandomIsTheMeanOverSeedsAndEachSeedHasItsRow) {
  const auto rows = fixture::masked_rows(3);
  const auto point = scored_point(rows, ks({1}));
  const Table table = fixture::table(kind(), point, worked_out);
  metrics::ByOrder orders;
  for (int64_t seed = 0; seed < 20; ++seed) {
    const auto one =
        fixture::rows_with(table, {std::string("loss"), std::string("random"), int64_t{1}, seed});
    ASSERT_EQ(one.size(), 1u);
    EXPECT_EQ(cell(table, one[0], "n_orders"), Cell(int64_t{1}));
    const double value = number(cell(table, one[0], "value"));
    orders.push_back({value - 1, value, value + 1});  // rows lie 1 apart under every order
  }
  const auto mean =
      fixture::rows_with(table, {std::string("loss"), std::string("random"), int64_t{1}, Cell()});
  ASSERT_EQ(mean.size(), 1u);
  const metrics::Estimate of = metrics::crossed_estimate(orders);
  EXPECT_NEAR(number(cell(table, mean[0], "value")), of.value, 1e-12);
  EXPECT_NEAR(number(cell(table, mean[0], "se")), *of.se, 1e-12);
  EXPECT_EQ(cell(table, mean[0], "n"), Cell(int64_t{3}));
  EXPECT_EQ(cell(table, mean[0], "n_orders"), Cell(int64_t{20}));
}

TEST(HeadPruningTable, NoIntervalOfALossGoesBelowZero) {
  const Table table = fixture::table(
      kind(), scored_point(fixture::masked_rows(3), ks({1})), [](const Shard& shard) {
        return fixture::result_of(shard, [](const std::string& name, const Row& row, size_t) {
          return name == "tokens" || row.id == 1000 ? 1.0 : 0.0;  // one row of three has a loss
        });
      });
  const auto none =
      fixture::rows_with(table, {std::string("loss"), std::string("none"), int64_t{0}, Cell()});
  ASSERT_EQ(none.size(), 1u);
  EXPECT_EQ(number(cell(table, none[0], "low")), 0);
}

TEST(HeadPruningTable, FewRandomHeadsHaveARangeMoreHaveAnInterval) {
  const ModelInfo wide = fixture::masked_model(2, 4);
  const auto rows = fixture::masked_rows(3);
  auto point = scored_point(rows, ks({2, 4}));
  point.model = &wide;
  point.scores->value = {8, 7, 6, 5, 4, 3, 2, 1};
  const Table table = fixture::table(kind(), point, worked_out);
  const auto arm = [&](int64_t k) {
    metrics::ByOrder orders;
    for (int64_t seed = 0; seed < 20; ++seed) {
      const auto one =
          fixture::rows_with(table, {std::string("loss"), std::string("random"), k, seed});
      const double value = number(cell(table, one.at(0), "value"));
      orders.push_back({value - 1, value, value + 1});
    }
    return orders;
  };
  const auto bounds = [&](int64_t k) {
    const auto mean =
        fixture::rows_with(table, {std::string("loss"), std::string("random"), k, Cell()});
    return std::pair(number(cell(table, mean.at(0), "low")),
                     number(cell(table, mean.at(0), "high")));
  };
  const auto range = *metrics::range_estimate(arm(2)).interval,
             interval = *metrics::mean_estimate(arm(4)).interval;
  EXPECT_NEAR(bounds(2).first, range.low, 1e-12);
  EXPECT_NEAR(bounds(2).second, range.high, 1e-12);
  EXPECT_NEAR(bounds(4).first, interval.low, 1e-12);
  EXPECT_NEAR(bounds(4).second, interval.high, 1e-12);
}

/// A table whose loss without the heads S is `loss_of(S)` for every row.
Table table_of(const Point& point,
               const std::function<double(const std::vector<int64_t>&)>& loss_of) {
  return fixture::table(kind(), point, [&](const Shard& shard) {
    const double loss = loss_of(evaluate::params_of(shard).pruned);
    return fixture::result_of(shard, [&](const std::string& name, const Row&, size_t) {
      return name == "tokens" ? 1.0 : loss;
    });
  });
}

TEST(HeadPruningTable, AreasAreTakenThreeWays) {
  ModelInfo model = fixture::masked_model();
  model.config.vocab_size = 8;  // chance: ln 8 = 2.079
  const auto rows = fixture::masked_rows(3);
  Fields fields = ks({1, 3});
  fields["which"] = Texts{"most", "least"};
  auto point = scored_point(rows, fields);
  point.model = &model;
  // Most (heads 0, then 0 1 2): 1, then 5. Least (3, then 1 2 3): 0, then 2.
  const Table table = table_of(point, [](const std::vector<int64_t>& pruned) {
    const bool lead = !pruned.empty() && pruned[0] == 0;
    return pruned.size() == 3 ? (lead ? 5.0 : 2.0) : (lead ? 1.0 : 0.0);
  });
  const auto value = [&](const char* name) { return number(diagnostic(table, 0, name)); };
  // Gaps 0, 1, 3 at k = 0, 1, 3 of 4 heads.
  EXPECT_DOUBLE_EQ(value("abc"), 0.25 * 0.5 + 0.5 * 2);
  const double clipped = std::log(8.0) - 2;
  EXPECT_DOUBLE_EQ(value("abc_clipped"), 0.25 * 0.5 + 0.5 * (1 + clipped) / 2);
  EXPECT_DOUBLE_EQ(value("abc_log"), 1 * 0.5 + 1 * 2);
  EXPECT_DOUBLE_EQ(value("abc_clipped_low"), value("abc_clipped"));
  EXPECT_DOUBLE_EQ(value("abc_log_high"), value("abc_log"));
  EXPECT_EQ(diagnostic(table, 0, "n_heads"), Cell(int64_t{4}));
  EXPECT_DOUBLE_EQ(value("chance"), std::log(8.0));
}

TEST(HeadPruningTable, ChanceOfAnAccuracyIsThatOfItsChoicesAndAMatchHasNone) {
  auto rows = fixture::choice_rows({0, 1, 0}, 4);
  Fields fields = ks({1});
  const auto guess = [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string&, const Row&, size_t) { return 0.0; });
  };
  const auto quiz = fixture::table(kind(), scored_point(rows, fields), guess);
  EXPECT_DOUBLE_EQ(number(diagnostic(quiz, 0, "chance")), 0.25);
  fields["metrics"] = Texts{"exact_match"};
  const auto spans = fixture::masked_rows(3);
  const auto match = fixture::table(kind(), scored_point(spans, fields), guess);
  EXPECT_EQ(diagnostic(match, 0, "chance"), Cell());
  EXPECT_EQ(diagnostic(match, 0, "abc_clipped"), Cell());
  EXPECT_NE(diagnostic(match, 0, "abc_log"), Cell());
}

TEST(HeadPruningTable, SaysWhereTheMostImportantHeadsAreNotTheWorstToLose) {
  const auto rows = fixture::masked_rows(3);
  Fields fields = ks({1, 2});
  fields["which"] = Texts{"most", "least"};
  const auto point = scored_point(rows, fields);
  const auto crossing = table_of(point, [](const std::vector<int64_t>& pruned) {
    const bool most = !pruned.empty() && pruned[0] == 0;
    return most ? 2.0 : static_cast<double>(pruned.size() * pruned.size());
  });
  EXPECT_THAT(
      crossing.warnings,
      ElementsAre(HasSubstr("the curves of most and least cross: the loss suffers less from losing "
                            "the most important heads at k = 2 where model = tiny")));
  const auto noisy = fixture::table(kind(), point, [](const Shard& shard) {
    const auto pruned = evaluate::params_of(shard).pruned;
    const bool most = !pruned.empty() && pruned[0] == 0;
    return fixture::result_of(shard, [&](const std::string& name, const Row& row, size_t) {
      return name == "tokens" ? 1.0 : static_cast<double>(row.id) + (most ? 2.0 : 2.1);
    });
  });
  EXPECT_THAT(noisy.warnings, ElementsAre(HasSubstr("at k = 1 (their intervals overlap), 2 (their "
                                                    "intervals overlap) where")));
  const auto apart = table_of(point, [](const std::vector<int64_t>& pruned) {
    return !pruned.empty() && pruned[0] == 0 ? 2.0 : 0.0;
  });
  EXPECT_THAT(apart.warnings, IsEmpty());
}

TEST(HeadPruningTable, LayerMatchedComparesLikeWithLike) {
  const auto rows = fixture::masked_rows(3);
  Fields fields = ks({1});
  fields["scope"] = std::string("layer_matched");
  fields["prune_seeds"] = int64_t{2};
  const auto point = scored_point(rows, fields);
  EXPECT_THAT(arms(point), ElementsAre(Arm{"none", 0, -1}, Arm{"most", 1, -1}, Arm{"least", 1, -1},
                                       Arm{"random_as_most", 1, 0}, Arm{"random_as_most", 1, 1},
                                       Arm{"random_as_least", 1, 0}, Arm{"random_as_least", 1, 1}));
  // Most takes head 0 (layer 0), least head 3 (layer 1): a loss of 4 to 3, and of 2 to 1.
  const auto table = table_of(point, [](const std::vector<int64_t>& pruned) {
    return pruned.empty() ? 0.0 : pruned[0] < 2 ? 3.0 : 1.0;
  });
  // Within a layer all heads are alike: nothing is left of either gap, all of it is the layers'.
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "random_most")), 0);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "least_random")), 0);
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "abc")), 2 * 0.25 / 2);
  const auto mean = [&](const char* which) {
    const auto found =
        fixture::rows_with(table, {std::string("loss"), std::string(which), int64_t{1}, Cell()});
    return number(cell(table, found.at(0), "value"));
  };
  EXPECT_DOUBLE_EQ(mean("random_as_most"), 3);
  EXPECT_DOUBLE_EQ(mean("random_as_least"), 1);
}

TEST(HeadPruningTable, ExactMatchCountsMoreAsBetter) {
  const auto rows = fixture::masked_rows(2);
  Fields fields = ks({1});
  fields["metrics"] = Texts{"exact_match"};
  const auto point = scored_point(rows, fields);
  const Table table = fixture::table(kind(), point, [](const Shard& shard) {
    const auto pruned = evaluate::params_of(shard).pruned;
    const bool broken = !pruned.empty() && pruned[0] == 0;
    return fixture::result_of(
        shard, [&](const std::string&, const Row&, size_t) { return broken ? 0.0 : 1.0; });
  });
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "abc")),
                   0.5 * 0.25);  // gaps 0 and 1 over a quarter of the heads
  const auto none =
      fixture::rows_with(table, {std::string("exact_match"), std::string("none")}).at(0);
  // Two rows of two right: Wilson's interval is not empty.
  EXPECT_NEAR(number(cell(table, none, "low")), 2 / (2 + 1.96 * 1.96), 1e-3);
  EXPECT_DOUBLE_EQ(number(cell(table, none, "high")), 1);
}

TEST(HeadPruningTable, AMissingArmTakesItsRowsOutOfTheAreasOnly) {
  const auto rows = fixture::masked_rows(18);
  const auto point = scored_point(rows, ks({1}));
  const Table table =
      fixture::table(kind(), point, [](const Shard& shard) -> std::optional<Result> {
        const auto pruned = evaluate::params_of(shard).pruned;
        if (shard.rows.size() == 2 && pruned == std::vector<int64_t>{3})
          return std::nullopt;  // least, last block
        return worked_out(shard);
      });
  const auto n = [&](const char* which, int64_t k) {
    return cell(
        table,
        fixture::rows_with(table, {std::string("loss"), std::string(which), k, Cell()}).at(0), "n");
  };
  EXPECT_EQ(n("none", 0), Cell(int64_t{18}));
  EXPECT_EQ(n("most", 1), Cell(int64_t{18}));
  EXPECT_EQ(n("least", 1), Cell(int64_t{16}));
  EXPECT_EQ(diagnostic(table, 0, "n_missing"), Cell(int64_t{2}));
  EXPECT_DOUBLE_EQ(number(diagnostic(table, 0, "abc")), 3 * 0.25 / 2);
}

TEST(HeadPruningTable, APointWithoutScoresHasTheWholeModelsNumbersOnly) {
  const auto rows = fixture::masked_rows(3);
  for (const char* scope : {"global", "layer", "layer_matched"}) {
    Fields fields = ks({1});
    fields["scope"] = std::string(scope);
    auto point = scored_point(rows, fields);
    const auto whole = kind().shard(point, 0);
    point.scores->value.assign(4, std::nan(""));
    for (int64_t i = 0; i < kind().count(point); ++i)
      EXPECT_EQ(key(kind().shard(point, i)), key(whole));
    const Table table = fixture::table(kind(), point, worked_out);
    for (const auto& row : table.rows) {
      const bool none = cell(table, row, "which") == Cell(std::string("none"));
      EXPECT_EQ(cell(table, row, "value"), none ? Cell(1.0) : Cell());
      EXPECT_EQ(cell(table, row, "n"), Cell(int64_t{none ? 3 : 0}));
    }
    EXPECT_EQ(diagnostic(table, 0, "n_missing"), Cell(int64_t{3}));
    EXPECT_EQ(diagnostic(table, 0, "abc"), Cell());
    EXPECT_THAT(table.warnings,
                ElementsAre(HasSubstr("stage \"importance\" has scores of too few heads where "
                                      "model = tiny, dataset = train"),
                            HasSubstr("3 of 3 rows are missing")));
  }
}

TEST(HeadPruningTable, WarnsWhenScoredRowsAreEvaluated) {
  const auto rows = fixture::masked_rows(4), other = fixture::labelled_rows(4);
  EXPECT_THAT(fixture::table(kind(), scored_point(rows, ks({1}), other), worked_out).warnings,
              IsEmpty());
  EXPECT_THAT(
      fixture::table(kind(), scored_point(rows, ks({1}), fixture::masked_rows(3)), worked_out)
          .warnings,
      ElementsAre(HasSubstr(
          "3 of the 4 rows of dataset \"train\" were also scored by stage \"importance\"")));
}

TEST(HeadPruningTable, RepeatsWhatIsHeldAgainstTheScoresOnceAPointTheyWereReadFrom) {
  const auto rows = fixture::masked_rows(4);
  Point point = scored_point(rows, ks({1}));
  const auto warnings_of = [&](const std::vector<Point>& points) {
    return kind()
        .aggregate("stage", points,
                   [&](size_t p, int64_t i) { return worked_out(kind().shard(points[p], i)); })
        .warnings;
  };
  EXPECT_THAT(warnings_of({point}), IsEmpty());
  point.scores->distrust = "model = tiny are not settled: 3 rows unconverged";
  Point another = point;
  another.scores->distrust = "model = other are not settled: 1 row unconverged";
  EXPECT_THAT(warnings_of({point, point, another}),
              ElementsAre("the scores of stage \"importance\" where " + point.scores->distrust,
                          "the scores of stage \"importance\" where " + another.scores->distrust));
}

TEST(HeadPruningTable, WarnsOfAnEqualRowFurtherDownTheFile) {
  // One file of five rows, the last equal to the first: rows 0 to 2 scored, 3 and 4 evaluated.
  auto scored = fixture::masked_rows(5), rest = fixture::masked_rows(5);
  for (auto* dataset : {&scored, &rest}) {
    dataset->rows[4].ids = dataset->rows[0].ids;
    datasets::assign_ids(dataset->rows);
  }
  scored.rows.resize(3);
  rest.rows.erase(rest.rows.begin(), rest.rows.begin() + 3);
  ASSERT_NE(rest.rows[1].id, scored.rows[0].id);
  EXPECT_THAT(fixture::table(kind(), scored_point(rest, ks({1}), scored), worked_out).warnings,
              ElementsAre(HasSubstr("1 of the 2 rows of dataset \"train\" were also scored")));
}

TEST(HeadPruningTable, WarnsOfFewWindowsAndOfTheirOverlap) {
  auto scored = fixture::named("scored", datasets::Objective::kMasked), rest = scored;
  scored.task = rest.task = "text";
  const auto add = [](datasets::Dataset& to, int32_t start) {
    Row row;
    row.id = static_cast<uint64_t>(start);
    for (int32_t id = start; id < start + 20; ++id) row.ids.push_back(id);
    row.span_begin = 10;
    row.span_end = 20;
    to.rows.push_back(row);
    to.windows.text = "/text";
    to.windows.first.push_back(start);
    to.windows.length = 20;
  };
  add(scored, 0);
  add(rest, 10);
  add(rest, 30);
  const auto one = [](const Shard& shard) {
    return fixture::result_of(shard, [](const std::string&, const Row&, size_t) { return 1.0; });
  };
  const auto warnings = fixture::table(kind(), scored_point(rest, ks({1}), scored), one).warnings;
  EXPECT_THAT(warnings,
              ElementsAre(HasSubstr("1 of the 2 windows of dataset \"scored\" overlap with windows "
                                    "scored by stage \"importance\""),
                          HasSubstr("n = 2 windows of dataset \"scored\" is small")));
}

TEST(HeadPruningTable, WithoutSomeArmsThereIsNoAreaBetweenThem) {
  const auto rows = fixture::masked_rows(3);
  Fields fields = ks({1});
  fields["which"] = Texts{"most", "random"};
  const Table table = fixture::table(kind(), scored_point(rows, fields), worked_out);
  EXPECT_EQ(diagnostic(table, 0, "abc"), Cell());
  EXPECT_NE(diagnostic(table, 0, "random_most"), Cell());
}

}  // namespace
}  // namespace headcount::experiments::head_pruning
