// Specs made whole: points, their columns and order, inputs, scores, numbering of shards.
#include "experiments/sweep.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "experiments/test_files.h"

namespace headcount::experiments {
namespace {

constexpr const char* kHead = R"(name = "heads"
seed = 5
[models.small]
path = "masked"
[models.wide]
path = "masked-wide"
dtype = "float64"
[datasets.train]
task = "addition"
split = "train"
rows = 40
[datasets.test]
task = "addition"
split = "test"
rows = 24
)";

constexpr const char* kImportance = R"([[stage]]
name = "importance"
kind = "head_importance"
model = ["wide", "small"]
dataset = "train"
mask_probs = [0.3, 0.7]
mask_samples = 2
path_mode = ["diagonal", "stochastic_threshold"]
ig_steps = [8, 16]
)";

class SweepTest : public testing::Test {
 protected:
  Prepared prepared(const std::string& stages) {
    return prepare(kHead + stages, "x.toml", files_.root());
  }
  Sweep sweep(const std::string& stages) {
    Prepared made = prepared(stages);
    EXPECT_EQ(to_string(made.problems), "");
    return std::move(made.sweep.value());
  }

  TestFiles files_;
};

std::string columns(const Point& point) {
  std::string text;
  for (const auto& name : point.column_order) {
    text += (text.empty() ? "" : " ") + name + "=" + to_json(point.columns.at(name));
  }
  return text;
}

TEST_F(SweepTest, MakesOnePointPerCombinationModelSlowestAndNamesItByItsAxes) {
  const Sweep made = sweep(kImportance);
  const Stage& stage = made.stages[0];
  ASSERT_EQ(stage.points.size(), 8u);
  EXPECT_EQ(columns(stage.points[0]),
            R"(model="wide" dataset="train" path_mode="diagonal" ig_steps=8)");
  EXPECT_EQ(columns(stage.points[1]),
            R"(model="wide" dataset="train" path_mode="diagonal" ig_steps=16)");
  EXPECT_EQ(columns(stage.points[7]),
            R"(model="small" dataset="train" path_mode="stochastic_threshold" ig_steps=16)");
  const Point& first = stage.points[0];
  EXPECT_EQ(first.model->config.n_layers, 3);
  EXPECT_EQ(first.model->dtype, "float64");
  EXPECT_EQ(first.model->fingerprint.size(), 64u);
  EXPECT_EQ(first.model->path, files_.root() + "/masked-wide");
  EXPECT_EQ(first.dataset->rows.size(), 40u);
  EXPECT_EQ(first.seed, 5u);
  EXPECT_FALSE(first.values.contains("model"));
  EXPECT_EQ(get<std::string>(first.values, "quadrature"), "adaptive");
}

TEST_F(SweepTest, OpensOnlyWhatAStageUses) {
  const Sweep made = sweep(R"([[stage]]
name = "importance"
kind = "head_importance"
model = "small"
dataset = "train"
mask_probs = [0.5]
mask_samples = 1
)");
  EXPECT_EQ(made.models.size(), 1u);
  EXPECT_EQ(made.datasets.size(), 1u);
}

TEST_F(SweepTest, AReadingStageInheritsAxesOneArmPerPoint) {
  const Sweep made = sweep(std::string(kImportance) + R"([[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance" }
dataset = "test"
k = [1, 2]
)");
  const Stage& stage = made.stages[1];
  EXPECT_EQ(stage.input, 0);
  ASSERT_EQ(stage.points.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    const Point& read = made.stages[0].points[static_cast<size_t>(stage.input_point[i])];
    EXPECT_EQ(stage.points[i].model, read.model);
    EXPECT_EQ(to_json(stage.points[i].columns.at("ig_steps")),
              to_json(read.columns.at("ig_steps")));
    ASSERT_TRUE(stage.points[i].scores);
    EXPECT_EQ(stage.points[i].scores->values, read.values);
    EXPECT_EQ(stage.points[i].scores->dataset->rows.size(), 40u);
    EXPECT_TRUE(stage.points[i].scores->value.empty());
  }
  EXPECT_EQ(columns(stage.points[1]),
            R"(model="wide" dataset="test" path_mode="diagonal" ig_steps=16)");
}

