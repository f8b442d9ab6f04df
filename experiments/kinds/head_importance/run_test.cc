// head_importance shards on small models: laws (completeness, independence of the block,
// determinism) and outside witnesses (central differences, a converged composite rule on the
// shipped model).
#include "experiments/kinds/head_importance/run.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "experiments/datasets/addition.h"
#include "experiments/datasets/dataset.h"
#include "experiments/kinds/head_importance/head_importance.h"
#include "experiments/run/batch.h"
#include "experiments/run/brute_force.h"
#include "experiments/run/quadrature.h"
#include "experiments/run/test_model.h"
#include "experiments/sweep.h"

namespace headcount::experiments::head_importance {
namespace {

Params params_for(const models::Model& model) {
  Params params;
  params.n_layers = model.config.n_layers;
  params.n_heads = model.config.n_heads;
  params.layer_last = params.n_layers - 1;
  params.max_evaluations = 4097;
  if (!model.config.causal) {
    params.mask_prob = 0.5;
    params.mask_id = kTestMask;
  }
  return params;
}

Shard shard_of(const Params& params, std::vector<Row> rows, int64_t micro_batch = 16) {
  return {.kind = "head_importance",
          .numerics_version = kNumericsVersion,
          .model = {},
          .dtype = "float64",
          .params = to_fields(params),
          .seed = 3,
          .micro_batch = micro_batch,
          .rows = std::move(rows)};
}

Params stochastic(Params params, int64_t first = 0) {
  params.path_mode = PathMode::kStochasticThreshold;
  params.path_first = first;
  params.path_count = params.path_block = 4;
  return params;
}

std::vector<double> of_row(const NamedArray& a, size_t row) {
  const auto width = static_cast<std::ptrdiff_t>(a.data.size()) / a.shape[0];
  const auto begin = a.data.begin() + static_cast<std::ptrdiff_t>(row) * width;
  return {begin, begin + width};
}

double relative_l2(const std::vector<double>& a, const std::vector<double>& exact) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - exact[i]) * (a[i] - exact[i]);
    norm += exact[i] * exact[i];
  }
  return std::sqrt(difference / norm);
}

TEST(HeadImportance, YieldsThePlannedArraysForEveryRule) {
  const models::Model model = test_model(false);
  for (const Rule quadrature : {Rule::kRight, Rule::kLeft, Rule::kMidpoint, Rule::kTrapezoid,
                                Rule::kAdaptive, Rule::kGaussLegendre}) {
    for (const int64_t steps : {4, 5}) {
      Params params = params_for(model);
      params.quadrature = quadrature;
      params.ig_steps = steps;
      params.max_evaluations = 65;
      const Shard shard = shard_of(params, {test_row(0), test_row(1)});
      EXPECT_EQ(mismatch(run_quietly(shard, model), arrays(shard)), "");
    }
  }
  const Shard shard = shard_of(stochastic(params_for(model)), {test_row(0)});
  EXPECT_EQ(mismatch(run_quietly(shard, model), arrays(shard)), "");
}

TEST(HeadImportance, SumsToTheClimbOfTheScoreForMasksAndLabelsAndAnyLayerRange) {
  for (const bool causal : {false, true}) {
    const models::Model model = test_model(causal);
    const std::vector<Row> rows = causal ? std::vector{labelled_row(0), labelled_row(1, 12)}
                                         : std::vector{test_row(0), test_row(1, 12)};
    for (const int64_t layer_first : {0, 1}) {
      Params params = params_for(model);
      params.layer_first = layer_first;
      params.quadrature = Rule::kGaussLegendre;
      params.ig_steps = 48;
      params.baseline = 0.1;
      const Result result = run_quietly(shard_of(params, rows), model);
      for (size_t row = 0; row < rows.size(); ++row) {
        const std::vector<double> ig = of_row(array(result, "ig"), row);
        const double climb =
            array(result, "score_one").data[row] - array(result, "score_base").data[row];
        EXPECT_GT(std::abs(climb), 1e-3);
        EXPECT_NEAR(std::accumulate(ig.begin(), ig.end(), 0.0), climb, 1e-5 * std::abs(climb));
      }
    }
  }
}

