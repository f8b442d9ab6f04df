// The results of three fixed shards of every computation, kept in tests/numerics/<kind>.json:
// numbers that move while the kind's numerics version stands still would mix old and new results
// under one key.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "experiments/kinds/evaluate/evaluate.h"
#include "experiments/kinds/head_importance/head_importance.h"
#include "experiments/run/test_model.h"

namespace headcount::experiments {
namespace {

using nlohmann::ordered_json;

struct Fixed {
  std::string kind;
  int64_t version = 0;
  std::vector<Shard> shards{};
};

std::vector<Row> rows_with_choices() {
  std::vector<Row> rows = {test_row(0), test_row(1, 12)};
  for (Row& row : rows) {
    row.choices = {{1}, {2, 3}, {4}};
    row.choice_at = row.span_begin;
  }
  return rows;
}

Shard shard_of(const std::string& kind, int64_t version, Fields params, std::vector<Row> rows) {
  return {.kind = kind,
          .numerics_version = version,
          .model = {},
          .dtype = "float64",
          .params = std::move(params),
          .seed = 20261120,
          .micro_batch = 8,
          .rows = std::move(rows)};
}

Fixed importance_shards() {
  using namespace head_importance;
  Params diagonal;
  diagonal.n_layers = 2;
  diagonal.n_heads = 4;
  diagonal.layer_last = 1;
  diagonal.mask_prob = 0.5;
  diagonal.mask_id = kTestMask;
  diagonal.quadrature = Rule::kTrapezoid;
  diagonal.ig_steps = 8;
  Params stochastic = diagonal;
  stochastic.path_mode = PathMode::kStochasticThreshold;
  stochastic.path_first = stochastic.path_count = stochastic.path_block = 4;
  stochastic.baseline = 0.1;
  stochastic.sum = true;
  Params adaptive = diagonal;
  adaptive.quadrature = Rule::kAdaptive;
  adaptive.ig_steps = 4;
  adaptive.draw = 1;
  adaptive.max_evaluations = 257;
  Fixed fixed{.kind = "head_importance", .version = kNumericsVersion};
  for (const Params& params : {diagonal, stochastic, adaptive})
    fixed.shards.push_back(
        shard_of(fixed.kind, fixed.version, to_fields(params), {test_row(0), test_row(1, 12)}));
  return fixed;
}

Fixed evaluate_shards() {
  using namespace evaluate;
  Fixed fixed{.kind = "evaluate", .version = kNumericsVersion};
  for (const Question question : {Question::kMaskedCe, Question::kExactMatch, Question::kChoices}) {
    Params params;
    params.n_layers = 2;
    params.n_heads = 4;
    params.question = question;
    params.mask_id = kTestMask;
    params.pruned = {2, 5};
    if (question == Question::kMaskedCe) params.mask_prob = 0.3;
    fixed.shards.push_back(
        shard_of(fixed.kind, fixed.version, to_fields(params), rows_with_choices()));
  }
  return fixed;
}

ordered_json to_json_value(const Result& result) {
  ordered_json arrays = ordered_json::object();
  for (const NamedArray& a : result.arrays) arrays[a.name] = {{"shape", a.shape}, {"data", a.data}};
  return arrays;
}

void expect_stored(const Fixed& fixed) {
  const std::string path = HEADCOUNT_SOURCE_DIR "/tests/numerics/" + fixed.kind + ".json";
  const models::Model model = test_model(false);
  if (std::getenv("HEADCOUNT_WRITE_NUMERICS")) {
    ordered_json shards = ordered_json::array();
    for (const Shard& shard : fixed.shards)
      shards.push_back(
          {{"key", to_hex(key(shard))}, {"arrays", to_json_value(run_quietly(shard, model))}});
    std::ofstream(path)
        << ordered_json{{"numerics_version", fixed.version}, {"shards", shards}}.dump(1) << "\n";
  }
  std::ifstream file(path);
  ASSERT_TRUE(file) << path << " is missing: run this test with HEADCOUNT_WRITE_NUMERICS=1";
  const ordered_json stored = ordered_json::parse(file);
  const std::string advice =
      "numbers of kind " + fixed.kind +
      " moved: if that is meant, raise kNumericsVersion in experiments/kinds/" + fixed.kind + "/" +
      fixed.kind + ".h and run this test once with HEADCOUNT_WRITE_NUMERICS=1";
  ASSERT_EQ(stored["numerics_version"], fixed.version)
      << path << " is of another version: run this test once with HEADCOUNT_WRITE_NUMERICS=1";
  ASSERT_EQ(stored["shards"].size(), fixed.shards.size());
  for (size_t i = 0; i < fixed.shards.size(); ++i) {
    EXPECT_EQ(stored["shards"][i]["key"], to_hex(key(fixed.shards[i]))) << advice;
    const Result result = run_quietly(fixed.shards[i], model);
    const ordered_json& arrays = stored["shards"][i]["arrays"];
    ASSERT_EQ(arrays.size(), result.arrays.size()) << advice;
    for (const NamedArray& a : result.arrays) {
      ASSERT_TRUE(arrays.contains(a.name)) << advice;
      ASSERT_EQ(arrays[a.name]["shape"].get<std::vector<int64_t>>(), a.shape) << advice;
      const auto expected = arrays[a.name]["data"].get<std::vector<double>>();
      for (size_t k = 0; k < expected.size(); ++k)
        EXPECT_NEAR(a.data[k], expected[k], 1e-9 * std::max(1.0, std::abs(expected[k])))
            << a.name << "[" << k << "] of shard " << i << ": " << advice;
    }
  }
}

TEST(Numerics, OfHeadImportanceMoveOnlyWithTheirVersion) { expect_stored(importance_shards()); }
TEST(Numerics, OfEvaluateMoveOnlyWithTheirVersion) { expect_stored(evaluate_shards()); }

}  // namespace
}  // namespace headcount::experiments
