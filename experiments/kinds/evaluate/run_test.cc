// evaluate shards: losses against the stories260K witness, greedy unmasking and choices against
// plain one-row computations.
#include <ATen/ops/log_softmax.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/plan_summary.h"
#include "experiments/run/batch.h"
#include "experiments/run/test_model.h"
#include "models/likelihood.h"

namespace headcount::experiments::evaluate {
namespace {

Params params_for(const models::Model& model, Question question) {
  Params params;
  params.n_layers = model.config.n_layers;
  params.n_heads = model.config.n_heads;
  params.question = question;
  if (!model.config.causal) params.mask_id = model.config.mask_id;
  if (question == Question::kMaskedCe) params.mask_prob = 0.5;
  return params;
}

Shard shard_of(const Params& params, std::vector<Row> rows, int64_t micro_batch = 3) {
  return {.kind = "evaluate",
          .numerics_version = kNumericsVersion,
          .model = {},
          .dtype = "float64",
          .params = to_fields(params),
          .seed = 3,
          .micro_batch = micro_batch,
          .rows = std::move(rows)};
}

/// Log-probabilities of every token at one position of one sequence, with gates of one.
std::vector<double> log_probs(const models::Model& model, const std::vector<int32_t>& ids,
                              int32_t position) {
  const Example example{.ids = ids, .position = {position}, .target = {0}};
  const Example* const asked[] = {&example};
  return to_vector(at::log_softmax(models::logits(model, make_batch(asked, model), {}), 1));
}

TEST(Evaluate, LossesOfStories260KAreThePublishedOnes) {
  const std::string directory = shared_file("data/weights/stories260K");
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << directory << " is not on this machine";
  std::ifstream file(directory + "/golden_nll.json");
  const nlohmann::json golden = nlohmann::json::parse(file);
  Row row;
  row.ids = golden["ids"].get<std::vector<int32_t>>();
  const auto nll = golden["nll"].get<std::vector<double>>();
  // 255 targets: each id but the first is what the one before must predict.
  row.labels.assign(row.ids.begin() + 1, row.ids.end());
  row.labels.push_back(kIgnore);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-7}, std::pair{at::kFloat, 2e-4}}) {
    const models::Model model = models::load(models::open_model(directory), dtype, at::kCPU);
    // Every 17th target alone, then all of them.
    std::vector<Row> rows;
    for (size_t i = 0; i < nll.size(); i += 17) {
      rows.push_back(row);
      rows.back().labels.assign(row.ids.size(), kIgnore);
      rows.back().labels[i] = row.labels[i];
    }
    rows.push_back(row);
    const Result result =
        run_quietly(shard_of(params_for(model, Question::kNextToken), rows, 8), model);
    for (size_t i = 0; i + 1 < rows.size(); ++i)
      EXPECT_NEAR(array(result, "nll").data[i], nll[17 * i], tolerance);
    EXPECT_EQ(array(result, "tokens").data.back(), 255);
    EXPECT_NEAR(array(result, "nll").data.back() / 255, golden["mean_nll"].get<double>(),
                tolerance);
  }
}

TEST(Evaluate, LabelsOfARowAreWhatItsUnshiftedLogitsPredict) {
  models::Model model = test_model(false);
  const auto losses = [&] {
    return run_quietly(shard_of(params_for(model, Question::kNextToken), {labelled_row(1)}), model);
  };
  const Result raw = losses();
  model.config.shifted = true;  // Dream
  EXPECT_EQ(encode(losses()), encode(raw));
}

TEST(Evaluate, YieldsThePlannedArrays) {
  const models::Model masked = test_model(false), causal = test_model(true);
  Row with_choices = test_row(0);
  with_choices.choices = {{1}, {2, 3}, {4}};
  with_choices.choice_at = 5;
  const auto expect_planned = [](const models::Model& model, Question question, const Row& row) {
    const Shard shard = shard_of(params_for(model, question), {row, row, row, row, row});
    EXPECT_EQ(mismatch(run_quietly(shard, model), arrays(shard)), "");
  };
  expect_planned(masked, Question::kMaskedCe, test_row(0));
  expect_planned(masked, Question::kExactMatch, test_row(0));
  expect_planned(masked, Question::kChoices, with_choices);
  expect_planned(causal, Question::kNextToken, labelled_row(0));
  expect_planned(causal, Question::kExactMatch, labelled_row(0));
  expect_planned(causal, Question::kChoices, with_choices);
}

TEST(Evaluate, MaskedLossIsTheCrossEntropyOfTheMaskedTokens) {
  const models::Model model = test_model(false);
  const std::vector<Row> rows = {test_row(0), test_row(1, 14)};
  const Result result = run_quietly(shard_of(params_for(model, Question::kMaskedCe), rows), model);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto masked = masked_positions({.seed = 3, .row_id = rows[i].id, .probability = 0.5},
                                         rows[i].span_begin, rows[i].span_end);
    std::vector<int32_t> ids = rows[i].ids;
    for (const int32_t position : masked) ids[static_cast<size_t>(position)] = kTestMask;
    double nll = 0;
    for (const int32_t position : masked)
      nll -= log_probs(model, ids,
                       position)[static_cast<size_t>(rows[i].ids[static_cast<size_t>(position)])];
    EXPECT_NEAR(array(result, "nll").data[i], nll, 1e-12);
    EXPECT_EQ(array(result, "tokens").data[i], static_cast<double>(masked.size()));
  }
}

