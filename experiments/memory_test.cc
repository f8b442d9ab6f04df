// The memory of a sweep's models, by the pass that needs most.
#include "experiments/memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

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

std::vector<ModelMemory> memory_of(const TestFiles& files, const std::string& more,
                                   const DeviceMemory& device = {}) {
  const Prepared made = prepare(kSpec + more, "x.toml", files.root());
  EXPECT_EQ(to_string(made.problems), "");
  return model_memory(made.sweep.value(), device);
}

TEST(ModelMemory, IsThatOfTheStagesLargestPass) {
  const TestFiles files;
  const auto models = memory_of(files, "");
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].model, "small");
  EXPECT_TRUE(models[0].pass.backward);
  EXPECT_EQ(models[0].pass.micro_batch, 64);
  EXPECT_THAT(to_text(models, {.bytes = 24'000'000'000}), HasSubstr(": fits"));
}

TEST(ModelMemory, HalvesTheMicroBatchUntilItFitsTheDevice) {
  const TestFiles files;
  const uint64_t asked = memory_of(files, "")[0].plan.total();
  const auto nearly = static_cast<uint64_t>(static_cast<double>(asked - 1) / models::kUsableShare);
  const DeviceMemory device{.bytes = nearly};
  const auto models = memory_of(files, "", device);
  EXPECT_EQ(models[0].fit.micro_batch, 32);
  EXPECT_THAT(to_text(models, device), HasSubstr("fits with a micro-batch of 32 instead of 64"));
  EXPECT_EQ(refusal(models[0], device), "");
}

TEST(ModelMemory, RefusesAModelThatFitsWithNoMicroBatch) {
  const TestFiles files;
  const DeviceMemory device{.bytes = 100'000'000};
  const auto models = memory_of(files, "", device);
  EXPECT_THAT(to_text(models, device), HasSubstr(": DOES NOT FIT"));
  EXPECT_THAT(refusal(models[0], device), HasSubstr("model small does not fit: float32 weights "));
  EXPECT_THAT(refusal(models[0], device), HasSubstr("the device has 0.1 GB"));
}

TEST(StageFit, IsThatOfEveryPointsModelOnItsOwnDevice) {
  const TestFiles files;
  const Prepared made = prepare(kSpec, "x.toml", files.root());
  const Stage& stage = made.sweep.value().stages[0];
  EXPECT_EQ(fit(stage, [](const ModelInfo&) { return DeviceMemory{}; }).micro_batch, 0);
  const StageFit none = fit(stage, [](const ModelInfo&) { return DeviceMemory{.bytes = 1}; });
  EXPECT_THAT(none.refusal, HasSubstr("model small does not fit"));
}

TEST(ModelMemory, CountsTheMasksOfALongChoiceInAnyBlock) {
  const TestFiles files;
  const auto batch_with = [&](const std::string& last) {
    std::ofstream out(files.root() + "/rows.jsonl");
    for (int i = 0; i < 17; ++i)
      out << R"({"ids": [1, 2, 3], "choices": )" << (i < 16 ? "[[4], [5]]" : last)
          << R"(, "label": 0})"
          << "\n";
    out.close();
    const Prepared made = prepare(R"(name = "choices"
[models.small]
path = "masked"
[datasets.rows]
task = "tokens"
path = "rows.jsonl"
[[stage]]
name = "scores"
kind = "evaluate"
dataset = "rows"
metrics = ["accuracy"]
)",
                                  "x.toml", files.root());
    EXPECT_EQ(to_string(made.problems), "");
    return model_memory(made.sweep.value(), {})[0].pass.micro_batch;
  };
  EXPECT_EQ(batch_with("[[4], [5]]"), 16);
  EXPECT_EQ(batch_with("[[4, 6], [5]]"), 64);
}

TEST(ModelMemory, CountsAWholeMicroBatchWhereAdaptiveQuadratureDecidesHowManyPasses) {
  const TestFiles files;
  const auto batch_with = [&](const std::string& quadrature) {
    const Prepared made = prepare(R"(name = "few"
[models.small]
path = "masked"
[datasets.one]
task = "addition"
split = "train"
rows = 1
[[stage]]
name = "importance"
kind = "head_importance"
dataset = "one"
mask_probs = [0.5]
mask_samples = 1
path_mode = "diagonal"
ig_steps = 4
)" + quadrature,
                                  "x.toml", files.root());
    EXPECT_EQ(to_string(made.problems), "");
    return model_memory(made.sweep.value(), {})[0].pass.micro_batch;
  };
  EXPECT_EQ(batch_with("quadrature = \"right\"\n"), 5);
  EXPECT_EQ(batch_with("quadrature = \"adaptive\"\n"), 64);
}

TEST(ModelMemory, ShrinksWithTheStagesMicroBatch) {
  const TestFiles files;
  const auto small = memory_of(files, "micro_batch = 2\n"), usual = memory_of(files, "");
  EXPECT_EQ(small[0].pass.micro_batch, 2);
  EXPECT_LT(small[0].plan.activations, usual[0].plan.activations);
}

}  // namespace
}  // namespace headcount::experiments
