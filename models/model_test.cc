// Models against outside witnesses (LLaDA goldens, stories260K) and against the laws gates obey.
#include "models/model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "models/generate.h"
#include "models/passes.h"
#include "models/test_models.h"
#include "models/tokenizers/tokenizer.h"
#include "models/transformer.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using nlohmann::json;

json read_json(const std::string& path) {
  std::ifstream file(path);
  return json::parse(file);
}

at::Tensor matrix(const json& rows) {
  std::vector<double> flat;
  for (const json& row : rows) {
    for (const json& value : row) flat.push_back(value);
  }
  const auto n = static_cast<int64_t>(rows.size());
  return at::tensor(flat, at::kDouble).reshape({n, -1});
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
  const Tokenizer tokenizer = Tokenizer::open(files.tokenizer);
  std::ifstream file(directory + "/golden_greedy_n200.txt");
  const std::string golden{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(tokenizer.decode(greedy(model, tokenizer.encode("", true), 200)), golden);
}

/// Row `b` of the batch on its own, without padding.
Batch row_of(const Batch& batch, int64_t b) {
  const at::Tensor own = batch.sample.eq(b).nonzero().squeeze(1);
  const auto pick = [&](const at::Tensor& t) { return t.index_select(0, own); };
  return {.ids = batch.ids[b].narrow(0, 0, batch.lengths[b].item<int64_t>()).unsqueeze(0),
          .lengths = {},
          .sample = at::zeros({own.size(0)}, at::kLong),
          .position = pick(batch.position),
          .target = pick(batch.target),
          .weight = pick(batch.weight)};
}

std::vector<Config> shapes() {
  Config causal = tiny_config();
  causal.causal = true;
  causal.rotary = RotaryStyle::kInterleaved;
  causal.tied_head = true;
  Config shallow = tiny_config();
  shallow.n_layers = 1;
  shallow.n_kv_heads = 6;
  Config wide_heads = tiny_config();
  wide_heads.n_layers = 2;
  wide_heads.n_heads = wide_heads.n_kv_heads = 2;
  wide_heads.d_model = 176;
  wide_heads.d_head = 88;
  return {tiny_config(), causal, shallow, wide_heads};
}

TEST(GateGradient, OfTheFastPathEqualsAutogradThroughThePlainOne) {
  for (const Config& config : shapes()) {
    for (const auto& [dtype, limit] :
         {std::pair{at::kDouble, 1e-10}, std::pair{at::kFloat, 2e-4}}) {
      const Model model = tiny_model(config, dtype);
      const Batch batch = ragged_batch(config);
      const at::Tensor gates = some_gates(config, 3);
      const GateGradient fast = gate_gradient(model, batch, gates),
                         plain = by_autograd(model, batch, gates);
      EXPECT_GT(plain.grad.abs().max().item<double>(), 0.01);
      EXPECT_LE(max_difference(fast.score, plain.score), limit);
      EXPECT_LE(max_difference(fast.grad, plain.grad), limit);
      EXPECT_LE(max_difference(logits(model, batch, gates), forward_logits(model, batch, gates)),
                limit);
    }
  }
}

/// A row of 8 context tokens and four choices of 5 tokens, as a masked model is asked: 13
/// positions, the last 5 of them supervised four times.
Batch four_choices(const Config& config) {
  constexpr int64_t kContext = 8, kChoice = 5, kChoices = 4;
  std::vector<int64_t> ids;
  for (int64_t t = 0; t < kContext; ++t) ids.push_back(t * 7 % (config.vocab_size - 1));
  ids.resize(kContext + kChoice, config.mask_id);
  std::vector<std::pair<int64_t, int64_t>> asked;
  for (int64_t i = 0; i < kChoices * kChoice; ++i)
    asked.emplace_back(kContext + i % kChoice, i * 5 % (config.vocab_size - 1));
  return one_sequence(ids, asked);
}

TEST(Choices, OfMoreTokensThanTheRowHasPositionsEqualThePlainTransformer) {
  for (const Config& config : shapes()) {
    const Model model = tiny_model(config, at::kDouble);
    const Batch batch = four_choices(config);
    ASSERT_GT(batch.position.size(0), batch.ids.size(1));
    const at::Tensor gates = some_gates(config, 1);
    const at::Tensor plain = forward_logits(model, batch, gates)
                                 .log_softmax(-1)
                                 .gather(1, batch.target.unsqueeze(1))
                                 .squeeze(1);
    EXPECT_LE(max_difference(target_log_probs(model, batch, gates), plain), 1e-10);
    EXPECT_LE(max_difference(score(model, batch, gates), forward_score(model, batch, gates)),
              1e-10);
    const at::Tensor aten =
        forward_pass(model, layout_of(model, batch), gates, aten_ops(), Keep::kHidden).hidden;
    EXPECT_LE(max_difference(aten, forward(model, batch, gates)), 1e-10);
    EXPECT_LE(max_difference(gate_gradient(model, batch, gates).grad,
                             by_autograd(model, batch, gates).grad),
              1e-10);
  }
}

TEST(GateGradient, OfABfloat16ModelIsNearTheFloat32One) {
  const Config config = tiny_config();
  const Model narrow = tiny_model(config, at::kBFloat16, 4);
  std::vector<at::Tensor> weights{narrow.weights.embedding.to(at::kFloat)};
  for (const LayerWeights& w : narrow.weights.layers) {
    for (const at::Tensor& t :
         {w.attn_norm.weight, w.q, w.k, w.v, w.o, w.mlp_norm.weight, w.gate, w.up, w.down})
      weights.push_back(t.to(at::kFloat));
  }
  weights.push_back(narrow.weights.final_norm.weight.to(at::kFloat));
  weights.push_back(narrow.weights.head.to(at::kFloat));
  const Model same = make_model(config, weights);
  const Batch batch = ragged_batch(config);
  const at::Tensor gates = some_gates(config, 3);
  const GateGradient found = gate_gradient(narrow, batch, gates),
                     exact = gate_gradient(same, batch, gates);
  const auto error = [](const at::Tensor& a, const at::Tensor& b) {
    return ((a - b).norm() / b.norm()).item<double>();
  };
  EXPECT_LE(error(found.score, exact.score), 0.01);
  EXPECT_LE(error(found.grad, exact.grad), 0.03);
  EXPECT_EQ(logits(narrow, batch, gates).scalar_type(), at::kFloat);
}

TEST(GateGradient, AgreesWithCentralDifferencesInFloat64) {
  const auto check = [](const Model& model, const Batch& batch, const at::Tensor& gates) {
    const at::Tensor grad = gate_gradient(model, batch, gates).grad;
    const double size = grad.abs().max().item<double>();
    constexpr double kStep = 1e-5;
    for (int64_t i = 0; i < gates.size(1) * gates.size(2); ++i) {
      at::Tensor up = gates.clone(), down = gates.clone();
      up.view({gates.size(0), -1}).select(1, i) += kStep;
      down.view({gates.size(0), -1}).select(1, i) -= kStep;
      const at::Tensor difference =
          (score(model, batch, up) - score(model, batch, down)) / (2 * kStep);
      EXPECT_LE(max_difference(difference, grad.reshape({gates.size(0), -1}).select(1, i)),
                1e-6 * size)
          << "gate " << i;
    }
  };
  const Config config = tiny_config();
  check(tiny_model(config, at::kDouble), ragged_batch(config), some_gates(config, 3));

  const std::string directory = shared("data/weights/stories260K");
  SKIP_WITHOUT(directory);
  const Model stories = load(open_model(directory), at::kDouble, at::kCPU);
  const json golden = read_json(directory + "/golden_nll.json");
  const std::vector<int64_t> all = golden["ids"];
  std::vector<std::pair<int64_t, int64_t>> next;
  for (size_t i = 0; i + 1 < 48; ++i) next.emplace_back(i, all[i + 1]);
  check(stories, one_sequence({all.begin(), all.begin() + 48}, next),
        some_gates(stories.config, 1));
}

TEST(Gates, OfOneChangeNothingBitForBit) {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const Config config = tiny_config();
    const Model model = tiny_model(config, dtype);
    const Batch batch = ragged_batch(config);
    const at::Tensor ones = at::ones({3, config.n_layers, config.n_heads}, at::kDouble);
    EXPECT_TRUE(score(model, batch, ones).equal(score(model, batch, {})));
    EXPECT_TRUE(gate_gradient(model, batch, ones).score.equal(score(model, batch, {})));
    EXPECT_TRUE(logits(model, batch, ones).equal(logits(model, batch, {})));
  }
}