/// Greedy unmasking of one row, step by step.
std::vector<int32_t> unmasked(const models::Model& model, const Row& row) {
  std::vector<int32_t> ids = row.ids;
  std::fill(ids.begin() + row.span_begin, ids.begin() + row.span_end, kTestMask);
  for (int32_t step = row.span_begin; step < row.span_end; ++step) {
    float surest = -1;
    int32_t at = -1, token = -1;
    for (int32_t position = row.span_begin; position < row.span_end; ++position) {
      if (ids[static_cast<size_t>(position)] != kTestMask) continue;
      std::vector<double> log_p = log_probs(model, ids, position);
      double rest = 0;
      for (int32_t id = 0; id < kTestMask; ++id) rest += std::exp(log_p[static_cast<size_t>(id)]);
      const auto best = std::max_element(log_p.begin(), log_p.begin() + kTestMask);
      const auto probability = static_cast<float>(std::exp(*best) / rest);
      if (probability <= surest) continue;
      surest = probability;
      at = position;
      token = static_cast<int32_t>(best - log_p.begin());
    }
    ids[static_cast<size_t>(at)] = token;
  }
  return ids;
}

TEST(Evaluate, ExactMatchIsGreedyUnmaskingSurestFirst) {
  const models::Model model = test_model(false);
  std::vector<Row> rows;
  std::vector<double> expected;
  for (int32_t i = 0; i < 4; ++i) {
    // Once with whatever the row holds, once with what the model itself writes.
    Row row = test_row(i, 8 + static_cast<size_t>(i));
    rows.push_back(row);
    expected.push_back(unmasked(model, row) == row.ids ? 1 : 0);
    row.ids = unmasked(model, row);
    rows.push_back(row);
    expected.push_back(1);
  }
  EXPECT_EQ(std::count(expected.begin(), expected.end(), 1), 4);
  const Result result =
      run_quietly(shard_of(params_for(model, Question::kExactMatch), rows), model);
  EXPECT_EQ(array(result, "match").data, expected);
}

TEST(Evaluate, ExactMatchOfACausalModelIsItsGreedyContinuation) {
  const models::Model model = test_model(true);
  std::vector<Row> rows;
  for (const bool greedy : {true, false}) {
    Row row = labelled_row(1);
    for (size_t t = 4; t + 1 < row.ids.size(); ++t) {
      const std::vector<double> log_p =
          log_probs(model, {row.ids.begin(), row.ids.begin() + static_cast<std::ptrdiff_t>(t) + 1},
                    static_cast<int32_t>(t));
      const auto best =
          static_cast<int32_t>(std::max_element(log_p.begin(), log_p.end()) - log_p.begin());
      row.ids[t + 1] = greedy || t != 6 ? best : (best + 1) % 15;
      row.labels[t] = row.ids[t + 1];
    }
    rows.push_back(row);
  }
  const Result result =
      run_quietly(shard_of(params_for(model, Question::kExactMatch), rows), model);
  EXPECT_EQ(array(result, "match").data, (std::vector<double>{1, 0}));
}

TEST(Evaluate, ChoicesOfACausalModelContinueTheRow) {
  const models::Model model = test_model(true);
  Row row = test_row(2);
  row.choices = {{7}, {3, 8, 1}};
  row.choice_at = static_cast<int32_t>(row.ids.size());
  const Result result = run_quietly(shard_of(params_for(model, Question::kChoices), {row}), model);
  std::vector<int32_t> ids = row.ids;
  EXPECT_NEAR(array(result, "log_prob").data[0], log_probs(model, ids, 8)[7], 1e-12);
  double sum = 0;
  for (const int32_t token : row.choices[1]) {
    sum += log_probs(model, ids, static_cast<int32_t>(ids.size()) - 1)[static_cast<size_t>(token)];
    ids.push_back(token);
  }
  EXPECT_NEAR(array(result, "log_prob").data[1], sum, 1e-12);
}

TEST(Evaluate, ChoicesOfAMaskedModelAreReadInPlaceWithTheirPositionsMasked) {
  const models::Model model = test_model(false);
  Row row = test_row(2), shorter = test_row(1);
  row.choices = {{7}, {3, 8}, {9}};
  row.choice_at = 5;
  shorter.choices = {{1}, {2}};
  shorter.choice_at = static_cast<int32_t>(shorter.ids.size());
  const Result result =
      run_quietly(shard_of(params_for(model, Question::kChoices), {row, shorter}), model);
  const std::vector<double>& scores = array(result, "log_prob").data;
  std::vector<int32_t> ids = row.ids;
  ids[5] = kTestMask;
  EXPECT_NEAR(scores[0], log_probs(model, ids, 5)[7], 1e-12);
  EXPECT_NEAR(scores[2], log_probs(model, ids, 5)[9], 1e-12);
  ids[6] = kTestMask;
  EXPECT_NEAR(scores[1], log_probs(model, ids, 5)[3] + log_probs(model, ids, 6)[8], 1e-12);
  ids = shorter.ids;
  ids.push_back(kTestMask);
  EXPECT_NEAR(scores[3], log_probs(model, ids, 9)[1], 1e-12);
  EXPECT_NEAR(scores[4], log_probs(model, ids, 9)[2], 1e-12);
  EXPECT_EQ(scores[5], 0);
}

