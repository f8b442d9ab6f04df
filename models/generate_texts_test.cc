// Whole decodings on tiny models: the same text whatever is decoded beside it, cached or not;
// schedules kept; Dream's shift; the gates of each sequence.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "models/generate.h"
#include "models/test_models.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

Config causal_config() {
  Config c = tiny_config();
  c.family = "llama";
  c.causal = true;
  c.mask_id = -1;
  return c;
}

Config dream_config() {
  Config c = tiny_config();
  c.family = "dream";
  c.shifted = true;
  return c;
}

const Texts kPrompts = {{3, 1, 4}, {1, 5, 9, 2, 6, 5, 3}, {8}};

CausalOptions sampled(int64_t n_new) {
  CausalOptions o;
  o.n_new = n_new;
  o.seed = 5;
  o.sampling = {.temperature = 1.5, .top_k = 20, .top_p = .95};
  return o;
}

LladaOptions llada() {
  LladaOptions o;
  o.n_new = 12;
  o.block_length = 6;
  o.steps = 8;
  o.temperature = 1;
  o.seed = 5;
  return o;
}

DreamOptions dream(DreamOrder order) {
  DreamOptions o;
  o.n_new = 12;
  o.steps = 6;
  o.order = order;
  o.seed = 5;
  o.sampling = {.temperature = 1, .top_k = 30, .top_p = .95};
  return o;
}

/// Each prompt alone, under its own number and gates, must give what all give together.
template <class Options, class Decode>
void expect_rows_alone(const Model& model, Options o, const Decode& decode) {
  o.gates = some_gates(model.config, 3);
  o.micro_batch = 2;
  const Texts together = decode(model, kPrompts, o);
  EXPECT_EQ(decode(model, kPrompts, o), together);
  const at::Tensor gates = o.gates;
  for (size_t i = 0; i < kPrompts.size(); ++i) {
    o.first_sequence = i;
    o.gates = gates.narrow(0, static_cast<int64_t>(i), 1);
    EXPECT_EQ(decode(model, {kPrompts[i]}, o).front(), together[i]) << i;
  }
  o.gates = gates.narrow(0, 2, 1).mul(0);
  EXPECT_NE(decode(model, {kPrompts[2]}, o).front(), together[2]) << "the gates are without effect";
  o.gates = gates.narrow(0, 2, 1);
  o.seed = 6;
  EXPECT_NE(decode(model, {kPrompts[2]}, o).front(), together[2]) << "the seed is without effect";
}

TEST(Texts, DoNotDependOnWhatIsDecodedBesideThem) {
  expect_rows_alone(tiny_model(causal_config(), at::kDouble, 3), sampled(12), continue_texts);
  const Model masked = tiny_model(tiny_config(), at::kDouble, 3);
  LladaOptions o = llada();
  expect_rows_alone(masked, o, llada_generate);
  o.remasking = Remasking::kRandom;
  o.cfg_scale = .5;
  expect_rows_alone(masked, o, llada_generate);
  const Model shifted = tiny_model(dream_config(), at::kDouble, 3);
  for (const DreamOrder order : {DreamOrder::kOrigin, DreamOrder::kMaskgitPlus,
                                 DreamOrder::kTopkMargin, DreamOrder::kEntropy}) {
    DreamOptions d = dream(order);
    expect_rows_alone(shifted, d, dream_generate);
    d.alg_temp = .5;
    expect_rows_alone(shifted, d, dream_generate);
  }
}

TEST(Texts, GreedyWithKeptKeysIsGreedyWithout) {
  const Model model = tiny_model(causal_config(), at::kDouble);
  std::vector<int32_t> slow = kPrompts[0];
  for (int i = 0; i < 30; ++i) {
    const auto last = static_cast<int64_t>(slow.size()) - 1;
    slow.push_back(static_cast<int32_t>(
        logits(model, one_sequence({slow.begin(), slow.end()}, {{last, 0}}), {})
            .argmax()
            .item<int64_t>()));
  }
  EXPECT_EQ(greedy(model, kPrompts[0], 30), slow);
}