TEST(Gates, TheSameCallGivesTheSameBits) {
  const Config config = tiny_config();
  const Model model = tiny_model(config, at::kFloat);
  const Batch batch = ragged_batch(config);
  const GateGradient first = gate_gradient(model, batch, some_gates(config, 3));
  for (int i = 0; i < 3; ++i) {
    const GateGradient again = gate_gradient(model, batch, some_gates(config, 3));
    EXPECT_TRUE(again.grad.equal(first.grad));
    EXPECT_TRUE(again.score.equal(first.score));
  }
}

TEST(Gates, OfADeadHeadHaveNoGradientAtAll) {
  const Config config = tiny_config();
  const Model model = tiny_model(config, at::kFloat);
  for (const LayerWeights& w : model.weights.layers)
    w.o.narrow(1, 4 * config.d_head, config.d_head).zero_();
  const at::Tensor grad = gate_gradient(model, ragged_batch(config), some_gates(config, 3)).grad;
  EXPECT_EQ(grad.select(2, 4).abs().max().item<double>(), 0);
  EXPECT_GT(grad.select(2, 3).abs().min().item<double>(), 0);
}

TEST(Gates, OfManySamplesAreThoseOfEachAloneAndPaddingIsNotSeen) {
  for (const Config& config : shapes()) {
    const Model model = tiny_model(config, at::kDouble);
    const Batch batch = ragged_batch(config);
    const at::Tensor gates = some_gates(config, 3);
    const GateGradient together = gate_gradient(model, batch, gates);
    for (int64_t b = 0; b < 3; ++b) {
      const GateGradient alone = gate_gradient(model, row_of(batch, b), gates.narrow(0, b, 1));
      EXPECT_LE(max_difference(alone.grad[0], together.grad[b]), 1e-12);
      EXPECT_LE(max_difference(alone.score[0], together.score[b]), 1e-12);
    }
    EXPECT_TRUE(gate_gradient(model, ragged_batch(config, 30), gates).grad.equal(together.grad))
        << "padding ids were read";
  }
}