TEST(Evaluate, ChoicesOfAMaskedModelMayHaveMoreTokensThanTheRow) {
  const models::Model model = test_model(false);
  Row row = test_row(2, 8);
  row.choices = {{7, 1, 2, 3, 4}, {3, 8, 9, 0, 1}, {5, 5, 6, 6, 7}, {2, 4, 8, 1, 3}};
  row.choice_at = static_cast<int32_t>(row.ids.size());
  const Result result = run_quietly(shard_of(params_for(model, Question::kChoices), {row}), model);
  std::vector<int32_t> ids = row.ids;
  ids.resize(ids.size() + 5, kTestMask);
  for (size_t k = 0; k < row.choices.size(); ++k) {
    double sum = 0;
    for (size_t t = 0; t < 5; ++t) {
      const auto position = row.choice_at + static_cast<int32_t>(t);
      sum += log_probs(model, ids, position)[static_cast<size_t>(row.choices[k][t])];
    }
    EXPECT_NEAR(array(result, "log_prob").data[k], sum, 1e-12) << k;
  }
}

TEST(Evaluate, ChoicesOfSeveralTokensAreEstimatedByDrawnMasks) {
  const models::Model model = test_model(false);
  Row row = test_row(2);
  row.choices = {{7}, {3, 8}};
  row.choice_at = 5;
  Params params = params_for(model, Question::kChoices);
  params.mc_samples = 4096;
  const Result result = run_quietly(shard_of(params, {row}), model);
  const std::vector<double>& scores = array(result, "log_prob").data;
  const auto at = [&](std::vector<int32_t> ids, int32_t position, size_t token) {
    return log_probs(model, ids, position)[token];
  };
  std::vector<int32_t> ids = row.ids;
  ids[5] = kTestMask;
  EXPECT_NEAR(scores[0], at(ids, 5, 7), 1e-12);
  // Both orders of writing two tokens: first one with both masked, then the other with it there.
  ids[6] = kTestMask;
  std::vector<int32_t> first = ids, second = ids;
  first[5] = 3;
  second[6] = 8;
  const double bound = (at(ids, 5, 3) + at(first, 6, 8) + at(ids, 6, 8) + at(second, 5, 3)) / 2;
  EXPECT_NEAR(scores[1], bound, 0.05);
  EXPECT_GT(std::abs(at(ids, 5, 3) + at(ids, 6, 8) - bound), 0.1) << "one pass is as good here";
  EXPECT_EQ(array(run_quietly(shard_of(params, {row}), model), "log_prob").data, scores);
}

TEST(Evaluate, APlanCountsTheMasksThatAChoiceIsScoredBy) {
  const models::Model model = test_model(false);
  Row row = test_row(2);
  row.choices = {{7, 1, 3}, {4}, {5}};
  row.choice_at = 4;
  Params params = params_for(model, Question::kChoices);
  for (const int64_t mc_samples : {1, 5, 32, 40, 128}) {
    params.mc_samples = mc_samples;
    const models::Stretch stretch{.ids = row.ids, .begin = 4, .end = 7};
    const auto scored = models::log_likelihoods(model, {stretch},
                                                {.mc_samples = mc_samples, .stratum = kMcStratum});
    EXPECT_EQ(passes(shard_of(params, {row})).forward, scored[0].n_passes + 1) << mc_samples;
  }
  params.mc_samples = 0;
  EXPECT_EQ(passes(shard_of(params, {row})).forward, 2);
}

TEST(Evaluate, PrunedHeadsHaveGateZero) {
  const models::Model model = test_model(false);
  Params params = params_for(model, Question::kMaskedCe);
  const std::vector<Row> rows = {test_row(0), test_row(1, 14)};
  const double whole = array(run_quietly(shard_of(params, rows), model), "nll").data[0];
  params.pruned = {1, 6};
  const double pruned = array(run_quietly(shard_of(params, rows), model), "nll").data[0];
  EXPECT_GT(std::abs(pruned - whole), 1e-3);

  models::Model cut = test_model(false);  // heads 1 of layer 0 and 2 of layer 1 cut out of W_O
  cut.weights.layers[0].o.narrow(1, 4, 4).zero_();
  cut.weights.layers[1].o.narrow(1, 8, 4).zero_();
  params.pruned = {};
  EXPECT_NEAR(array(run_quietly(shard_of(params, rows), cut), "nll").data[0], pruned, 1e-12);
}

}  // namespace
}  // namespace headcount::experiments::evaluate