TEST_F(SweepTest, SelectingOneValueDropsTheColumnAndSelectingSeveralKeepsIt) {
  const Sweep made = sweep(std::string(kImportance) + R"([[stage]]
name = "one"
kind = "head_pruning"
scores = { stage = "importance", ig_steps = 16, path_mode = "diagonal" }
dataset = "test"
k = [1]
[[stage]]
name = "several"
kind = "head_pruning"
model = "small"
scores = { stage = "importance", ig_steps = [16], path_mode = ["stochastic_threshold", "diagonal"] }
dataset = ["test", "train"]
k = [1]
)");
  ASSERT_EQ(made.stages[1].points.size(), 2u);
  EXPECT_EQ(columns(made.stages[1].points[0]), R"(model="wide" dataset="test")");
  EXPECT_EQ(columns(made.stages[1].points[1]), R"(model="small" dataset="test")");
  ASSERT_EQ(made.stages[2].points.size(), 4u);
  EXPECT_EQ(columns(made.stages[2].points[0]),
            R"(model="small" dataset="test" path_mode="diagonal" ig_steps=16)");
  EXPECT_EQ(columns(made.stages[2].points[3]),
            R"(model="small" dataset="train" path_mode="stochastic_threshold" ig_steps=16)");
}

TEST_F(SweepTest, AnInheritedAxisThatBothKindsKnowIsNamedAfterTheScores) {
  const Sweep made = sweep(R"([[stage]]
name = "importance"
kind = "head_importance"
model = "small"
dataset = ["train", "test"]
mask_probs = [[0.3], [0.7]]
mask_samples = 2
[[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance" }
dataset = "test"
mask_probs = [[0.5], [0.9]]
k = [1]
)");
  ASSERT_EQ(made.stages[1].points.size(), 8u);
  EXPECT_EQ(columns(made.stages[1].points[1]),
            R"(model="small" dataset="test" scores_dataset="train" scores_mask_probs=[0.3] )"
            R"(mask_probs=[0.9])");
}

TEST_F(SweepTest, NumbersShardsThroughItsPointsInOrder) {
  const Sweep made = sweep(kImportance);
  const Stage& stage = made.stages[0];
  int64_t i = 0;
  for (size_t point = 0; point < stage.points.size(); ++point) {
    for (int64_t k = 0; k < stage.kind->count(stage.points[point]); ++k, ++i) {
      EXPECT_EQ(place(stage, i).point, point);
      EXPECT_EQ(place(stage, i).shard, k);
      EXPECT_EQ(key(shard(stage, i)), key(stage.kind->shard(stage.points[point], k)));
    }
  }
  EXPECT_EQ(count(stage), i);
}

TEST_F(SweepTest, EqualSpecsMakeEqualShardsWhateverTheirLayoutAndNames) {
  const Sweep made = sweep(kImportance);
  std::string renamed = std::string(kHead) + kImportance;
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"train]", "learn]"},
                                 {"dataset = \"train\"", "dataset = \"learn\""},
                                 {"\"importance\"", "\"other\""}}) {
    renamed.replace(renamed.find(from), from.size(), to);
  }
  const Prepared other = prepare(renamed, "y.toml", files_.root());
  ASSERT_TRUE(other.sweep) << to_string(other.problems);
  for (int64_t i = 0; i < count(made.stages[0]); ++i) {
    EXPECT_EQ(key(shard(made.stages[0], i)), key(shard(other.sweep->stages[0], i)));
  }
}

TEST_F(SweepTest, MicroBatchReachesEveryShard) {
  const Sweep made = sweep(std::string(kImportance) + "micro_batch = 3\n");
  for (int64_t i = 0; i < count(made.stages[0]); ++i) {
    EXPECT_EQ(shard(made.stages[0], i).micro_batch, 3);
  }
}

TEST_F(SweepTest, ScoresAreTheMeansOverMaskProbabilitiesOfTheirOwnPoint) {
  Sweep made = sweep(std::string(kImportance) + R"([[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance", path_mode = "diagonal" }
dataset = "test"
k = [1]
)");
  Table table;
  table.columns = {"layer", "head",  "mask_prob", "value",     "se",
                   "n",     "model", "dataset",   "path_mode", "ig_steps"};
  const auto add = [&](int64_t layer, int64_t head, const Cell& prob, double value,
                       const std::string& model, const std::string& mode, int64_t steps) {
    table.rows.push_back(
        {layer, head, prob, value, Cell{}, int64_t{40}, model, std::string("train"), mode, steps});
  };
  add(0, 1, 0.3, -1, "small", "diagonal", 16);  // of one probability: not what is read
  add(0, 1, Cell{}, 2.5, "small", "diagonal", 16);
  add(1, 0, Cell{}, -0.5, "small", "diagonal", 16);
  add(0, 0, Cell{}, 7, "small", "diagonal", 8);
  add(0, 0, Cell{}, 8, "small", "stochastic_threshold", 16);
  add(2, 3, Cell{}, 9, "wide", "diagonal", 16);
  attach_scores(made, 1, table);
  const auto values_of = [&](const std::string& wanted) {
    for (const auto& point : made.stages[1].points) {
      if (columns(point) == wanted) return point.scores->value;
    }
    ADD_FAILURE() << wanted;
    return std::vector<double>{};
  };
  const auto small = values_of(R"(model="small" dataset="test" ig_steps=16)");
  ASSERT_EQ(small.size(), 4u);
  EXPECT_TRUE(std::isnan(small[0]));
  EXPECT_EQ(small[1], 2.5);
  EXPECT_EQ(small[2], -0.5);
  EXPECT_TRUE(std::isnan(small[3]));
  EXPECT_EQ(values_of(R"(model="small" dataset="test" ig_steps=8)")[0], 7);
  const auto wide = values_of(R"(model="wide" dataset="test" ig_steps=16)");
  ASSERT_EQ(wide.size(), 12u);
  EXPECT_EQ(wide[11], 9);
  EXPECT_TRUE(made.stages[1].points[0].scores->signed_mean.empty());
}

