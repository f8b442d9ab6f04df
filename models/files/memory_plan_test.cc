// The memory plan against published sizes, and its laws.
#include "models/files/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headcount::models {
namespace {

using testing::HasSubstr;

constexpr uint64_t kGB = 1'000'000'000;

Config llada_8b() {
  Config c;
  c.family = "llada";
  c.n_layers = 32;
  c.n_heads = c.n_kv_heads = 32;
  c.d_model = 4096;
  c.d_head = 128;
  c.d_mlp = 12288;
  c.vocab_size = 126464;
  c.max_positions = 4096;
  return c;
}

Config dream_7b() {
  Config c;
  c.family = "dream";
  c.n_layers = 28;
  c.n_heads = 28;
  c.n_kv_heads = 4;
  c.d_model = 3584;
  c.d_head = 128;
  c.d_mlp = 18944;
  c.vocab_size = 152064;
  c.max_positions = 131072;
  c.qkv_bias = true;
  return c;
}

PassShape gradient_of(int64_t length) {
  return {.micro_batch = 1, .length = length, .supervised = 128, .backward = true};
}

TEST(MemoryPlan, CountsThePublishedModels) {
  EXPECT_EQ(parameter_count(llada_8b()), 8'015'581'184);
  EXPECT_EQ(parameter_count(dream_7b()), 7'615'616'512);
  EXPECT_EQ(memory_plan(llada_8b(), "bfloat16", gradient_of(512)).weights, 16'031'162'368u);
}

TEST(MemoryPlan, KeepsThreeMegabytesATokenOfAnEightBillionModel) {  // numerics 2.9: 3.15
  const auto at = [](int64_t length) {
    return memory_plan(llada_8b(), "bfloat16", gradient_of(length)).activations;
  };
  const double per_token = static_cast<double>(at(2048) - at(1024)) / 1024;
  EXPECT_GT(per_token, 3.15e6);
  EXPECT_LT(per_token, 3.5e6);
}

TEST(MemoryPlan, RefusesFloat32OfEightBillionOnACardOf24GBAndTakesBfloat16) {
  EXPECT_EQ(largest_fit(llada_8b(), "float32", gradient_of(512), 64, 24 * kGB).micro_batch, 0);
  const Fit fit = largest_fit(llada_8b(), "bfloat16", gradient_of(512), 64, 24 * kGB);
  EXPECT_GE(fit.micro_batch, 1);
  const PassShape one = gradient_of(512);
  const std::string said =
      describe(memory_plan(llada_8b(), "float32", one), "float32", one, 24 * kGB);
  EXPECT_THAT(said, HasSubstr("float32 weights 32.1 GB"));
  EXPECT_THAT(said, HasSubstr("the device has 24.0 GB (22.1 GB usable)"));
}

TEST(MemoryPlan, ChecksPointsOnlyWhenNothingElseFits) {
  const PassShape longest = gradient_of(4096);
  const Fit small = largest_fit(llada_8b(), "bfloat16", longest, 64, 24 * kGB);
  EXPECT_TRUE(small.checkpointing);
  EXPECT_GE(small.micro_batch, 1);
  EXPECT_FALSE(largest_fit(llada_8b(), "bfloat16", longest, 64, 141 * kGB).checkpointing);
}

TEST(MemoryPlan, GrowsWithEveryDimension) {
  const PassShape pass{.micro_batch = 2, .length = 256, .supervised = 16, .backward = false};
  const uint64_t base = memory_plan(dream_7b(), "bfloat16", pass).total();
  PassShape more = pass;
  more.micro_batch = 3;
  EXPECT_GT(memory_plan(dream_7b(), "bfloat16", more).total(), base);
  more = pass;
  more.length = 257;
  EXPECT_GT(memory_plan(dream_7b(), "bfloat16", more).total(), base);
  more = pass;
  more.supervised = 17;
  EXPECT_GT(memory_plan(dream_7b(), "bfloat16", more).total(), base);
  more = pass;
  more.backward = true;
  EXPECT_GT(memory_plan(dream_7b(), "bfloat16", more).total(), base);
  EXPECT_GT(memory_plan(dream_7b(), "float32", pass).total(), base);
  more = pass;
  more.gpu = true;
  EXPECT_GT(memory_plan(dream_7b(), "bfloat16", more).total(), base);
}

TEST(MemoryPlan, AGpusFusedAttentionHoldsNoScores) {
  PassShape pass = gradient_of(16384);
  pass.gpu = true;
  const auto scores = static_cast<uint64_t>(dream_7b().n_heads * pass.length * pass.length);
  PassShape checkpointed = pass;
  checkpointed.checkpointing = true;
  EXPECT_LT(memory_plan(dream_7b(), "bfloat16", checkpointed).activations, 4 * scores);
  EXPECT_GT(memory_plan(dream_7b(), "float64", checkpointed).activations, 4 * 8 * scores);
}

TEST(MemoryPlan, HalvesTheMicroBatchUntilItFits) {
  for (const uint64_t nominal : {24 * kGB, 48 * kGB, 80 * kGB, 141 * kGB}) {
    PassShape pass = gradient_of(512);
    const Fit fit = largest_fit(dream_7b(), "bfloat16", pass, 4096, nominal);
    ASSERT_GE(fit.micro_batch, 1);
    pass.checkpointing = fit.checkpointing;
    pass.micro_batch = fit.micro_batch;
    EXPECT_TRUE(fits(memory_plan(dream_7b(), "bfloat16", pass), nominal));
    pass.micro_batch *= 2;
    EXPECT_FALSE(fits(memory_plan(dream_7b(), "bfloat16", pass), nominal));
  }
}

}  // namespace
}  // namespace headcount::models
