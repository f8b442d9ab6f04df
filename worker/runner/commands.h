// The subcommands of headcount-runner but serve, train and bench, as functions of their options.
// Each prints to stdout (progress to stderr) and returns the exit status; BadInput means status 2,
// any other Error 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "experiments/kinds/head_importance/head_importance.h"
#include "schemas/bad_input.h"

namespace headcount::runner {

struct ComputeOptions {
  std::string device = "cpu";
  int threads = 1;
};

/// `run SHARDS -o RESULTS`: every shard of the file, in its order.
struct RunOptions {
  std::string shards, out;
  std::vector<std::string>
      model_paths;  // NAME=DIR: a model path of the shard file, and where it is here
  ComputeOptions compute;
};
int run_shards(const RunOptions& options);

/// `quadrature SHARDS`: every row, mask and path of the file's head_importance shards by each rule
/// and by brute force (experiments/run/brute_force.h); one JSON object. `rules`: "adaptive:TOL" or
/// "trapezoid:8".
struct QuadratureOptions {
  std::string shards;
  std::vector<std::string> rules, model_paths;
  double witness_tol = 1e-4;  // how far brute force's last halving may move, times max(|dJ|, floor)
  ComputeOptions compute;
};
int quadrature(const QuadratureOptions& options);

/// `compare A B`: one JSON object; status 1 where the files hold different shards or any array lies
/// further apart than `tolerance` (mean_relative_l2 of results_file.h).
struct CompareOptions {
  std::string first, second;
  double tolerance = 0;
};
int compare_files(const CompareOptions& options);

/// `loss | gradient | diagonal --model DIR --tokens FILE`: one question about every row of a
/// `tokens` file.
struct ProbeOptions {
  std::string model, tokens, dtype = "float32", format = "text";
  ComputeOptions compute;
  int64_t micro_batch = 64;
  std::string quadrature = "adaptive";  // diagonal
  int64_t ig_steps = 0;                 // 0: 8, or what adaptive starts from
  double baseline = 0, tol = experiments::head_importance::kTol;
  int64_t max_evaluations = 4097;
};
int loss(const ProbeOptions& options);
int gradient(const ProbeOptions& options);
int diagonal(const ProbeOptions& options);

/// `generate --model DIR --prompt TEXT`: a causal model continues the prompt, a masked one fills in
/// masks behind it (LLaDA's way, or Dream's where the model is shifted). A flag that is absent has
/// the family's default; one that the way of decoding does not have is refused.
struct GenerateOptions {
  std::string model, prompt, prompt_file, dtype = "float32", format = "text";
  std::vector<int32_t> ids;  // instead of a prompt, for models without a tokenizer
  bool chat = false, stream = false;
  std::string system, chat_template;
  std::vector<std::string> stop;
  int64_t tokens = -1;  // to write; -1: 100 (causal), 128 (masked), or the five digits of a sum
  uint64_t seed = 0;
  std::optional<double> temperature, top_p, cfg_scale, eps, alg_temp;
  std::optional<int64_t> top_k, steps, block_length;
  std::string remasking, alg;  // empty: absent
  bool logits_eos_inf = false, confidence_eos_eot_inf = false;
  ComputeOptions compute;
};
int generate(const GenerateOptions& options);

/// `verify DIR`: reads every weight; with a golden (its own golden.json where it has one) compares
/// what the published code computed. Status 1 where any quantity exceeds its tolerance.
struct VerifyOptions {
  std::string model, golden, text, dtype = "float32", format = "text";
  bool witness = false;  // the plain transformer too
  ComputeOptions compute;
};
int verify(const VerifyOptions& options);

/// `info`: versions, libraries in use and their speed, devices, numerics tags, what is wrong.
/// Status 0 also with warnings.
struct InfoOptions {
  std::string format = "text";
  ComputeOptions compute;
};
int info(const InfoOptions& options);

}  // namespace headcount::runner