TEST_F(SweepTest, ScoresBringTheirSignedMeansWhereTheTableHasThem) {
  Sweep made = sweep(std::string(kImportance) + R"([[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance", model = "small", path_mode = "diagonal", ig_steps = 16 }
dataset = "test"
k = [1]
)");
  Table table;
  table.columns = {"layer", "head",  "mask_prob", "signed_mean", "value",   "se",
                   "n",     "model", "dataset",   "path_mode",   "ig_steps"};
  for (const auto& [head, mean] : {std::pair(int64_t{0}, -2.0), std::pair(int64_t{1}, -1.0)}) {
    table.rows.push_back({int64_t{0}, head, Cell{}, mean, 0.0, Cell{}, int64_t{40},
                          std::string("small"), std::string("train"), std::string("diagonal"),
                          int64_t{16}});
  }
  attach_scores(made, 1, table);
  const Scores& scores = *made.stages[1].points.at(0).scores;
  ASSERT_EQ(scores.signed_mean.size(), 4u);
  EXPECT_EQ(scores.value[0], 0);
  EXPECT_EQ(scores.value[1], 0);
  EXPECT_EQ(scores.signed_mean[0], -2);
  EXPECT_EQ(scores.signed_mean[1], -1);
  EXPECT_TRUE(std::isnan(scores.signed_mean[2]));
}

TEST_F(SweepTest, ScoresSayWhatTheTableHoldsAgainstThemAtTheirOwnPoint) {
  Sweep made = sweep(std::string(kImportance) + R"([[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance", model = "small" }
dataset = "test"
k = [1]
)");
  Table table;
  table.columns = {"layer", "head",    "mask_prob", "value",
                   "model", "dataset", "path_mode", "ig_steps"};
  table.diagnostic_columns = {"model", "dataset", "path_mode", "ig_steps", "audit", "unconverged"};
  const auto add = [&](const std::string& mode, int64_t steps, double audit) {
    table.diagnostics.push_back(
        {std::string("small"), std::string("train"), mode, steps, audit, int64_t{0}});
  };
  add("diagonal", 8, 0.25);
  add("diagonal", 16, 0.01);
  add("stochastic_threshold", 8, 0.3);
  attach_scores(made, 1, table);
  std::vector<std::string> said;
  for (const Point& point : made.stages[1].points) said.push_back(point.scores->distrust);
  const std::string at = "model = small, dataset = train, path_mode = ";
  const std::string moves = " are not settled: halving every interval moves the mean vector by ";
  ASSERT_EQ(said.size(), 4u);
  EXPECT_TRUE(said[0].starts_with(at + "diagonal, ig_steps = 8" + moves + "25 %")) << said[0];
  EXPECT_EQ(said[1], "");
  EXPECT_TRUE(said[2].starts_with(at + "stochastic_threshold, ig_steps = 8" + moves + "30 %"))
      << said[2];
  EXPECT_EQ(said[3], "");  // that point has no diagnostics

  // A table of before the diagnostics were these says nothing against its scores.
  table.diagnostic_columns = {"model",    "dataset",       "path_mode",
                              "ig_steps", "residual_mean", "n_missing"};
  attach_scores(made, 1, table);
  EXPECT_EQ(made.stages[1].points[0].scores->distrust, "");
}

