// The memory of a sweep's models, by the pass that needs most.
#include "experiments/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experiments/test_files.h"

namespace headcount::experiments {
namespace {

using testing::HasSubstr;

constexpr const char* kSpec = R"(name = "heads"
[models.small]
path = "masked"
[datasets.train]
task = "addition"
split = "train"
rows = 20
[[stage]]
name = "importance"
kind = "head_importance"
dataset = "train"
mask_probs = [0.3, 0.7]
mask_samples = 2
ig_steps = 8
)";

std::vector<ModelMemory> memory_of(const TestFiles& files, const std::string& more) {
  const Prepared made = prepare(kSpec + more, "x.toml", files.root());
  EXPECT_EQ(to_string(made.problems), "");
  return model_memory(made.sweep.value());
}

TEST(ModelMemory, IsThatOfTheStagesLargestPass) {
  const TestFiles files;
  const auto models = memory_of(files, "");
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].model, "small");
  EXPECT_TRUE(models[0].pass.backward);
  EXPECT_EQ(models[0].pass.micro_batch, 64);
  EXPECT_THAT(to_text(models, 24'000'000'000), HasSubstr(": fits"));
  EXPECT_THAT(to_text(models, 1'000'000), HasSubstr(": DOES NOT FIT"));
}

TEST(ModelMemory, ShrinksWithTheStagesMicroBatch) {
  const TestFiles files;
  const auto small = memory_of(files, "micro_batch = 2\n"), usual = memory_of(files, "");
  EXPECT_EQ(small[0].pass.micro_batch, 2);
  EXPECT_LT(small[0].plan.activations, usual[0].plan.activations);
}

}  // namespace
}  // namespace headcount::experiments
