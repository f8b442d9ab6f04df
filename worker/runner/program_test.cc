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

#include "experiments/sweep.h"

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
  for (const char* command : {"serve", "run", "quadrature", "compare", "loss", "gradient",
                              "diagonal", "generate", "verify", "info", "bench", "train"}) {
    EXPECT_NE(help.find(command), std::string::npos) << command;
    const Finished finished = run(std::string(command) + " --help");
    EXPECT_EQ(finished.status, 0);
    EXPECT_NE(finished.out.find("Usage:"), std::string::npos) << command;
  }
}

/// The shard file of a stage on two rows of the built-in model, as `headcount plan --shards` does.
std::string shards_of(const fs::path& folder, const std::string& stage) {
  const auto made = experiments::prepare(R"(name = "x"
[models.m]
path = "builtin:addition"
[datasets.d]
task = "addition"
split = "train"
rows = 2
[[stage]]
name = "s"
)" + stage,
                                         "x.toml", ".");
  EXPECT_EQ(to_string(made.problems), "");
  const auto& only = made.sweep->stages[0];
  const auto& model = *only.points[0].model;
  ShardFile file{.model_paths = {{model.fingerprint, model.path}}, .shards = {}};
  for (int64_t i = 0; i < count(only); ++i) file.shards.push_back(shard(only, i));
  const std::string path = (folder / ("shards_" + std::string(only.kind->name))).string();
  write_shard_file(path, file);
  return path;
}

TEST_F(Program, QuadratureMeasuresRulesAgainstBruteForce) {
  const std::string shards =
      shards_of(folder_, "kind = \"head_importance\"\nmask_probs = [0.3, 0.7]\nmask_samples = 1\n");
  const Finished finished =
      run("quadrature " + shards + " --rule adaptive:0.01 --rule trapezoid:8 --witness-tol 1e-3");
  ASSERT_EQ(finished.status, 0) << finished.err;
  const auto found = nlohmann::json::parse(finished.out);
  EXPECT_EQ(found["witness_tol"], 1e-3);
  EXPECT_GT(found["witness_evaluations"], 4 * 16 * 8);
  ASSERT_EQ(found["rules"].size(), 2U);
  const auto &adaptive = found["rules"][0], &trapezoid = found["rules"][1];
  EXPECT_EQ(adaptive["rule"], "adaptive:0.01");
  EXPECT_EQ(adaptive["n"], 4);  // two rows, two masks
  EXPECT_EQ(adaptive["unconverged"], 0);
  EXPECT_EQ(adaptive["beyond_10_tol"], 0);
  EXPECT_LT(adaptive["worst_over_tol"], 10);
  EXPECT_GE(adaptive["evaluations_mean"], 45);
  EXPECT_GE(adaptive["evaluations_max"], adaptive["evaluations_mean"]);
  EXPECT_LT(adaptive["mean_vector_error"], 0.02);
  EXPECT_EQ(adaptive["mean_vector_error_by_mask_prob"].size(), 2U);
  EXPECT_EQ(adaptive["tol_floor"], 1);
  EXPECT_EQ(trapezoid["rule"], "trapezoid:8");
  EXPECT_EQ(trapezoid["evaluations_max"], 9);
  EXPECT_GT(trapezoid["mean_vector_error"], adaptive["mean_vector_error"]);
}

TEST_F(Program, QuadratureTakesOnlyRulesItKnowsAndShardsThatIntegrate) {
  const std::string good =
      shards_of(folder_, "kind = \"head_importance\"\nmask_probs = [0.3]\nmask_samples = 1\n");
  for (const char* rule : {"adaptive", "adaptive:", "adaptive:x", "adaptive:-1", "trapezoid:0",
                           "trapezoid:8x", "adaptive:nan"})
    expect_bad_input(
        "quadrature " + good + " --rule " + rule,
        std::string("--rule ") + rule + ": write adaptive:TOL, or NAME:INTERVALS as trapezoid:8");
  expect_bad_input("quadrature " + good + " --rule trapezoid:8.5", "a whole number of intervals");
  expect_bad_input("quadrature " + good + " --rule trapezoid:1e9", "up to 65536");
  expect_bad_input("quadrature " + good + " --rule right:inf", "up to 65536");
  expect_bad_input("quadrature " + good + " --rule simpson:8", "simpson");
  expect_bad_input("quadrature " + good, "--rule");
  expect_bad_input("quadrature " + good + " --rule right:8 --witness-tol 0", "--witness-tol");
  expect_bad_input("quadrature /nowhere/shards --rule right:8", "/nowhere/shards");
  const std::string other =
      shards_of(folder_, "kind = \"evaluate\"\nmetrics = [\"exact_match\"]\n");
  expect_bad_input("quadrature " + other + " --rule right:8",
                   other + " holds shards of kind evaluate: only head_importance integrates");
  const std::string threshold =
      shards_of(folder_,
                "kind = \"head_importance\"\nmask_probs = [0.3]\nmask_samples = 1\n"
                "path_mode = \"stochastic_threshold\"\n");
  expect_bad_input("quadrature " + threshold + " --rule right:8 --rule gauss_legendre:8",
                   "--rule gauss_legendre:8: Gauss-Legendre is for the diagonal only");
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