TEST(Texts, EndBeforeAStopTokenAndAtTheLastPosition) {
  const Model model = tiny_model(causal_config(), at::kDouble);
  CausalOptions o;
  o.n_new = 100;
  const std::vector<int32_t> whole = continue_texts(model, {kPrompts[0]}, o).front();
  EXPECT_EQ(static_cast<int64_t>(whole.size()), model.config.max_positions);
  o.stop_ids = {whole[10]};
  const auto first = std::find(whole.begin() + 3, whole.end(), whole[10]);
  std::vector<int32_t> seen;
  o.written = [&](size_t, int32_t token) { seen.push_back(token); };
  EXPECT_EQ(continue_texts(model, {kPrompts[0]}, o).front(),
            std::vector<int32_t>(whole.begin(), first));
  EXPECT_EQ(seen, std::vector<int32_t>(whole.begin() + 3, first));
}

int64_t n_masks(const std::vector<int32_t>& ids) { return std::count(ids.begin(), ids.end(), 36); }

/// A head so set that the mask is never the best token.
Model never_masking(const Config& config, at::ScalarType dtype = at::kDouble) {
  const Model model = tiny_model(config, dtype, 3);
  Config biased = config;
  biased.head_bias = true;
  Model result = random_model(biased, 7, dtype, at::kCPU);
  const at::Tensor bias = result.weights.head_bias;
  result.weights = model.weights;
  result.weights.head_bias = bias.zero_();
  result.weights.head_bias[config.mask_id] = -100;
  return result;
}

TEST(Texts, LladaFinishesABlockBeforeTheNextAndKeepsItsSchedule) {
  LladaOptions o = llada();
  std::vector<int64_t> left;
  o.stepped = [&](double, const Texts& texts) {
    left.push_back(n_masks(texts[0]));
    if (left.size() == 4) {
      EXPECT_EQ(n_masks({texts[0].begin(), texts[0].begin() + 9}), 0) << "first block";
    }
  };
  llada_generate(never_masking(tiny_config()), {kPrompts[0]}, o);
  EXPECT_EQ(left, (std::vector<int64_t>{10, 8, 7, 6, 4, 2, 1, 0}));
}

TEST(Texts, LladaWritesTheSurestFirstAndHoldsBackWhereAsked) {
  const Model model = never_masking(tiny_config());
  LladaOptions o = llada();
  o.temperature = 0;
  o.block_length = o.steps = 12;
  std::vector<int32_t> canvas = {3, 1, 4};
  canvas.resize(15, 36);
  EXPECT_EQ(llada_generate(model, {{3, 1, 4}}, o).front(),
            fill_surest(model, {canvas}, {.mask_id = 36}).front());
  const std::vector<int32_t> plain = llada_generate(model, {{3, 1, 4}}, o).front();
  o.eos_id = plain.back();
  o.logits_eos_inf = true;
  const std::vector<int32_t> without = llada_generate(model, {{3, 1, 4}}, o).front();
  EXPECT_EQ(std::count(without.begin() + 3, without.end(), o.eos_id), 0);
  o.logits_eos_inf = false;
  const auto first_written = [&] {
    int32_t token = -1;
    o.stepped = [&](double, const Texts& texts) {
      if (n_masks(texts[0]) != 11) return;
      for (size_t i = 3; i < texts[0].size(); ++i) token = texts[0][i] == 36 ? token : texts[0][i];
    };
    EXPECT_EQ(n_masks(llada_generate(model, {{3, 1, 4}}, o).front()), 0);
    return token;
  };
  o.temperature = 1;  // proposals differ from position to position
  o.eot_id = first_written();
  EXPECT_GE(o.eot_id, 0);
  o.confidence_eos_eot_inf = true;
  EXPECT_NE(first_written(), o.eot_id);
}