TEST(Gates, OfASequenceWithNothingSupervisedScoreNothing) {
  const Config config = tiny_config();
  const Model model = tiny_model(config, at::kDouble);
  Batch batch = ragged_batch(config);
  const GateGradient all = gate_gradient(model, batch, some_gates(config, 3));
  const at::Tensor kept = batch.sample.ne(1).nonzero().squeeze(1);
  for (at::Tensor* t : {&batch.sample, &batch.position, &batch.target, &batch.weight}) {
    *t = t->index_select(0, kept);
  }
  const GateGradient some = gate_gradient(model, batch, some_gates(config, 3));
  EXPECT_EQ(some.score[1].item<double>(), 0);
  EXPECT_EQ(some.grad[1].abs().max().item<double>(), 0);
  EXPECT_LE(max_difference(some.grad[0], all.grad[0]), 1e-12);
  EXPECT_LE(max_difference(some.grad[2], all.grad[2]), 1e-12);

  const Layout layout = layout_of(model, batch);
  const Tape tape = forward_pass(model, layout, some_gates(config, 3), aten_ops(), Keep::kAll);
  const at::Tensor d_hidden = at::ones(tape.hidden.sizes(), at::kDouble);
  const at::Tensor plain =
      backward_pass(model, layout, some_gates(config, 3), aten_ops(), tape, d_hidden);
  EXPECT_EQ(plain[1].abs().max().item<double>(), 0);
  EXPECT_GT(plain[2].abs().max().item<double>(), 0);
}

