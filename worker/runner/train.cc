// The recipe of models/builtin: its defaults are the shape and schedule of builtin:addition.
#include "worker/runner/train.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>

#include "experiments/datasets/addition.h"
#include "models/training/checkpoint.h"
#include "models/training/masked_lm.h"
#include "schemas/bad_input.h"

namespace headcount::runner {

namespace {

namespace addition = datasets::addition;
namespace training = models::training;

constexpr int64_t kRowSize = addition::kPromptSize + addition::kAnswerSize;
constexpr uint64_t kHeldOutSeed = 1;  // the order of held-out problems: always the same ones

struct TrainArguments {
  int64_t n_layers = 4, n_heads = 8, n_kv_heads = 8, d_model = 128, d_mlp = 384;
  training::TrainOptions options;
  int threads = 1;
  int64_t n_verified = 10'000;
  std::string directory;
};

training::Rows rows_of(addition::Split split, uint64_t seed) {
  return [problems = addition::Stream(split, seed)](int64_t first, int64_t count) {
    at::Tensor rows = at::empty({count, kRowSize}, at::kLong);
    int64_t* out = rows.data_ptr<int64_t>();
    for (int64_t i = first; i < first + count; ++i)
      out = std::ranges::copy(addition::tokens(problems(static_cast<uint64_t>(i))), out).out;
    return rows;
  };
}

models::Config config_of(const TrainArguments& arguments) {
  const auto multiple = [](int64_t value, int64_t of, const std::string& what) {
    if (value % of != 0) throw Error(what);
  };
  multiple(arguments.d_model, 2 * arguments.n_heads, "--width must be an even multiple of --heads");
  multiple(arguments.n_heads, arguments.n_kv_heads, "--heads must be a multiple of --kv-heads");
  models::Config config;
  config.family = "llada";
  config.n_layers = arguments.n_layers;
  config.n_heads = arguments.n_heads;
  config.n_kv_heads = arguments.n_kv_heads;
  config.d_model = arguments.d_model;
  config.d_head = arguments.d_model / arguments.n_heads;
  config.d_mlp = arguments.d_mlp;
  config.vocab_size = addition::kVocabSize;
  config.max_positions = 64;
  config.norm_eps = 1e-5;
  config.rope_theta = 1e4;
  config.mask_id = addition::kMask;
  config.bos_id = addition::kBos;
  config.eos_id = addition::kEos;
  config.pad_id = addition::kPad;
  return config;
}

void print(const training::TrainProgress& progress) {
  std::printf("step %lld of %lld  loss %.4f  held-out exact match %.4f  %.0f s, %.0f s left\n",
              static_cast<long long>(progress.step), static_cast<long long>(progress.n_steps),
              progress.loss, progress.exact_match, progress.seconds, progress.seconds_left);
  std::fflush(stdout);
}

/// Exact match of a saved model on problems of the test split, by greedy unmasking in float32.
void verify(const std::string& path, int64_t n_rows) {
  const models::ModelFiles files = read_input([&] { return models::open_model(path); });
  if (files.config.vocab_size != addition::kVocabSize || files.config.mask_id != addition::kMask)
    throw BadInput(path + " is no model of the addition task: its vocabulary is another");
  const models::Model model = models::load(files, at::kFloat, at::kCPU);
  const int64_t exact = training::count_exact(model, rows_of(addition::Split::kTest, kHeldOutSeed),
                                              n_rows, addition::kPromptSize, kRowSize);
  std::printf("%s: exact match %.4f (%lld of %lld held-out problems)\n", path.c_str(),
              static_cast<double>(exact) / static_cast<double>(n_rows),
              static_cast<long long>(exact), static_cast<long long>(n_rows));
}

void train_addition(const TrainArguments& arguments) {
  at::set_num_threads(arguments.threads);
  const models::Config config = config_of(arguments);
  const training::Task task{.train = rows_of(addition::Split::kTrain, arguments.options.seed),
                            .held_out = rows_of(addition::Split::kValidation, kHeldOutSeed),
                            .begin = addition::kPromptSize,
                            .end = kRowSize};
  training::save_llada(config, training::train(config, task, arguments.options, print),
                       arguments.directory);
  std::printf("saved %s\n", arguments.directory.c_str());
  verify(arguments.directory, arguments.n_verified);
}

void add_addition(CLI::App& train) {
  const auto arguments = std::make_shared<TrainArguments>();
  CLI::App& command = *train.add_subcommand(
      "addition", "train a masked-diffusion model on four-digit addition; the last step is verify");
  training::TrainOptions& options = arguments->options;
  command.add_option("--layers", arguments->n_layers, "decoder layers")->check(CLI::Range(1, 64));
  command.add_option("--heads", arguments->n_heads, "query heads a layer")
      ->check(CLI::Range(1, 64));
  command.add_option("--kv-heads", arguments->n_kv_heads, "key and value heads a layer")
      ->check(CLI::Range(1, 64));
  command.add_option("--width", arguments->d_model, "d_model")->check(CLI::Range(2, 4096));
  command.add_option("--mlp", arguments->d_mlp, "hidden width of the MLP")
      ->check(CLI::Range(1, 16384));
  command.add_option("--seed", options.seed, "of initial weights, problems and masks");
  command.add_option("--steps", options.n_steps, "updates")->check(CLI::Range(1, 1'000'000));
  command.add_option("--batch", options.batch, "problems an update")->check(CLI::Range(1, 65536));
  command.add_option("--learning-rate", options.learning_rate, "at its peak, after the warm-up")
      ->check(CLI::PositiveNumber);
  command.add_option("--warmup", options.n_warmup, "updates until that peak")
      ->check(CLI::Range(1, 1'000'000));
  command.add_option("--threads", arguments->threads, "of this process")->check(CLI::Range(1, 256));
  command.add_option("--rows", arguments->n_verified, "held-out problems to verify on")
      ->check(CLI::Range(1, 10'000'000));
  command.add_option("-o,--output", arguments->directory, "folder to write the model to")
      ->required();
  command.callback([arguments] { train_addition(*arguments); });
}

void add_verify(CLI::App& train) {
  struct Arguments {
    std::string path;
    int64_t n_rows = 10'000;
    int threads = 1;
  };
  const auto arguments = std::make_shared<Arguments>();
  CLI::App& command = *train.add_subcommand(
      "verify", "exact match of an addition model over held-out problems (test split)");
  command.add_option("MODEL", arguments->path, "a folder, or builtin:NAME")->required();
  command.add_option("--rows", arguments->n_rows, "held-out problems")
      ->check(CLI::Range(1, 10'000'000));
  command.add_option("--threads", arguments->threads, "of this process")->check(CLI::Range(1, 256));
  command.callback([arguments] {
    at::set_num_threads(arguments->threads);
    verify(arguments->path, arguments->n_rows);
  });
}

}  // namespace

void add_train_command(CLI::App& app) {
  CLI::App& train = *app.add_subcommand("train", "train the built-in models, or measure one");
  train.require_subcommand(1);
  add_addition(train);
  add_verify(train);
}

}  // namespace headcount::runner
