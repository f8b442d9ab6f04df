// `headcount-runner verify` as a user starts it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace headcount::runner {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class Verify : public testing::Test {
 protected:
  const fs::path folder_ = fs::path(testing::TempDir()) / ("verify_" + std::to_string(getpid()));
  const std::string model_ = [] {
    const char* given = std::getenv("HEADCOUNT_SHARED");
    return std::string(given ? given : HEADCOUNT_SOURCE_DIR "/../shared") + "/data/goldens/dream";
  }();

  void SetUp() override {
    if (!fs::exists(model_)) GTEST_SKIP() << model_ << " is not on this machine";
    fs::create_directories(folder_);
  }
  ~Verify() override { fs::remove_all(folder_); }

  struct Finished {
    int status = -1;
    std::string out;
  };
  Finished run(const std::string& arguments) const {
    Finished finished;
    const std::string command =
        HEADCOUNT_BINARY_DIR "/headcount-runner verify " + arguments + " 2>&1 </dev/null";
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> buffer;
    while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
      finished.out.append(buffer.data(), n);
    const int status = pclose(pipe);
    if (WIFEXITED(status)) finished.status = WEXITSTATUS(status);
    return finished;
  }
};

TEST_F(Verify, FindsTheModelsOwnGoldenAndAgreesWithIt) {
  const Finished finished = run(model_ + " --dtype float64 --format json");
  ASSERT_EQ(finished.status, 0) << finished.out;
  const json found = json::parse(finished.out);
  EXPECT_EQ(found["golden"], model_ + "/golden.json");
  EXPECT_EQ(found["agrees"], true);
  EXPECT_EQ(found["differences"].size(), 17u);
}

TEST_F(Verify, EndsWithStatusOneWhereItsAnswerIsLost) {
  EXPECT_EQ(run(model_ + " > /dev/full").status, 1);
}

TEST_F(Verify, EndsWithStatusOneWhereTheModelIsAnother) {
  std::ifstream file(model_ + "/golden.json");
  json golden = json::parse(file);
  golden["sequences"][1]["mean_nll"] = golden["sequences"][1]["mean_nll"].get<double>() + 1e-3;
  const std::string changed = (folder_ / "golden.json").string();
  std::ofstream(changed) << golden.dump();
  const Finished finished = run(model_ + " --golden " + changed);
  EXPECT_EQ(finished.status, 1) << finished.out;
  EXPECT_NE(finished.out.find("EXCEEDS"), std::string::npos) << finished.out;
}

TEST_F(Verify, EndsWithStatusTwoAndASentenceWhereTheGoldenIsNone) {
  const Finished finished = run(model_ + " --golden " + model_ + "/config.json");
  EXPECT_EQ(finished.status, 2);
  EXPECT_NE(finished.out.find("config.json"), std::string::npos) << finished.out;
}

TEST_F(Verify, ChecksWeightsAloneWhereThereIsNoGolden) {
  const Finished finished = run("builtin:addition --format json");
  ASSERT_EQ(finished.status, 0) << finished.out;
  EXPECT_FALSE(json::parse(finished.out).contains("golden"));
}

}  // namespace
}  // namespace headcount::runner