TEST(HeadImportance, ResidualsFallAtTheOrderOfEachRule) {
  const models::Model model = test_model(false);
  const auto residual = [&](Rule quadrature, int64_t steps) {
    Params params = params_for(model);
    params.quadrature = quadrature;
    params.ig_steps = steps;
    const Result result = run_quietly(shard_of(params, {test_row(0)}), model);
    const std::vector<double>& ig = array(result, "ig").data;
    return std::abs(std::accumulate(ig.begin(), ig.end(), 0.0) -
                    (array(result, "score_one").data[0] - array(result, "score_base").data[0]));
  };
  const auto order = [&](Rule quadrature) {
    return std::log2(residual(quadrature, 256) / residual(quadrature, 512));
  };
  EXPECT_NEAR(order(Rule::kRight), 1, 0.1);
  EXPECT_NEAR(order(Rule::kLeft), 1, 0.1);
  EXPECT_NEAR(order(Rule::kMidpoint), 2, 0.1);
  EXPECT_NEAR(order(Rule::kTrapezoid), 2, 0.1);
  EXPECT_LT(residual(Rule::kGaussLegendre, 64), 1e-7);
}

/// Shapley values of v(S) = J with the gates of S one and the others zero, by all 2^8 forwards.
std::vector<double> shapley(const models::Model& model, const Example& example) {
  constexpr size_t kHeads = 8, kSets = 1 << kHeads;
  std::vector<const Example*> asked(kSets, &example);
  std::vector<double> gates;
  for (size_t set = 0; set < kSets; ++set) {
    for (size_t head = 0; head < kHeads; ++head) gates.push_back(set >> head & 1 ? 1 : 0);
  }
  const std::vector<double> v =
      to_vector(models::score(model, make_batch(asked, model), make_gates(gates, kSets, model)));
  std::vector<double> value(kHeads);
  for (size_t set = 0; set < kSets; ++set) {
    const auto size = std::popcount(set);
    for (size_t head = 0; head < kHeads; ++head) {
      if (set >> head & 1) continue;
      // |S|! (n - |S| - 1)! / n!
      value[head] += std::tgamma(size + 1) * std::tgamma(kHeads - static_cast<size_t>(size)) /
                     std::tgamma(kHeads + 1) * (v[set | size_t{1} << head] - v[set]);
    }
  }
  return value;
}

TEST(HeadImportance, NarrowRampsTendToTheShapleyValueOfTheModel) {
  const models::Model model = test_model(false);
  const Row row = test_row(1);
  Params params = params_for(model);
  const Example example = masked_example(
      row, {.seed = 3, .row_id = row.id, .probability = *params.mask_prob}, kTestMask, true);
  const std::vector<double> exact = shapley(model, example);
  params.path_mode = PathMode::kStochasticThreshold;
  params.path_count = params.path_block = 256;
  params.quadrature = Rule::kMidpoint;
  const auto distance = [&](double width, int64_t steps) {
    params.ramp_width = width;
    params.ig_steps = steps;
    return relative_l2(array(run_quietly(shard_of(params, {row}, 512), model), "ig").data, exact);
  };
  const double wide = distance(1, 15), narrow = distance(0.04, 127);
  std::printf("distance to Shapley: ramp width 1 %.3f, 0.04 %.3f\n", wide, narrow);
  EXPECT_LT(narrow, 0.1);
  EXPECT_LT(narrow, wide);
}

TEST(HeadImportance, OneRightStepIsTheGradientAtOneAsCentralDifferencesSeeIt) {
  const models::Model model = test_model(false);
  Params params = params_for(model);
  params.quadrature = Rule::kRight;
  params.ig_steps = 1;
  const Row row = test_row(3);
  const Result result = run_quietly(shard_of(params, {row}), model);

  const Example example =
      masked_example(row, {.seed = 3, .row_id = row.id, .probability = 0.5}, kTestMask, true);
  const Example* const asked[] = {&example};
  const models::Batch batch = make_batch(asked, model);
  const auto score_at = [&](size_t head, double gate) {
    std::vector<double> gates(8, 1.0);
    gates[head] = gate;
    return to_vector(models::score(model, batch, make_gates(gates, 1, model)))[0];
  };
  constexpr double kStep = 1e-5;
  for (size_t head = 0; head < 8; ++head) {
    const double expected = (score_at(head, 1 + kStep) - score_at(head, 1 - kStep)) / (2 * kStep);
    EXPECT_NEAR(array(result, "ig").data[head], expected,
                1e-6 * std::max(1e-2, std::abs(expected)));
  }
}

TEST(HeadImportance, OfARowDoesNotDependOnTheOthersOfItsBlock) {
  const models::Model model = test_model(false);
  const Params params = stochastic(params_for(model));
  const std::vector<Row> rows = {test_row(0), test_row(1, 14), test_row(2, 6)};
  const Result together = run_quietly(shard_of(params, rows), model);
  for (size_t row = 0; row < rows.size(); ++row) {
    const Result alone = run_quietly(shard_of(params, {rows[row]}), model);
    for (const char* name : {"ig", "evaluations", "score_one", "score_base"}) {
      const std::vector<double> a = of_row(array(together, name), row), b = array(alone, name).data;
      for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-12) << name;
    }
  }
}

