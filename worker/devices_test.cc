#include "worker/devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "schemas/error.h"
#include "worker/state_directory.h"

namespace headcount::worker {
namespace {

using testing::ElementsAre;

TEST(Devices, AreTheVisibleGpusElseTheCpu) {
  EXPECT_THAT(default_devices(nullptr, 0), ElementsAre("cpu"));
  EXPECT_THAT(default_devices(nullptr, 2), ElementsAre("cuda:0", "cuda:1"));
  EXPECT_THAT(default_devices("", 2), ElementsAre("cpu"));
  EXPECT_THAT(default_devices("-1", 2), ElementsAre("cpu"));
  EXPECT_THAT(default_devices("3", 4), ElementsAre("cuda:0")) << "CUDA counts the visible ones";
  EXPECT_THAT(default_devices("GPU-a,GPU-b", 8), ElementsAre("cuda:0", "cuda:1"));
  EXPECT_THAT(default_devices("0", 0), ElementsAre("cpu"));
}

TEST(Devices, AreNamedAsCudaNames) {
  check_device("cpu");
  check_device("cuda:11");
  for (const char* bad : {"", "gpu", "cuda", "cuda:", "cuda:x", "cuda:99999", "CPU"}) {
    EXPECT_THROW(check_device(bad), Error) << bad;
  }
}

TEST(Devices, GiveOneRunnerAGpuAndOneACore) {
  EXPECT_THAT(runner_devices({"cuda:0", "cuda:1"}, 0, 1, 64), ElementsAre("cuda:0", "cuda:1"));
  EXPECT_THAT(runner_devices({"cpu"}, 0, 1, 2), ElementsAre("cpu", "cpu"));
  EXPECT_THAT(runner_devices({"cpu"}, 0, 4, 2), ElementsAre("cpu"));
  EXPECT_THAT(runner_devices({"cpu", "cuda:0"}, 2, 1, 64),
              ElementsAre("cpu", "cpu", "cuda:0", "cuda:0"));
}

TEST(Incarnation, GrowsWithEveryStart) {
  const std::string directory = testing::TempDir() + "incarnation_test";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  EXPECT_EQ(next_incarnation(directory, 1000), 1000u);
  EXPECT_EQ(next_incarnation(directory, 2000), 2000u);
  EXPECT_EQ(next_incarnation(directory, 500), 2001u) << "the clock was set back";
  EXPECT_THROW(next_incarnation(directory + "/absent", 1), Error);
}

TEST(StateLock, IsHeldByOneWorkerAtATime) {
  const std::string directory = testing::TempDir() + "state_lock_test";
  {
    const StateLock first(directory);
    try {
      const StateLock second(directory);
      FAIL() << "held twice";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("a worker already runs in " + directory));
    }
  }
  const StateLock again(directory);
}

}  // namespace
}  // namespace headcount::worker
