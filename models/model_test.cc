// Models against outside witnesses (LLaDA goldens, stories260K) and against the laws gates obey.
#include "models/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/files/tokenizer.h"
#include "models/generate.h"
#include "models/transformer.h"

namespace headcount::models {
namespace {

using nlohmann::json;

std::string shared(const std::string& path) {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return (given != nullptr ? std::string(given)
                           : std::string(HEADCOUNT_SOURCE_DIR) + "/../shared") +
         "/" + path;
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not on this machine"

json read_json(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

at::Tensor to_tensor(const std::vector<int64_t>& values) { return at::tensor(values, at::kLong); }

at::Tensor matrix(const json& rows) {
  std::vector<double> flat;
  for (const json& row : rows) {
    for (const json& value : row) flat.push_back(value);
  }
  const auto n = static_cast<int64_t>(rows.size());
  return at::tensor(flat, at::kDouble).reshape({n, -1});
}

double max_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

/// One sequence, mean loss over the given (position, token) pairs.
Batch one_sequence(const std::vector<int64_t>& ids,
                   const std::vector<std::pair<int64_t, int64_t>>& supervised) {
  std::vector<int64_t> positions, targets;
  for (const auto& [position, token] : supervised) {
    positions.push_back(position);
    targets.push_back(token);
  }
  const auto n = static_cast<int64_t>(supervised.size());
  return {.ids = to_tensor(ids).unsqueeze(0),
          .lengths = {},
          .sample = at::zeros({n}, at::kLong),
          .position = to_tensor(positions),
          .target = to_tensor(targets),
          .weight = at::full({n}, 1.0 / static_cast<double>(n), at::kDouble)};
}

struct LladaCase {
  double logits, loss, gradient;
  at::ScalarType dtype;
};

class LladaGolden : public testing::TestWithParam<LladaCase> {};

TEST_P(LladaGolden, LogitsLossesAndGateGradientsAgreeWithThePublishedCode) {
  const std::string directory = shared("data/goldens/llada");
  SKIP_WITHOUT(directory);
  const LladaCase limit = GetParam();
  const Model model = load(open_model(directory), limit.dtype, at::kCPU);
  const json golden = read_json(directory + "/golden.json");
  std::map<std::string, Batch> batches;
  for (const json& s : golden["sequences"]) {
    const Batch batch = one_sequence(s["input_ids"], s["supervised_row_token"]);
    batches[s["name"]] = batch;
    EXPECT_NEAR(score(model, batch, {}).item<double>(), -s["mean_nll"].get<double>(), limit.loss);

    const std::vector<int64_t> ids = s["input_ids"];
    std::vector<std::pair<int64_t, int64_t>> every;
    for (size_t i = 0; i < ids.size(); ++i) every.emplace_back(i, 0);
    const at::Tensor rows = logits(model, one_sequence(ids, every), {});
    const std::vector<int64_t> positions = s["sample_positions"], vocabulary = s["sample_vocab"];
    EXPECT_LE(max_difference(
                  rows.index_select(0, to_tensor(positions)).index_select(1, to_tensor(vocabulary)),
                  matrix(s["sample_logits"])),
              limit.logits);
    EXPECT_LE(
        max_difference(rows.select(0, -1), matrix(json::array({s["last_logits"]})).squeeze(0)),
        limit.logits);
    EXPECT_TRUE(rows.argmax(-1).equal(to_tensor(s["argmax"])));
  }
  for (const json& point : golden["head_gates"]["points"]) {
    const Batch& batch = batches.at(point["sequence"]);
    const at::Tensor ones = at::ones({1, model.config.n_layers, model.config.n_heads}, at::kDouble);
    const std::pair<const char*, at::Tensor> gates[] = {
        {"ones", ones},
        {"half", ones * 0.5},
        {"nonuniform", matrix(point["nonuniform"]["gates"]).unsqueeze(0)}};
    for (const auto& [name, gate] : gates) {
      const GateGradient found = gate_gradient(model, batch, gate);
      EXPECT_NEAR(found.score.item<double>(), point[name]["J"].get<double>(), limit.loss) << name;
      EXPECT_LE(max_difference(found.grad.squeeze(0), matrix(point[name]["grad"])), limit.gradient)
          << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, LladaGolden,
                         testing::Values(LladaCase{1e-10, 1e-12, 1e-10, at::kDouble},
                                         LladaCase{1e-4, 2e-5, 5e-5, at::kFloat}),
                         [](const auto& given) {
                           return given.param.dtype == at::kDouble ? "Float64" : "Float32";
                         });

TEST(Stories260K, LossesAgreeWithAnIndependentProgram) {
  const std::string directory = shared("data/weights/stories260K");
  SKIP_WITHOUT(directory);
  const json golden = read_json(directory + "/golden_nll.json");
  const std::vector<int64_t> ids = golden["ids"];
  std::vector<std::pair<int64_t, int64_t>> next;
  for (size_t i = 0; i + 1 < ids.size(); ++i) next.emplace_back(i, ids[i + 1]);
  next.emplace_back(ids.size() - 1, 0);
  const at::Tensor nll = matrix(json::array({golden["nll"]})).squeeze(0);
  const at::Tensor last = matrix(json::array({golden["last_logits"]})).squeeze(0);
  for (const auto& [dtype, limit] : {std::pair{at::kDouble, 1e-7}, std::pair{at::kFloat, 2e-4}}) {
    const Model model = load(open_model(directory), dtype, at::kCPU);
    const Batch batch = one_sequence(ids, next);
    const at::Tensor found = -target_log_probs(model, batch, {});
    EXPECT_LE(max_difference(found.narrow(0, 0, 255), nll), limit);
    EXPECT_LE(max_difference(logits(model, batch, {}).select(0, 255), last),
              dtype == at::kDouble ? 1e-6 : 2e-4);
  }
}

TEST(Stories260K, TellsTheStoryLlama2cTellsGreedily) {
  const std::string directory = shared("data/weights/stories260K");
  SKIP_WITHOUT(directory);
  const ModelFiles files = open_model(directory);
  const Model model = load(files, at::kFloat, at::kCPU);
  const Tokenizer tokenizer = Tokenizer::open(files.tokenizer, files.config.vocab_size);
  std::ifstream file(directory + "/golden_greedy_n200.txt");
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(tokenizer.decode(greedy(model, tokenizer.encode("", true), 200)), golden);
}

}  // namespace
}  // namespace headcount::models
