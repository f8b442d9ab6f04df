// A tiny model learns to reverse two digits in seconds; training is the same bits twice; what is
// saved is what is read.
#include "models/training/masked_lm.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "models/training/checkpoint.h"
#include "models/training/initial.h"
#include "models/transformer.h"
#include "schemas/error.h"

namespace headcount::models::training {
namespace {

constexpr int64_t kMaskId = 5;

Config tiny() {
  Config config;
  config.family = "llada";
  config.n_layers = 2;
  config.n_heads = 4;
  config.n_kv_heads = 2;
  config.d_model = 32;
  config.d_head = 8;
  config.d_mlp = 64;
  config.vocab_size = 6;
  config.max_positions = 16;
  config.mask_id = kMaskId;
  config.bos_id = config.eos_id = config.pad_id = 4;
  return config;
}

/// Rows "ab ba" of digits 0 .. 3: all 16 of them, in a fixed scattered order, again and again.
at::Tensor mirrored(int64_t first, int64_t count) {
  std::vector<int64_t> ids;
  for (int64_t i = first; i < first + count; ++i) {
    const int64_t n = i * 7 % 16;
    ids.insert(ids.end(), {n / 4, n % 4, n % 4, n / 4});
  }
  return at::tensor(ids, at::kLong).view({count, 4});
}

const Task kTask{.train = mirrored, .held_out = mirrored, .begin = 2, .end = 4};

TrainOptions options(int64_t n_steps) {
  return {.seed = 3,
          .n_steps = n_steps,
          .batch = 64,
          .learning_rate = 5e-3,
          .n_warmup = 10,
          .report_every = 50,
          .n_held_out = 16};
}

TEST(MaskedLm, LearnsToReverseTwoDigits) {
  TrainProgress last;
  const std::vector<at::Tensor> weights =
      train(tiny(), kTask, options(150), [&](const TrainProgress& p) { last = p; });
  EXPECT_EQ(last.step, 150);
  EXPECT_EQ(last.exact_match, 1.0);
  EXPECT_LT(last.loss, 0.1);
  const Model model = make_model(tiny(), weights);
  EXPECT_EQ(count_exact(model, mirrored, 16, 2, 4), 16);
}

TEST(MaskedLm, SameSeedSameBits) {
  const auto silent = [](const TrainProgress&) {};
  const auto a = train(tiny(), kTask, options(3), silent);
  const auto b = train(tiny(), kTask, options(3), silent);
  TrainOptions other = options(3);
  other.seed = 4;
  const auto c = train(tiny(), kTask, other, silent);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(at::equal(a[i], b[i])) << i;
  EXPECT_FALSE(at::equal(a[0], c[0]));
}

TEST(MaskedLm, UnmaskingFixesTheMostConfidentPositionFirst) {
  const Model model = make_model(tiny(), initial_weights(tiny(), 1));
  const at::Tensor rows = mirrored(0, 8);
  const at::Tensor filled = unmask(model, rows, 2, 4);
  EXPECT_TRUE(at::equal(filled.narrow(1, 0, 2), rows.narrow(1, 0, 2)));
  // The last row again, pass by pass, by forward_logits and the definition.
  at::Tensor ids = rows.narrow(0, 7, 1).clone();
  ids.narrow(1, 2, 2).fill_(kMaskId);
  std::vector<int64_t> open{2, 3};
  while (!open.empty()) {
    Batch batch;
    batch.ids = ids;
    batch.position = at::tensor(open, at::kLong);
    batch.sample = batch.position.mul(0);
    const at::Tensor best = forward_logits(model, batch, {}).softmax(-1).amax(-1);
    const int64_t i = best.argmax().item<int64_t>();
    const at::Tensor token = forward_logits(model, batch, {}).argmax(-1)[i];
    ids[0][open[static_cast<size_t>(i)]] = token;
    open.erase(open.begin() + i);
  }
  EXPECT_TRUE(at::equal(filled.narrow(0, 7, 1), ids));
}

TEST(MaskedLm, InitialWeightsHaveTheStatedSpread) {
  const Config config = tiny();
  const auto weights = initial_weights(config, 2);
  const auto shapes = weight_shapes(config);
  for (size_t i = 0; i < shapes.size(); ++i) {
    EXPECT_TRUE(weights[i].requires_grad());
    if (shapes[i].name != "layers.0.gate") continue;
    EXPECT_NEAR(weights[i].std().item<double>(), 1 / std::sqrt(32.0), 0.01);
    EXPECT_NEAR(weights[i].mean().item<double>(), 0, 0.012);
  }
}

class Checkpoint : public ::testing::Test {
 protected:
  ~Checkpoint() override { std::filesystem::remove_all(folder_); }
  const std::string folder_ = (std::filesystem::temp_directory_path() /
                               ("headcount-checkpoint-" + std::to_string(getpid())))
                                  .string();
};

TEST_F(Checkpoint, WhatIsSavedIsWhatIsReadInBfloat16) {
  const Config config = tiny();
  const std::vector<at::Tensor> weights = initial_weights(config, 7);
  save_llada(config, weights, folder_);
  const ModelFiles files = open_model(folder_);
  EXPECT_EQ(files.config.family, "llada");
  EXPECT_EQ(files.config.n_layers, config.n_layers);
  EXPECT_EQ(files.config.n_heads, config.n_heads);
  EXPECT_EQ(files.config.n_kv_heads, config.n_kv_heads);
  EXPECT_EQ(files.config.d_mlp, config.d_mlp);
  EXPECT_EQ(files.config.vocab_size, config.vocab_size);
  EXPECT_EQ(files.config.max_positions, config.max_positions);
  EXPECT_EQ(files.config.mask_id, config.mask_id);
  EXPECT_EQ(files.config.rope_theta, config.rope_theta);
  EXPECT_EQ(files.config.norm_eps, config.norm_eps);
  EXPECT_FALSE(files.config.causal);
  EXPECT_FALSE(files.config.tied_head);
  std::vector<at::Tensor> rounded;
  for (const at::Tensor& weight : weights)
    rounded.push_back(weight.detach().to(at::kBFloat16).to(at::kFloat));
  const Model read = load(files, at::kFloat, at::kCPU), expected = make_model(config, rounded);
  EXPECT_TRUE(at::equal(read.weights.embedding, expected.weights.embedding));
  EXPECT_TRUE(at::equal(read.weights.head, expected.weights.head));
  EXPECT_TRUE(at::equal(read.weights.layers[1].k, expected.weights.layers[1].k));
  EXPECT_TRUE(at::equal(read.weights.layers[1].down, expected.weights.layers[1].down));
}

TEST_F(Checkpoint, FolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder_) << "a file";
  try {
    save_llada(tiny(), initial_weights(tiny(), 1), folder_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).find(folder_) != std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace headcount::models::training