TEST(HeadImportance, AuditsTheRowOfTheSmallestIdWhereverItStands) {
  const models::Model model = test_model(false);
  const Params params = stochastic(params_for(model));
  const Result together =
      run_quietly(shard_of(params, {test_row(2, 6), test_row(0), test_row(1, 14)}), model);
  const Result alone = run_quietly(shard_of(params, {test_row(0)}), model);
  EXPECT_LT(relative_l2(array(together, "audit").data, array(alone, "audit").data), 1e-12);
  const double moved = relative_l2(array(alone, "ig").data, array(alone, "audit").data);
  EXPECT_GT(moved, 0);
  EXPECT_LT(moved, params.tol);
}

TEST(HeadImportance, AdaptiveSumsToTheClimbFromAnyBaselineOverAnyLayers) {
  const models::Model model = test_model(false);
  for (const int64_t layer_first : {0, 1}) {
    for (const double baseline : {0.0, 0.3}) {
      for (const bool diagonal : {true, false}) {
        Params params = diagonal ? params_for(model) : stochastic(params_for(model));
        params.layer_first = layer_first;
        params.baseline = baseline;
        params.tol = 1e-5;
        const Result result = run_quietly(shard_of(params, {test_row(0)}), model);
        EXPECT_EQ(mismatch(result, arrays(shard_of(params, {test_row(0)}))), "");
        const double climb =
            array(result, "score_one").data[0] - array(result, "score_base").data[0];
        const std::vector<double>& ig = array(result, "ig").data;
        EXPECT_NEAR(std::accumulate(ig.begin(), ig.end(), 0.0), climb,
                    1e-5 * std::max(1.0, std::abs(climb)));
        EXPECT_EQ(array(result, "unconverged").data[0], 0);
      }
    }
  }
}

TEST(HeadImportance, GivesTheSameBitsEveryTime) {
  const models::Model model = test_model(false);
  const Shard shard = shard_of(stochastic(params_for(model)), {test_row(0), test_row(1, 14)});
  EXPECT_EQ(digest(run_quietly(shard, model)), digest(run_quietly(shard, model)));
}

TEST(HeadImportance, DoesNotDependOnTheMicroBatchBeyondRounding) {
  const models::Model model = test_model(false);
  const std::vector<Row> rows = {test_row(0), test_row(1, 14)};
  const Params params = stochastic(params_for(model));
  const Result small = run_quietly(shard_of(params, rows, 3), model);
  const Result large = run_quietly(shard_of(params, rows, 200), model);
  EXPECT_LT(relative_l2(array(small, "ig").data, array(large, "ig").data), 1e-12);
}

TEST(HeadImportance, DrawsOtherPathsForOtherBlocks) {
  const models::Model model = test_model(false);
  const Result a = run_quietly(shard_of(stochastic(params_for(model)), {test_row(0)}), model);
  const Result b = run_quietly(shard_of(stochastic(params_for(model), 4), {test_row(0)}), model);
  EXPECT_NE(array(a, "ig").data, array(b, "ig").data);
  EXPECT_EQ(array(a, "score_one").data, array(b, "score_one").data);
}