TEST_F(SweepTest, ScoresAreFoundByListsWhateverProgramStoredThem) {
  Sweep made = sweep(R"([[stage]]
name = "importance"
kind = "head_importance"
model = "small"
dataset = "train"
mask_probs = [[0.5], [0.25, 0.75]]
mask_samples = 1
[[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance" }
dataset = "test"
k = [1]
)");
  Table table;
  table.columns = {"layer", "head", "mask_prob", "value", "model", "dataset", "mask_probs"};
  const std::string model = "small", dataset = "train";
  for (const auto& [list, value] :
       {std::pair(Cell(std::string("[0.5]")), 1.0), {Cell(JsonList{"[0.25, 0.75]"}), 2.0}}) {
    table.rows.push_back({int64_t{0}, int64_t{0}, Cell{}, value, model, dataset, list});
  }
  attach_scores(made, 1, table);
  ASSERT_EQ(made.stages[1].points.size(), 2u);
  EXPECT_EQ(made.stages[1].points[0].scores->value.at(0), 1);
  EXPECT_EQ(made.stages[1].points[1].scores->value.at(0), 2);
}

TEST_F(SweepTest, HostileSpecsEndSoonWithAFewProblems) {
  std::string stages, keys, list = "ig_steps = [";
  for (int i = 0; i < 100'000; ++i) stages += "[[stage]]\n";
  EXPECT_EQ(to_string(prepared(stages).problems),
            "x.toml:16:3: stage: expected at most 256 tables, found 100000\n");
  for (int i = 0; i < 90'000; ++i) keys += "k" + std::to_string(i) + "=1\n";
  const Prepared unknown = prepared(std::string(kImportance) + keys);
  EXPECT_EQ(unknown.problems.size(), 1001u);
  EXPECT_EQ(unknown.problems.back().message, "and 89000 more problems after this one");
  for (int i = 0; i < 300'000; ++i) list += "0,";
  std::string importance = kImportance;
  importance.erase(importance.find("ig_steps"));
  EXPECT_EQ(prepared(importance + list + "]\n").problems.size(), 1001u);
}

TEST_F(SweepTest, SurvivesDamagedSpecs) {
  const std::string good = std::string(kHead) + kImportance + R"([[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance", ig_steps = 16 }
dataset = "test"
k = [1, 2]
[[stage]]
name = "plain"
kind = "evaluate"
model = "small"
dataset = "test"
metrics = ["accuracy", "f1", "exact_match"]
pruned = [1, 2]
)";
  const std::vector<std::string> words = {
      "0",    "-1",        "[]",     "[[1]]",     "\"x\"",        "true", "{}",
      "9e99", "\"small\"", "[1, 2]", "\"train\"", "\"adaptive\"", "1.5"};
  std::mt19937 random(7);
  int n_good = 0, n_bad = 0;
  for (int round = 0; round < 400; ++round) {
    std::string text = good;
    for (size_t damage = random() % 3 + 1; damage > 0; --damage) {
      std::vector<size_t> values;
      for (size_t at = 0; (at = text.find(" = ", at)) != std::string::npos; ++at) {
        values.push_back(at + 3);
      }
      const size_t at = values[random() % values.size()];
      const size_t line = text.rfind('\n', at) + 1, end = text.find('\n', at);
      if (random() % 2 == 0) {
        text.replace(at, end - at, words[random() % words.size()]);
      } else {
        text.erase(line, end + 1 - line);
      }
    }
    const Prepared made = prepare(text, "x.toml", files_.root());
    EXPECT_NE(made.sweep.has_value(), !made.problems.empty()) << text;
    (made.sweep ? n_good : n_bad) += 1;
    if (!made.sweep) continue;
    for (const auto& stage : made.sweep->stages) {
      if (stage.input < 0 && count(stage) > 0) shard(stage, count(stage) - 1);
    }
  }
  EXPECT_GT(n_good, 10);
  EXPECT_GT(n_bad, 100);
}

TEST_F(SweepTest, ProblemsComeInTheOrderOfTheFileEachOnce) {
  const Prepared made = prepared(R"([[stage]]
name = "importance"
kind = "head_importance"
model = ["small", "wide"]
dataset = "train"
mask_samples = 2
ig_steps = [8, 16]
baseline = 3
quadrature = "simpson"
)");
  EXPECT_EQ(
      to_string(made.problems),
      "x.toml:16:1: stage[0].mask_probs: the rows of dataset \"train\" have a masked span: give "
      "mask_probs, such as [0.15, 0.3, 0.5, 0.7, 0.9]\n"
      "x.toml:23:1: stage[0].baseline: expected a number from 0 to 0.999, found 3\n"
      "x.toml:24:1: stage[0].quadrature: expected one of \"adaptive\", \"right\", \"left\", "
      "\"midpoint\", \"trapezoid\", \"gauss_legendre\", found \"simpson\"\n");
}

}  // namespace
}  // namespace headcount::experiments