TEST(Gates, FollowTheirHeadsWhenHeadsArePermuted) {
  Config config = tiny_config();
  config.n_kv_heads = config.n_heads;
  const Model model = tiny_model(config, at::kDouble);
  const at::Tensor order = to_tensor({3, 0, 5, 1, 4, 2});
  const at::Tensor columns =
      (order.unsqueeze(1) * config.d_head + at::arange(config.d_head, at::kLong)).flatten();
  std::vector<at::Tensor> weights{model.weights.embedding};
  for (const LayerWeights& w : model.weights.layers) {
    weights.insert(weights.end(),
                   {w.attn_norm.weight, w.q.index_select(0, columns), w.k.index_select(0, columns),
                    w.v.index_select(0, columns), w.o.index_select(1, columns), w.mlp_norm.weight,
                    w.gate, w.up, w.down});
  }
  weights.push_back(model.weights.final_norm.weight);
  weights.push_back(model.weights.head);
  const Batch batch = ragged_batch(config);
  const at::Tensor gates = some_gates(config, 3);
  const at::Tensor before = gate_gradient(model, batch, gates).grad;
  const at::Tensor after =
      gate_gradient(make_model(config, weights), batch, gates.index_select(2, order)).grad;
  EXPECT_LE(max_difference(after, before.index_select(2, order)), 1e-12);
}

TEST(Ops, InPlainAtenGiveWhatTheLoopsGive) {
  for (const Config& config : shapes()) {
    const Model model = tiny_model(config, at::kDouble);
    const Batch batch = ragged_batch(config);
    const Layout layout = layout_of(model, batch);
    const at::Tensor gates = some_gates(config, 3);
    const Tape loops =
        forward_pass(model, layout, gates, ops_for(model.weights.embedding), Keep::kAll);
    const Tape plain = forward_pass(model, layout, gates, aten_ops(), Keep::kAll);
    EXPECT_LE(max_difference(loops.hidden, plain.hidden), 1e-11);
    const at::Tensor d_hidden =
        at::ones(loops.hidden.sizes(), at::kDouble) * 0.1 + loops.hidden * 0.05;
    EXPECT_LE(max_difference(backward_pass(model, layout, gates, ops_for(model.weights.embedding),
                                           loops, d_hidden),
                             backward_pass(model, layout, gates, aten_ops(), plain, d_hidden)),
              1e-10);
    const at::Tensor rows = head_logits(model, loops.hidden);
    at::Tensor d_loops = at::zeros(rows.sizes(), at::kDouble), d_plain = d_loops.clone();
    at::Tensor p_loops = at::zeros({rows.size(0)}, at::kDouble), p_plain = p_loops.clone();
    ops_for(model.weights.embedding)
        .cross_entropy(rows, batch.target, batch.weight, p_loops, d_loops);
    aten_ops().cross_entropy(rows, batch.target, batch.weight, p_plain, d_plain);
    EXPECT_LE(max_difference(p_loops, p_plain), 1e-12);
    EXPECT_LE(max_difference(d_loops, d_plain), 1e-12);
  }
}

/// The loss of each row in float64 from the logits as they are, and 1 - p of its target.
struct Reference {
  std::vector<double> loss, rest;
};
Reference reference(const at::Tensor& logits, const at::Tensor& target) {
  const at::Tensor x = logits.to(at::kDouble).contiguous();
  Reference found;
  for (int64_t r = 0; r < x.size(0); ++r) {
    const double* row = x.data_ptr<double>() + r * x.size(1);
    const int64_t own = target.data_ptr<int64_t>()[r];
    double others = 0;  // relative to the target
    for (int64_t i = 0; i < x.size(1); ++i) others += i == own ? 0 : std::exp(row[i] - row[own]);
    found.loss.push_back(std::log1p(others));
    found.rest.push_back(others / (1 + others));
  }
  return found;
}

