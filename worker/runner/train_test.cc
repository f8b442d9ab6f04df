// The training command end to end on a toy shape, and what the shipped models must keep doing.
#include "worker/runner/train.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>

#include "models/files/config.h"
#include "schemas/error.h"

namespace headcount::runner {
namespace {

/// stdout of `headcount-runner ARGUMENTS`.
std::string output_of(const std::string& arguments) {
  CLI::App app;
  add_train_command(app);
  testing::internal::CaptureStdout();
  try {
    app.parse(arguments);
  } catch (...) {
    testing::internal::GetCapturedStdout();
    throw;
  }
  return testing::internal::GetCapturedStdout();
}

TEST(Train, AdditionTrainsSavesAndVerifies) {
  const std::string folder =
      (std::filesystem::temp_directory_path() / ("headcount-train-" + std::to_string(getpid())))
          .string();
  const std::string text = output_of(
      "train addition --layers 1 --heads 2 --kv-heads 1 --width 16 --mlp 16 --steps 2 --batch 8 "
      "--rows 20 -o " +
      folder);
  EXPECT_NE(text.find("step 2 of 2  loss "), std::string::npos) << text;
  EXPECT_NE(text.find("saved " + folder), std::string::npos) << text;
  EXPECT_NE(text.find(" of 20 held-out problems)"), std::string::npos) << text;
  EXPECT_EQ(models::open_model(folder).config.n_kv_heads, 1);
  std::filesystem::remove_all(folder);
}

TEST(Train, ShapeThatDoesNotDivideIsRefused) {
  EXPECT_THROW(output_of("train addition --width 100 --heads 8 -o /tmp/never"), Error);
  EXPECT_THROW(output_of("train addition --heads 8 --kv-heads 3 -o /tmp/never"), Error);
  EXPECT_FALSE(std::filesystem::exists("/tmp/never"));
}

TEST(BuiltinModels, AddHeldOutProblemsAndStaySmall) {
  for (const std::string name : {"addition", "addition-gqa"}) {
    const std::string text = output_of("train verify builtin:" + name + " --rows 500");
    const size_t at = text.find("exact match ");
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_GE(std::stod(text.substr(at + 12)), 0.99) << text;
    const models::ModelFiles files = models::open_model("builtin:" + name);
    EXPECT_LT(std::filesystem::file_size(files.tensors.front().file), 2'000'000u);
  }
}

}  // namespace
}  // namespace headcount::runner
