// headcount-runner as a user starts it: text and losses of real weights, exit statuses, one
// sentence for every bad input.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace headcount::runner {
namespace {

namespace fs = std::filesystem;

struct Finished {
  int status = -1;
  std::string out, err;
};

class Program : public testing::Test {
 protected:
  fs::path folder_ = fs::path(testing::TempDir()) / ("runner_program_" + std::to_string(getpid()));
  Program() { fs::create_directories(folder_); }
  ~Program() override { fs::remove_all(folder_); }

  Finished run(const std::string& arguments) const {
    const std::string err = (folder_ / "stderr").string();
    const std::string command =
        HEADCOUNT_BINARY_DIR "/headcount-runner " + arguments + " 2>" + err + " </dev/null";
    Finished finished;
    FILE* pipe = popen(command.c_str(), "r");
    std::array<char, 4096> buffer;
    while (const size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe))
      finished.out.append(buffer.data(), n);
    const int status = pclose(pipe);
    finished.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    std::ifstream in(err);
    finished.err = {std::istreambuf_iterator<char>(in), {}};
    return finished;
  }
  std::string write(const std::string& name, const std::string& content) const {
    const std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  void expect_bad_input(const std::string& arguments, const std::string& names) const {
    const Finished finished = run(arguments);
    EXPECT_EQ(finished.status, 2) << arguments << "\n" << finished.err;
    EXPECT_NE(finished.err.find(names), std::string::npos) << arguments << "\n" << finished.err;
    EXPECT_LE(std::count(finished.err.begin(), finished.err.end(), '\n'), 2) << finished.err;
    EXPECT_EQ(finished.out, "");
  }
};

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string stories() {
  const char* given = std::getenv("HEADCOUNT_SHARED");
  return std::string(given ? given : HEADCOUNT_SOURCE_DIR "/../shared") +
         "/data/weights/stories260K";
}

TEST_F(Program, WritesTheStoryLlama2cWrites) {
  if (!fs::exists(stories())) GTEST_SKIP() << stories() << " is not on this machine";
  const Finished finished = run("generate --model " + stories() + " --prompt \"\" -n 200");
  EXPECT_EQ(finished.status, 0) << finished.err;
  std::string golden = read(stories() + "/golden_greedy_n200.txt");
  if (!golden.ends_with('\n')) golden += '\n';
  EXPECT_EQ(finished.out, golden);
}

TEST_F(Program, AnswersStepOneOfATokensFile) {
  if (!fs::exists(stories())) GTEST_SKIP() << stories() << " is not on this machine";
  const auto golden = nlohmann::json::parse(read(stories() + "/golden_nll.json"));
  auto labels = golden["ids"].get<std::vector<int>>();
  labels.erase(labels.begin());
  labels.push_back(-100);
  const std::string tokens = write(
      "tokens.jsonl", nlohmann::json{{"ids", golden["ids"]}, {"labels", labels}}.dump() + "\n");
  const std::string ask =
      " --model " + stories() + " --tokens " + tokens + " --dtype float64 --format json";
  const auto answer = [&](const std::string& what) {
    const Finished finished = run(what + ask);
    EXPECT_EQ(finished.status, 0) << finished.err;
    return nlohmann::json::parse(finished.out);
  };
  const double mean = golden["mean_nll"];
  EXPECT_NEAR(answer("loss")["loss"], mean, 1e-7);
  const auto gradient = answer("gradient");
  EXPECT_NEAR(gradient["score"], -mean, 1e-7);
  EXPECT_EQ(gradient["gradient"].size(), 5U);
  const auto diagonal = answer("diagonal --quadrature adaptive --tol 1e-4");
  EXPECT_LT(diagonal["residual"], 1e-3);
  EXPECT_NEAR(diagonal["score_one"], -mean, 1e-7);
}

TEST_F(Program, AddsWithTheBuiltinModel) {
  const Finished finished = run("generate --model builtin:addition --prompt 1234+4321=");
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_EQ(finished.out, "1234+4321=05555\n");
}

TEST_F(Program, TheSameSeedWritesTheSameTextAndStreamingPrintsIt) {
  if (!fs::exists(stories())) GTEST_SKIP() << stories() << " is not on this machine";
  const std::string ask = "generate --model " + stories() +
                          " --prompt \"Once upon\" -n 40 --temperature 1 --top-k 50 --top-p 0.95";
  const Finished first = run(ask + " --seed 3");
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(run(ask + " --seed 3 --stream").out, first.out);
  EXPECT_NE(run(ask + " --seed 4").out, first.out);
  const std::string file = write("prompt", "Once upon");
  EXPECT_EQ(run("generate --model " + stories() + " --prompt-file " + file + " -n 5").out,
            run("generate --model " + stories() + " --prompt \"Once upon\" -n 5").out);
}

TEST_F(Program, FillsInMasksByEachFamilysWay) {
  const std::string goldens = stories() + "/../../goldens/";
  if (!fs::exists(goldens + "dream")) GTEST_SKIP() << goldens << " is not on this machine";
  for (const std::string& ask :
       {goldens + "dream --ids 5,6,7 -n 8 --alg topk_margin --alg-temp 0.1 --steps 4",
        goldens + "llada --ids 5,6,7 -n 8 --block-length 4 --steps 4 --remasking random "
                  "--cfg-scale 0.5 --temperature 0.7"}) {
    const Finished finished = run("generate --format json --model " + ask);
    ASSERT_EQ(finished.status, 0) << finished.err;
    const auto out = nlohmann::json::parse(finished.out);
    EXPECT_EQ(out["n_prompt"], 3) << ask;
    EXPECT_EQ(out["ids"].size(), 11U) << ask;
    EXPECT_EQ(run("generate --format json --model " + ask).out, finished.out) << ask;
  }
  expect_bad_input("generate --model " + goldens + "llada --ids 5 -n 8 --block-length 3", "blocks");
  expect_bad_input("generate --model " + goldens + "llada --ids 5 --alg entropy", "--alg");
  expect_bad_input("generate --model " + goldens + "dream --ids 5 --cfg-scale 1", "--cfg-scale");
  expect_bad_input("generate --model " + goldens + "gpt2 --ids 5 --steps 4", "--steps");
}

TEST_F(Program, EverySubcommandExplainsItself) {
  const std::string help = run("--help").out;
  for (const char* command : {"serve", "run", "compare", "loss", "gradient", "diagonal", "generate",
                              "verify", "info", "bench", "train"}) {
    EXPECT_NE(help.find(command), std::string::npos) << command;
    const Finished finished = run(std::string(command) + " --help");
    EXPECT_EQ(finished.status, 0);
    EXPECT_NE(finished.out.find("Usage:"), std::string::npos) << command;
  }
}

TEST_F(Program, RefusesBadInputInOneSentenceWithStatusTwo) {
  const std::string garbage = write("garbage", "\x01\x02 no file of ours");
  const std::string tokens =
      write("tokens.jsonl", "{\"ids\": [1, 2, 99], \"labels\": [2, 3, -100]}\n");
  expect_bad_input("run /nowhere/shards -o x", "/nowhere/shards");
  expect_bad_input("run " + garbage + " -o x", garbage);
  expect_bad_input("compare " + garbage + " " + garbage, garbage);
  expect_bad_input("compare /nowhere/a /nowhere/b", "/nowhere/a");
  expect_bad_input("verify /nowhere/model", "/nowhere/model");
  expect_bad_input("train verify /nowhere/model", "/nowhere/model");
  expect_bad_input("bench forward --model /nowhere/model", "/nowhere/model");
  expect_bad_input("loss --model builtin:addition --tokens /nowhere/tokens", "/nowhere/tokens");
  expect_bad_input("loss --model builtin:addition --tokens " + tokens, tokens);
  expect_bad_input("loss --model builtin:addition --tokens " + garbage, garbage);
  expect_bad_input("loss --model builtin:unheard --tokens " + tokens, "unheard");
  expect_bad_input("loss --tokens " + tokens, "--model");
  expect_bad_input("diagonal --model builtin:addition --quadrature simpson --tokens " +
                       write("good", "{\"ids\": [1, 2], \"labels\": [2, -100]}\n"),
                   "simpson");
  expect_bad_input("generate --model builtin:addition --prompt hello", "digits");
  expect_bad_input("generate --model builtin:addition --ids 1,77", "77");
  expect_bad_input("generate --model builtin:addition --prompt-file /nowhere/prompt",
                   "/nowhere/prompt");
  expect_bad_input("generate --model builtin:addition --prompt 1+1= --chat", "--chat");
  expect_bad_input("generate --model builtin:addition --prompt 1+1= --system x", "--chat");
  expect_bad_input("generate --model builtin:addition --prompt 1+1= --stop x", "--stop");
  expect_bad_input("generate --model builtin:addition --prompt 1+1= --stream", "--stream");
  expect_bad_input("generate --model builtin:addition --prompt 1+1= --stream --format json",
                   "--stream");
  expect_bad_input("info --device tpu:0 --threads 0", "--threads");
  expect_bad_input("loss --device cuda:99 --model builtin:addition --tokens " + tokens, "cuda:99");
  expect_bad_input("conjure", "conjure");
}

TEST_F(Program, InfoIsOneJsonObject) {
  const auto info = nlohmann::json::parse(run("info --format json").out);
  for (const char* name :
       {"version", "libtorch", "blas", "tag_cpu", "cuda", "warnings", "float32_gflops"})
    EXPECT_TRUE(info.contains(name)) << name;
  EXPECT_EQ(info["tag_cpu"].get<std::string>().substr(0, 4), "cpu-");
}

}  // namespace
}  // namespace headcount::runner
