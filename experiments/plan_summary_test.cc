// What a plan would take, against counts made by hand.
#include "experiments/plan_summary.h"

#include <gtest/gtest.h>

#include "experiments/test_files.h"

namespace headcount::experiments {
namespace {

constexpr const char* kHead = R"(name = "heads"
[models.small]
path = "masked"
[datasets.train]
task = "addition"
split = "train"
rows = 20
[datasets.test]
task = "addition"
split = "test"
rows = 20
)";

Sweep sweep(const TestFiles& files, const std::string& stages) {
  Prepared made = prepare(kHead + stages, "x.toml", files.root());
  EXPECT_EQ(to_string(made.problems), "");
  return std::move(made.sweep.value());
}

std::string importance(const std::string& keys) {
  return "[[stage]]\nname = \"importance\"\nkind = \"head_importance\"\ndataset = \"train\"\n"
         "mask_probs = [0.3, 0.7]\nmask_samples = 2\n" +
         keys;
}

/// Nothing is stored.
PlanSummary fresh(const Sweep& made) {
  return summarize(made, [](const ShardKey&) { return false; });
}

TEST(PlanSummary, CountsPassesOfEveryRuleAsTheIntegratorSpendsThem) {
  const TestFiles files;
  // 20 rows x 2 probabilities x 2 draws = 80 (row, mask) pairs; 8 intervals; end points once a
  // pair.
  const std::vector<std::tuple<std::string, int64_t, int64_t>> rules = {
      {"right", 80 * (7 + 1 + 1), 80 * (7 + 1)},
      {"left", 80 * (7 + 1 + 1), 80 * (7 + 1)},
      {"trapezoid", 80 * (7 + 2), 80 * (7 + 2)},
      {"midpoint", 80 * (8 + 4 + 2), 80 * (8 + 4)},
      {"gauss_legendre", 80 * (8 + 4 + 2), 80 * (8 + 4)},
  };
  for (const auto& [rule, forward, backward] : rules) {
    const auto plan =
        fresh(sweep(files, importance("quadrature = \"" + rule + "\"\nig_steps = 8\n")));
    EXPECT_EQ(plan.stages[0].passes.forward, forward) << rule;
    EXPECT_EQ(plan.stages[0].passes.backward, backward) << rule;
    EXPECT_FALSE(plan.stages[0].passes.uncertain()) << rule;
    EXPECT_EQ(plan.stages[0].passes.most_forward, forward) << rule;
    EXPECT_EQ(plan.stages[0].passes.most_backward, backward) << rule;
    EXPECT_EQ(plan.stages[0].n_shards, 2 * 2 * 2);  // blocks of 16 rows
  }
}

TEST(PlanSummary, OfAdaptiveSaysWhatIsExpectedAndWhatIsTheMostWithTheAuditsIn) {
  const TestFiles files;
  const auto passes_of = [&](const std::string& keys) {
    return fresh(sweep(files, importance(keys))).stages[0].passes;
  };
  // 80 (row, mask) pairs in 8 shards, one audited row in each: all its intervals halved, four
  // gradients in each of n where the path had 4 n + 1 with its ends.
  const auto expect = [](const Passes& found, int64_t expected, int64_t most) {
    EXPECT_TRUE(found.uncertain());
    EXPECT_EQ(found.backward, 80 * expected + 8 * (expected - 1));
    EXPECT_EQ(found.most_backward, 80 * most + 8 * (most - 1));
    EXPECT_EQ(found.forward, found.backward);
    EXPECT_EQ(found.most_forward, found.most_backward);
  };
  expect(passes_of(""), 86, 4097);  // 100 (0.01 / tol)^0.21 at tol 0.02
  expect(passes_of("tol = 0.01\nmax_evaluations = 1025\n"), 100, 1025);
  expect(passes_of("tol = 1e-3\n"), 162, 4097);
  expect(passes_of("ig_steps = 48\n"), 4 * 48 + 1, 4097);  // no fewer than it starts with
}

TEST(PlanSummary, AdaptivePathsShareTheirEndPointsAndAreAllAudited) {
  const TestFiles files;
  const auto found =
      fresh(sweep(files, importance("path_mode = \"stochastic_threshold\"\n"))).stages[0].passes;
  // 260 (0.01 / 0.02)^0.29 = 212 gradients a path, of which the two ends are shared by four.
  EXPECT_EQ(found.backward, 80 * (4 * 210 + 2) + 8 * 4 * 211);
  EXPECT_EQ(found.most_backward, 80 * (4 * 4095 + 2) + 8 * 4 * 4096);
}

TEST(PlanSummary, PathsShareTheirEndPointsAndOverlappingPointsTheirShards) {
  const TestFiles files;
  const auto plan =
      fresh(sweep(files, importance("path_mode = \"stochastic_threshold\"\npath_samples = [4, 16]\n"
                                    "quadrature = \"trapezoid\"\nig_steps = 8\n")));
  const StageSummary& stage = plan.stages[0];
  EXPECT_EQ(stage.n_points, 2);
  EXPECT_EQ(stage.n_shards, 40);  // 8 blocks and masks, 1 + 4 blocks of paths
  EXPECT_EQ(stage.n_unique, 8 * 4);
  EXPECT_EQ(stage.passes.backward, 80 * (16 * 7 + 4 * 2));
}

TEST(PlanSummary, WhatIsStoredIsNotCountedAgain) {
  const TestFiles files;
  const Sweep made = sweep(files, importance("ig_steps = [8, 16]\n"));
  const ShardKey stored = key(shard(made.stages[0], 3));
  int64_t n_asked = 0;
  const auto plan = summarize(made, [&](const ShardKey& one) {
    ++n_asked;
    return one == stored;
  });
  EXPECT_EQ(n_asked, 16);
  EXPECT_EQ(plan.stages[0].n_cached, 1);
  const auto all = fresh(made);
  EXPECT_EQ(all.stages[0].passes.backward - plan.stages[0].passes.backward,
            passes(shard(made.stages[0], 3)).backward);
}

TEST(PlanSummary, AStageThatWaitsForScoresHasPassesButNoKeys) {
  const TestFiles files;
  const Sweep made = sweep(files, importance("") + R"([[stage]]
name = "pruning"
kind = "head_pruning"
scores = { stage = "importance" }
dataset = "test"
metrics = ["exact_match"]
which = ["most"]
k = [1, 2]
)");
  const auto plan = fresh(made);
  const StageSummary& stage = plan.stages[1];
  EXPECT_FALSE(stage.n_unique);
  EXPECT_GT(stage.n_shards, 0);
  EXPECT_EQ(stage.passes.forward % 100, 0);  // 20 rows, five tokens each
  EXPECT_GE(stage.passes.forward, 200);      // with one head removed, and with two
  EXPECT_EQ(stage.passes.backward, 0);
}

TEST(PlanSummary, RendersATableAndJson) {
  const PlanSummary plan{.sweep = "heads",
                         .stages = {{.name = "importance",
                                     .kind = "head_importance",
                                     .n_points = 2,
                                     .n_rows = 256,
                                     .n_shards = 100,
                                     .n_unique = 80,
                                     .n_cached = 30,
                                     .passes = {.forward = 5000,
                                                .backward = 4000,
                                                .most_forward = 90000,
                                                .most_backward = 80000}},
                                    {.name = "pruning",
                                     .kind = "head_pruning",
                                     .n_points = 2,
                                     .n_rows = 512,
                                     .n_shards = 64,
                                     .n_unique = {},
                                     .n_cached = {},
                                     .passes = {.forward = 1024, .most_forward = 1024}}}};
  EXPECT_EQ(
      to_text(plan),
      "stage       kind             points  rows  shards  unique  cached  to run  forward  "
      "backward  at most\n"
      "importance  head_importance       2   256     100      80      30      50    ~5000     "
      "~4000    80000\n"
      "pruning     head_pruning          2   512      64       ?       ?       ?     1024       "
      "  0        0\n"
      "total                             4           164       ?       ?       ?    ~6024     "
      "~4000    80000\n"
      "forward, backward: passes of one sequence through a model, of what is to run\n"
      "?: known once the stage it reads is complete; passes are of all its shards\n"
      "~: adaptive quadrature goes on until its tolerance is met; what the built-in models took is "
      "expected, at most so many backward passes\n");
  EXPECT_EQ(
      to_json(plan),
      R"({"sweep":"heads","stages":[{"name":"importance","kind":"head_importance","points":2,)"
      R"("rows":256,"shards":100,"unique":80,"cached":30,"to_run":50,"forward_passes":5000,)"
      R"("backward_passes":4000,"forward_passes_at_most":90000,"backward_passes_at_most":80000},{"name":"pruning","kind":"head_pruning",)"
      R"("points":2,"rows":512,"shards":64,"unique":null,"cached":null,"to_run":null,)"
      R"("forward_passes":1024,"backward_passes":0,"forward_passes_at_most":1024,"backward_passes_at_most":0}]})"
      "\n");
}

}  // namespace
}  // namespace headcount::experiments