TEST(Ops, CrossEntropyKeepsTheDigitsOfASmallLoss) {
  for (const int64_t n : {2, 16, 1000}) {
    const int64_t n_rows = 40;
    const at::Tensor logits =
        (at::arange(n_rows * n, at::kDouble) * 0.7).sin().view({n_rows, n}).to(at::kFloat);
    at::Tensor target = at::arange(n_rows, at::kLong).remainder(n);
    for (int64_t r = 0; r < n_rows; ++r) logits[r][r % n] += static_cast<double>(r) * 0.6 - 1;
    const at::Tensor weight = at::ones({n_rows}, at::kDouble) * 0.5;
    const Reference exact = reference(logits, target);
    ASSERT_LT(*std::min_element(exact.loss.begin(), exact.loss.end()), 1e-5);
    for (const Ops* ops : {&ops_for(logits), &aten_ops()}) {
      at::Tensor log_prob = at::zeros({n_rows}, at::kDouble), d_logits = logits.clone();
      ops->cross_entropy(logits, target, weight, log_prob, d_logits);
      for (int64_t r = 0; r < n_rows; ++r) {
        const double loss = exact.loss[static_cast<size_t>(r)],
                     rest = exact.rest[static_cast<size_t>(r)];
        EXPECT_NEAR(-log_prob[r].item<double>(), loss, 1e-9 * loss) << n << " " << r;
        EXPECT_NEAR(d_logits[r][r % n].item<double>(), 0.5 * rest, 1e-6 * rest) << n << " " << r;
        EXPECT_NEAR(d_logits[r].to(at::kDouble).sum().item<double>(), 0, 2e-6 * rest);
      }
      at::Tensor alone = at::zeros({n_rows}, at::kDouble), none, in_place = logits.clone();
      ops->cross_entropy(logits, target, weight, alone, none);
      EXPECT_TRUE(alone.equal(log_prob));
      ops->cross_entropy(in_place, target, weight, alone, in_place);
      EXPECT_TRUE(alone.equal(log_prob) && in_place.equal(d_logits));
    }
  }
}

TEST(Score, OfAConfidentFloat32ModelIsThatOfItsLogitsInFloat64) {
  const Config config = tiny_config();
  Model model = tiny_model(config, at::kFloat);
  Batch batch = ragged_batch(config);
  const at::Tensor two = std::get<0>(logits(model, batch, {}).topk(2, 1));
  model.weights.head *= 11.5 / (two.select(1, 0) - two.select(1, 1)).mean().item<double>();
  batch.target = logits(model, batch, {}).argmax(1);
  const auto expect_digits = [&](const at::Tensor& rows, const at::Tensor& score) {
    const Reference exact = reference(rows, batch.target);
    std::vector<double> expected(static_cast<size_t>(batch.ids.size(0)), 0);
    for (int64_t s = 0; s < batch.sample.size(0); ++s)
      expected[static_cast<size_t>(batch.sample[s].item<int64_t>())] -=
          batch.weight[s].item<double>() * exact.loss[static_cast<size_t>(s)];
    for (size_t b = 0; b < expected.size(); ++b)
      EXPECT_NEAR(score[static_cast<int64_t>(b)].item<double>(), expected[b],
                  1e-6 * std::abs(expected[b]) + 1e-15);
  };
  expect_digits(logits(model, batch, {}), score(model, batch, {}));
  expect_digits(logits(model, batch, {}),
                gate_gradient(model, batch, at::ones({3, config.n_layers, config.n_heads})).score);
  expect_digits(forward_logits(model, batch, {}), forward_score(model, batch, {}));
}

TEST(Load, RefusesWeightsThatAreNotFinite) {
  const std::string from = shared("data/goldens/llada");
  SKIP_WITHOUT(from);
  std::string directory = testing::TempDir() + "headcount-nan-XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  for (const char* name : {"config.json", "model.safetensors"})
    std::filesystem::copy(from + "/" + name, directory);
  std::filesystem::permissions(directory + "/model.safetensors", std::filesystem::perms::owner_all);
  const ModelFiles files = open_model(directory);
  {
    std::fstream file(directory + "/model.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(files.tensors[5].offset));
    file.write("\0\0\xc0\x7f", 4);
  }
  try {
    load(files, at::kFloat, at::kCPU);
    ADD_FAILURE() << "NaN weights were accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("weight " + files.tensors[5].stored + " holds NaN"),
              std::string::npos)
        << error.what();
  }
  std::filesystem::remove_all(directory);
}

TEST(RandomModel, HasTheDeviationItPromises) {
  const Config config = tiny_config();
  const Model model = random_model(config, 3, at::kDouble, at::kCPU);
  EXPECT_NEAR(model.weights.head.std().item<double>(), 0.02, 0.001);
  EXPECT_NEAR(model.weights.head.mean().item<double>(), 0, 0.002);
  EXPECT_FALSE(
      random_model(config, 4, at::kDouble, at::kCPU).weights.head.equal(model.weights.head));
  EXPECT_TRUE(
      random_model(config, 3, at::kDouble, at::kCPU).weights.head.equal(model.weights.head));
}

}  // namespace
}  // namespace headcount::models