TEST(HeadImportance, RefusesWhatTheModelCannotTake) {
  const models::Model model = test_model(false);
  const Params params = params_for(model);
  const auto message = [&](const Shard& shard) {
    try {
      run_quietly(shard, model);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  Row strange = test_row(0);
  strange.ids[2] = 16;
  EXPECT_EQ(message(shard_of(params, {test_row(1), strange})),
            "row 1 of the shard has token id 16, the model's vocabulary is 0 to 15");
  EXPECT_EQ(message(shard_of(params, {test_row(0, 33)})),
            "row 0 of the shard has 33 ids, the model takes 32");
  Row nothing = test_row(0);
  nothing.span_end = nothing.span_begin;
  EXPECT_EQ(message(shard_of(params, {nothing})), "a row has no completion to mask");
  Params other = params;
  other.n_heads = 8;
  EXPECT_EQ(message(shard_of(other, {test_row(0)})),
            "a head_importance shard for another model shape");
  Shard unknown = shard_of(params, {test_row(0)});
  unknown.kind = "divination";
  EXPECT_NE(message(unknown).find("\"divination\""), std::string::npos);
}

TEST(HeadImportance, ProgressGrowsToOneAndMayStopTheComputation) {
  const models::Model model = test_model(false);
  const Shard shard = shard_of(params_for(model), {test_row(0)}, 2);
  std::vector<double> seen;
  experiments::run(shard, model, [&](double share) { seen.push_back(share); });
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_DOUBLE_EQ(seen.back(), 1);
  EXPECT_THROW(experiments::run(shard, model, [](double) { throw Error("stop"); }), Error);
}

TEST(HeadImportance, ADeviceThatHoldsNoMoreThanCheckpointsGivesTheSameBits) {
  const models::Model model = test_model(false);
  const Shard shard = shard_of(params_for(model), {test_row(0)}, 2);
  const auto on = [&](uint64_t bytes) {
    return encode(experiments::run(shard, model, [](double) {}, {.bytes = bytes}));
  };
  EXPECT_EQ(on(1), on(24'000'000'000));
}

/// The built-in model's masked training problems.
std::vector<Row> addition_rows(uint64_t count) {
  const datasets::addition::Stream stream(datasets::addition::Split::kTrain, 1);
  std::vector<Row> rows;
  for (uint64_t i = 0; i < count; ++i) rows.push_back(datasets::addition::row(stream(i), 1));
  datasets::assign_ids(rows);
  return rows;
}

/// The diagonal vector of a row by Gauss-Legendre on panels that shrink geometrically towards zero,
/// where J of the built-in model is steep: [ratio, 1], [ratio^2, ratio], ..., [0, ratio^(panels -
/// 1)].
std::vector<double> composite(const models::Model& model, const Row& row, const Params& params,
                              int panels, double ratio) {
  const auto n_heads = static_cast<size_t>(params.n_selected());
  std::vector<double> total(n_heads);
  const GaussLegendre rule = gauss_legendre(16);
  const Example example =
      masked_example(row, {.seed = 3, .row_id = row.id, .probability = *params.mask_prob},
                     static_cast<int32_t>(params.mask_id), true);
  const std::vector<const Example*> asked(rule.x.size(), &example);
  double hi = 1;
  for (int panel = 0; panel < panels; ++panel) {
    const double lo = panel + 1 == panels ? 0 : hi * ratio;
    std::vector<double> gates;
    for (const double x : rule.x) gates.insert(gates.end(), n_heads, lo + (hi - lo) * x);
    const std::vector<double> grad = to_vector(
        models::gate_gradient(model, make_batch(asked, model),
                              make_gates(gates, static_cast<int64_t>(rule.x.size()), model))
            .grad);
    for (size_t i = 0; i < rule.x.size(); ++i) {
      for (size_t head = 0; head < n_heads; ++head)
        total[head] += rule.weight[i] * (hi - lo) * grad[i * n_heads + head];
    }
    hi = lo;
  }
  return total;
}

TEST(HeadImportance, PositiveMeansThatRemovingTheHeadLowersTheLikelihood) {
  const std::string directory = models::builtin_directory() + "/addition";
  if (!std::filesystem::exists(directory + "/config.json"))
    GTEST_SKIP() << directory << " is not on this machine";
  const models::Model model =
      models::load(models::open_model("builtin:addition"), at::kFloat, at::kCPU);
  Params params = params_for(model);
  params.mask_id = model.config.mask_id;
  const std::vector<Row> rows = addition_rows(8);
  const Result result = run_quietly(shard_of(params, rows, 64), model);
  std::vector<double> mean(static_cast<size_t>(params.n_selected()));
  for (size_t row = 0; row < rows.size(); ++row) {
    const std::vector<double> ig = of_row(array(result, "ig"), row);
    for (size_t head = 0; head < ig.size(); ++head) mean[head] += ig[head];
  }
  const auto top = std::max_element(mean.begin(), mean.end()) - mean.begin();
  EXPECT_GT(std::accumulate(mean.begin(), mean.end(), 0.0), 0);

  double whole = 0, without = 0;
  for (const Row& row : rows) {
    const Example example =
        masked_example(row, {.seed = 3, .row_id = row.id, .probability = *params.mask_prob},
                       static_cast<int32_t>(params.mask_id), true);
    const Example* const asked[] = {&example};
    const models::Batch batch = make_batch(asked, model);
    std::vector<double> gates(mean.size(), 1.0);
    whole += to_vector(models::score(model, batch, make_gates(gates, 1, model)))[0];
    gates[static_cast<size_t>(top)] = 0;
    without += to_vector(models::score(model, batch, make_gates(gates, 1, model)))[0];
  }
  EXPECT_LT(without, whole);
}

/// The mean vector of the only shard of this stage on the built-in model, and of what brute force
/// finds there.
struct Compared {
  double error = 0;
  double unconverged = 0;
};
Compared against_brute_force(const std::string& keys) {
  const Prepared made = prepare(R"(name = "x"
[models.m]
path = "builtin:addition"
[datasets.d]
task = "addition"
split = "train"
rows = 8
[[stage]]
name = "s"
kind = "head_importance"
mask_probs = [0.3]
mask_samples = 1
)" + keys,
                                "x.toml", ".");
  HC_CHECK(made.sweep.has_value() && count(made.sweep->stages[0]) == 1);
  const Shard only = shard(made.sweep->stages[0], 0);
  const models::Model model =
      models::load(models::open_model("builtin:addition"), at::kFloat, at::kCPU);
  const Result result = run_quietly(only, model);
  const Integrand asked = integrand(only, model, {});
  const NamedArray& ig = array(result, "ig");
  std::vector<double> mean(static_cast<size_t>(asked.integration.n_gates)), exact(mean.size());
  for (int64_t row = 0; row < 8; ++row) {
    const BruteForce witness = brute_force(asked.integration, asked.score, row, 0, 1e-3);
    const std::vector<double> found = of_row(ig, static_cast<size_t>(row));
    for (size_t head = 0; head < mean.size(); ++head) {
      mean[head] += found[head];
      exact[head] += witness.ig[head];
    }
  }
  Compared compared{.error = relative_l2(mean, exact)};
  for (const NamedArray& one : result.arrays) {
    if (one.name == "unconverged")
      compared.unconverged = std::accumulate(one.data.begin(), one.data.end(), 0.0);
  }
  return compared;
}

TEST(HeadImportance, ASpecThatNamesNoRuleIsWithinTwoPercentWhereEightTrapezoidsAreNowhere) {
  if (!std::filesystem::exists(models::builtin_directory() + "/addition/config.json"))
    GTEST_SKIP() << models::builtin_directory() << "/addition is not on this machine";
  const Compared silent = against_brute_force("");
  const Compared trapezoid = against_brute_force("quadrature = \"trapezoid\"\nig_steps = 8\n");
  std::printf("of brute force: the default %.2f %% off, trapezoid %.0f %%\n", 100 * silent.error,
              100 * trapezoid.error);
  EXPECT_LT(silent.error, 0.02);
  EXPECT_EQ(silent.unconverged, 0);
  EXPECT_GT(trapezoid.error, 1);
}

TEST(HeadImportance, AdaptiveOnTheBuiltinModelIsWithinTwoPerMilleOfAConvergedCompositeRule) {
  const std::string directory = models::builtin_directory() + "/addition";
  if (!std::filesystem::exists(directory + "/config.json"))
    GTEST_SKIP() << directory << " is not on this machine";
  const models::ModelFiles files = models::open_model("builtin:addition");
  const models::Model single = models::load(files, at::kFloat, at::kCPU);
  const models::Model exact = models::load(files, at::kDouble, at::kCPU);
  const std::vector<Row> rows = addition_rows(4);
  Params params = params_for(single);
  params.mask_id = single.config.mask_id;
  params.mask_prob = 0.7;
  params.tol = 1e-3;
  const Result result = run_quietly(shard_of(params, rows, 64), single);

  const auto n_rows = static_cast<double>(rows.size());
  std::vector<double> mean(static_cast<size_t>(params.n_selected())), converged(mean.size());
  double climb = 0, evaluations = 0;
  for (size_t row = 0; row < rows.size(); ++row) {
    const std::vector<double> ig = of_row(array(result, "ig"), row);
    const std::vector<double> witness = composite(exact, rows[row], params, 40, 0.85);
    if (row == 0) {
      EXPECT_LT(relative_l2(composite(exact, rows[row], params, 30, 0.8), witness), 3e-4);
    }
    for (size_t head = 0; head < ig.size(); ++head) {
      mean[head] += ig[head] / n_rows;
      converged[head] += witness[head] / n_rows;
    }
    climb +=
        (array(result, "score_one").data[row] - array(result, "score_base").data[row]) / n_rows;
    evaluations += array(result, "evaluations").data[row] / n_rows;
    EXPECT_EQ(array(result, "unconverged").data[row], 0);
  }
  const double error = relative_l2(mean, converged);
  const double residual =
      std::abs(std::accumulate(mean.begin(), mean.end(), 0.0) - climb) / std::abs(climb);
  EXPECT_LT(error, 2e-3);
  EXPECT_LT(residual, 1e-3);
  std::printf("adaptive at 1e-3: relative L2 %.2e, residual %.2e, %.0f evaluations a row\n", error,
              residual, evaluations);
}

}  // namespace
}  // namespace headcount::experiments::head_importance