TEST(Texts, GuidanceMovesLogitsAwayFromThoseOfTheMaskedPrompt) {
  const Model model = never_masking(tiny_config());
  const auto at = [&](const std::vector<int64_t>& ids) {
    return logits(model, one_sequence(ids, {{3, 0}}), {})[0];
  };
  const at::Tensor l = at({3, 1, 4, 36}), u = at({36, 36, 36, 36});
  for (const double scale : {0.0, 0.7, 3.0}) {
    LladaOptions o;
    o.n_new = o.block_length = o.steps = 1;
    o.cfg_scale = scale;
    EXPECT_EQ(llada_generate(model, {{3, 1, 4}}, o).front().back(),
              (u + (l - u) * (scale + 1)).argmax().item<int64_t>());
  }
}

TEST(Texts, DreamReadsTheLogitsOneRowBefore) {
  // No attention, no MLP, embedding and head orthogonal: the row of token t is sure of t. Read one
  // row before, every position becomes a copy of its left neighbour.
  Config c = dream_config();
  c.vocab_size = c.d_model = 36;
  c.mask_id = 35;
  Model model = random_model(c, 7, at::kDouble, at::kCPU);
  for (const LayerWeights& layer : model.weights.layers) {
    layer.o.zero_();
    layer.down.zero_();
  }
  for (int64_t i = 0; i < 36; ++i) {
    model.weights.embedding[i].zero_()[i] = 1;
    model.weights.head[i].zero_()[i] = i == c.mask_id ? .1 : 20;
  }
  DreamOptions o;
  o.n_new = 6;
  o.steps = 6;
  for (const DreamOrder order :
       {DreamOrder::kMaskgitPlus, DreamOrder::kEntropy, DreamOrder::kTopkMargin}) {
    o.order = order;
    const std::vector<int32_t> text = dream_generate(model, {{2, 7, 5}}, o).front();
    EXPECT_EQ(text[3], 5);
    EXPECT_EQ((std::vector<int32_t>{text.begin(), text.begin() + 3}),
              (std::vector<int32_t>{2, 7, 5}));
  }
  o.steps = 1;
  EXPECT_EQ(dream_generate(model, {{2, 7, 5}},
                           [&] {
                             o.n_new = 1;
                             return o;
                           }())
                .front()
                .back(),
            5);
}

TEST(Texts, DreamKeepsItsSchedule) {
  DreamOptions o = dream(DreamOrder::kEntropy);
  o.n_new = 8;
  o.steps = 4;
  std::vector<int64_t> left;
  o.stepped = [&](double, const Texts& texts) { left.push_back(n_masks(texts[0])); };
  dream_generate(never_masking(dream_config()), {kPrompts[0]}, o);
  EXPECT_EQ(left, (std::vector<int64_t>{7, 5, 3, 0}));
}

TEST(Texts, WhatCannotBeDecodedIsRefused) {
  const Model masked = tiny_model(tiny_config(), at::kFloat);
  const Model causal = tiny_model(causal_config(), at::kFloat);
  EXPECT_THROW(continue_texts(masked, kPrompts, {}), Error);
  EXPECT_THROW(llada_generate(causal, kPrompts, llada()), Error);
  LladaOptions o = llada();
  o.block_length = 5;
  EXPECT_THROW(llada_generate(masked, kPrompts, o), Error);
  o = llada();
  o.steps = 7;
  EXPECT_THROW(llada_generate(masked, kPrompts, o), Error);
  o = llada();
  o.n_new = o.block_length = o.steps = 64;
  EXPECT_THROW(llada_generate(masked, kPrompts, o), Error);
  DreamOptions d;
  d.eps = 1;
  EXPECT_THROW(dream_generate(masked, kPrompts, d), Error);
}

}  // namespace
}  // namespace headcount::models
