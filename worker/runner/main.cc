// headcount-runner: the only program that links LibTorch. A worker daemon starts it with `serve`;
// every other subcommand works alone.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cluster/process/process.h"
#include "experiments/rule.h"
#include "models/memory.h"
#include "schemas/problem.h"
#include "schemas/version.h"
#include "worker/runner/bench.h"
#include "worker/runner/commands.h"
#include "worker/runner/serve.h"
#include "worker/runner/train.h"

namespace headcount::runner {
namespace {

/// CLI11's own check names a range of 300 digits.
std::string not_negative(const std::string& text) {
  char* end = nullptr;
  const bool holds = std::strtod(text.c_str(), &end) >= 0 && end != text.c_str() && *end == '\0';
  return holds ? "" : "must be 0 or more";
}

void add_compute(CLI::App& command, ComputeOptions& compute) {
  command.add_option("--device", compute.device, "cpu or cuda:N")->capture_default_str();
  command
      .add_option("--threads", compute.threads, "threads of a CPU runner; part of the numerics tag")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
}

void add_format(CLI::App& command, std::string& format) {
  command.add_option("--format", format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_model(CLI::App& command, std::string& model, std::string& dtype) {
  command.add_option("--model", model, "a model directory, or builtin:NAME")->required();
  command.add_option("--dtype", dtype, "float64, float32, bfloat16 or float16")
      ->check(CLI::IsMember({"float64", "float32", "bfloat16", "float16"}))
      ->capture_default_str();
}

/// The options of every subcommand; CLI11 writes into them.
struct Options {
  ServeOptions serve;
  ComputeOptions serve_compute;
  RunOptions run;
  QuadratureOptions quadrature;
  CompareOptions compare;
  ProbeOptions probe;
  GenerateOptions generate;
  VerifyOptions verify;
  InfoOptions info;
};

CLI::App* add_serve(CLI::App& app, Options& options) {
  CLI::App* command = app.add_subcommand(
      "serve",
      "Compute shards for the worker daemon that started this program, over the socket on fd 3.");
  add_compute(*command, options.serve_compute);
  command
      ->add_option("--share", options.serve.share,
                   "runners that use this device: memory is planned for one of so many")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  return command;
}

CLI::App* add_run(CLI::App& app, Options& options) {
  CLI::App* command =
      app.add_subcommand("run",
                         "Compute the shards of a file, as `headcount plan SPEC --shards FILE` "
                         "writes it, without coordinator or worker.");
  command->add_option("SHARDS", options.run.shards, "the shard file")->required();
  command->add_option("-o,--output", options.run.out, "the results file to write")->required();
  command->add_option(
      "--model-path", options.run.model_paths,
      "NAME=DIR: where the model the shard file calls NAME is on this machine (repeatable)");
  add_compute(*command, options.run.compute);
  return command;
}

CLI::App* add_quadrature(CLI::App& app, Options& options) {
  QuadratureOptions& quadrature = options.quadrature;
  CLI::App* command = app.add_subcommand(
      "quadrature",
      "How far rules of integration are from brute force on the head_importance shards of a file, "
      "as `headcount plan SPEC --shards FILE` writes it: per rule, over all rows, masks and paths, "
      "the worst error in units of its tolerance, the error of the mean vector, the gradients "
      "spent. One JSON object. Brute force takes some thousand gradients a path.");
  command->add_option("SHARDS", quadrature.shards, "the shard file")->required();
  command
      ->add_option("--rule", quadrature.rules,
                   "adaptive:TOL, or a fixed rule and its intervals as trapezoid:8 (repeatable)")
      ->required();
  command
      ->add_option("--witness-tol", quadrature.witness_tol,
                   "brute force goes on until its last halving moves less than this times "
                   "max(|change of J|, tol_floor)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option(
      "--model-path", quadrature.model_paths,
      "NAME=DIR: where the model the shard file calls NAME is on this machine (repeatable)");
  add_compute(*command, quadrature.compute);
  return command;
}

CLI::App* add_compare(CLI::App& app, Options& options) {
  CLI::App* command =
      app.add_subcommand("compare",
                         "How far the results in two files of `run` lie apart, as one JSON object: "
                         "per array the worst absolute and relative difference, "
                         "the relative L2 over all elements and that of the means over rows. "
                         "Status 1 above the tolerance.");
  command->add_option("A", options.compare.first, "a results file")->required();
  command->add_option("B", options.compare.second, "another one")->required();
  command
      ->add_option("--tolerance", options.compare.tolerance,
                   "the largest relative L2 of any array's mean over rows")
      ->check(not_negative)
      ->capture_default_str();
  return command;
}

CLI::App* add_probe(CLI::App& app, Options& options, const std::string& name,
                    const std::string& help) {
  CLI::App* command = app.add_subcommand(name, help);
  ProbeOptions& probe = options.probe;
  add_model(*command, probe.model, probe.dtype);
  command
      ->add_option("--tokens", probe.tokens,
                   "JSONL rows {\"ids\": [...], \"labels\": [...]}: labels[i] is what the logit at "
                   "position i must predict, -100 = not supervised")
      ->required();
  command
      ->add_option("--micro-batch", probe.micro_batch,
                   "samples computed together; changes last bits")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_format(*command, probe.format);
  add_compute(*command, probe.compute);
  return command;
}

CLI::App* add_diagonal(CLI::App& app, Options& options) {
  ProbeOptions& probe = options.probe;
  std::string rules;
  for (const auto name : experiments::rule_names())
    rules += (rules.empty() ? "" : ", ") + std::string(name);
  CLI::App* command = add_probe(app, options, "diagonal",
                                "Integrated gradients of J = -loss over the head gates, all gates "
                                "rising together from the baseline to one.");
  command->add_option("--quadrature", probe.quadrature, "the rule: " + rules)
      ->capture_default_str();
  command
      ->add_option("--ig-steps", probe.ig_steps,
                   "intervals (gauss_legendre: nodes; adaptive: those it starts from); default 8, "
                   "adaptive 11")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--baseline", probe.baseline, "gate at the start of the path, in [0, 1)")
      ->capture_default_str();
  command
      ->add_option("--tol", probe.tol,
                   "adaptive: relative error of the vector at which halving stops")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--max-evaluations", probe.max_evaluations, "adaptive: gradients a row may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return command;
}

void add_sampling(CLI::App& command, GenerateOptions& generate) {
  command.add_option("--seed", generate.seed, "of every draw: the same seed, the same text")
      ->capture_default_str();
  command
      .add_option("--temperature", generate.temperature,
                  "0: the most probable token (default 0; Dream: 0.1)")
      ->check(not_negative);
  command
      .add_option("--top-p", generate.top_p,
                  "causal and Dream: draw among the most probable tokens up to this sum (default "
                  "1; Dream: 0.9)")
      ->check(CLI::Range(0.0, 1.0));
  command
      .add_option("--top-k", generate.top_k,
                  "causal and Dream: draw among the k most probable tokens (default 0: all)")
      ->check(not_negative);
}

void add_unmasking(CLI::App& command, GenerateOptions& generate) {
  command.add_option("--steps", generate.steps, "masked models: passes (default: one a token)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--block-length", generate.block_length,
                  "LLaDA: tokens filled in before the next ones (default 32 where that divides "
                  "--tokens, else all)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--remasking", generate.remasking,
                  "LLaDA: low_confidence (default) or random: which proposals stay masked")
      ->check(CLI::IsMember({"low_confidence", "random"}));
  command
      .add_option("--cfg-scale", generate.cfg_scale,
                  "LLaDA: guidance by the logits of the masked prompt (default 0: none)")
      ->check(not_negative);
  command.add_flag("--logits-eos-inf", generate.logits_eos_inf,
                   "LLaDA: never write the end-of-text token");
  command.add_flag("--confidence-eos-eot-inf", generate.confidence_eos_eot_inf,
                   "LLaDA: write end-of-text and end-of-turn tokens last");
  command
      .add_option("--alg", generate.alg,
                  "Dream: origin, maskgit_plus, topk_margin or entropy (default)")
      ->check(CLI::IsMember({"origin", "maskgit_plus", "topk_margin", "entropy"}));
  command
      .add_option("--alg-temp", generate.alg_temp,
                  "Dream: draw positions from softmax(confidence / this) (default 0: the surest)")
      ->check(not_negative);
  command.add_option("--eps", generate.eps, "Dream: the last noise level (default 0.001)")
      ->check(CLI::Range(1e-12, 0.999));
}

CLI::App* add_generate(CLI::App& app, Options& options) {
  GenerateOptions& generate = options.generate;
  CLI::App* command =
      app.add_subcommand("generate",
                         "What a model writes: a causal model after the prompt, a masked one into "
                         "positions behind it (LLaDA's way, or Dream's for a Dream model).");
  add_model(*command, generate.model, generate.dtype);
  auto* prompt = command->add_option("--prompt", generate.prompt,
                                     "text; may be empty for a model with a tokenizer");
  auto* file = command
                   ->add_option("--prompt-file", generate.prompt_file,
                                "a file holding the text instead; - is standard input")
                   ->excludes(prompt);
  command->add_option("--ids", generate.ids, "token ids instead, separated by commas")
      ->delimiter(',')
      ->check([](const std::string& id) { return id.empty() ? "it is empty" : ""; })
      ->excludes(prompt)
      ->excludes(file);
  command->add_flag("--chat", generate.chat,
                    "the prompt is a user's turn: put it into the model's chat template and print "
                    "the answer alone");
  command->add_option("--system", generate.system, "--chat: the system message");
  command->add_option("--template", generate.chat_template,
                      "--chat: a template by name, where the model's own is missing or unknown");
  command
      ->add_option("-n,--tokens", generate.tokens,
                   "how many tokens to write: at most for a causal model (default 100), exactly "
                   "for a masked one (default 128; a built-in model: its five digits)")
      ->check(not_negative);
  command->add_option("--stop", generate.stop,
                      "a token, as the vocabulary writes it, that ends the answer (repeatable)");
  command->add_flag("--stream", generate.stream, "print text as it comes");
  add_sampling(*command, generate);
  add_unmasking(*command, generate);
  add_format(*command, generate.format);
  add_compute(*command, generate.compute);
  return command;
}

CLI::App* add_verify(CLI::App& app, Options& options) {
  VerifyOptions& verify = options.verify;
  CLI::App* command = app.add_subcommand(
      "verify",
      "Read every weight of a model (shapes, finite numbers, fingerprint) and compare its logits, "
      "losses, gate gradients and path integrals with those its published code computed. Status 1 "
      "where a difference exceeds its tolerance.");
  command->add_option("MODEL", verify.model, "a model directory, or builtin:NAME")->required();
  command->add_option("--golden", verify.golden,
                      "what to compare with; the model's own golden.json or golden_masked_ce.json "
                      "where it has one, else weights only are checked");
  command->add_option("--text", verify.text,
                      "the text a golden_masked_ce.json is cut from, where no folder above it has "
                      "lm_text/tinyshakespeare.txt");
  command->add_option("--dtype", verify.dtype, "float64, float32, bfloat16 or float16")
      ->check(CLI::IsMember({"float64", "float32", "bfloat16", "float16"}))
      ->capture_default_str();
  command->add_flag("--witness", verify.witness,
                    "the plain transformer and autograd too, not the fast path alone");
  add_format(*command, verify.format);
  add_compute(*command, verify.compute);
  return command;
}

CLI::App* add_info(CLI::App& app, Options& options) {
  CLI::App* command = app.add_subcommand("info",
                                         "Versions, the libraries that compute and how fast, "
                                         "devices, numerics tags, and what is wrong with them.");
  command->alias("doctor");
  add_format(*command, options.info.format);
  add_compute(*command, options.info.compute);
  return command;
}

/// Throws where the first word is no command: CLI11 alone would only say that a subcommand is
/// required.
void check_command(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->check_name(word)) return;
    names.push_back(command->get_name());
  }
  const std::string near = closest(word, names);
  throw BadInput("there is no command " + word +
                 (near.empty() ? "; --help lists them" : "; did you mean " + near + "?"));
}

int run_program(int argc, char** argv) {
  CLI::App app("headcount-runner computes shards of Headcount experiments with LibTorch.");
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  Options options;
  int status = 0;
  add_serve(app, options)->callback([&] {
    options.serve.device = options.serve_compute.device;
    options.serve.threads = options.serve_compute.threads;
    process::close_on_exec_everything();
    status = serve(options.serve);
  });
  add_run(app, options)->callback([&] { status = run_shards(options.run); });
  add_quadrature(app, options)->callback([&] { status = quadrature(options.quadrature); });
  add_compare(app, options)->callback([&] { status = compare_files(options.compare); });
  add_probe(app, options, "loss",
            "Loss of every row (rows with choices: their log-probabilities), in nats.")
      ->callback([&] { status = loss(options.probe); });
  add_probe(app, options, "gradient", "Gradient of J = -loss in every head gate, at gates of one.")
      ->callback([&] { status = gradient(options.probe); });
  add_diagonal(app, options)->callback([&] { status = diagonal(options.probe); });
  add_generate(app, options)->callback([&] { status = generate(options.generate); });
  add_verify(app, options)->callback([&] { status = verify(options.verify); });
  add_info(app, options)->callback([&] { status = info(options.info); });
  CLI::App* bench =
      app.add_subcommand("bench", "Measurements; the last line of stdout is one JSON object.");
  bench->require_subcommand(1);
  const auto add_bench = [&](const char* name, const char* help,
                             int (*run)(const std::vector<std::string>&)) {
    CLI::App* command = bench->add_subcommand(name, help);
    command->prefix_command();
    command->callback([&status, command, run] { status = run(command->remaining()); });
  };
  add_bench("head-importance",
            "Gate gradients of a random LLaDA-shaped model against the best matrix-product rate of "
            "this process. Flags: --threads N (2), --dtype float32|bfloat16|float64, "
            "--device cpu|cuda:N, --repeats N (5), --samples N (10).",
            bench_head_importance);
  add_bench("checkpoint",
            "Write a checkpoint of LLaDA-8B's or Dream-7B's shape with random weights. Flags: "
            "--shape llada-8b|dream-7b, --output DIR, --layers N, --seed N.",
            bench_checkpoint);
  add_bench("forward",
            "One model's forward + backward pass: seconds, peak memory, share of the best "
            "matrix-product rate. Flags: --model DIR, --tokens N, --supervised N, --dtype D, "
            "--layers N, --checkpointing, --micro-batch N, --repeats N, --threads N, --device D.",
            bench_forward);
  add_train_command(app);
  if (argc > 1 && argv[1][0] != '-') check_command(app, argv[1]);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return status;
}

}  // namespace
}  // namespace headcount::runner

int main(int argc, char** argv) {
  headcount::models::keep_freed_memory();
  try {
    const int status = headcount::runner::run_program(argc, argv);
    if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
    std::fprintf(stderr, "headcount-runner: cannot write to stdout: %s\n", std::strerror(errno));
    return 1;
  } catch (const headcount::BadInput& error) {
    std::fprintf(stderr, "headcount-runner: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "headcount-runner: %s\n", headcount::runner::message_of(error).c_str());
    return 1;
  }
}
