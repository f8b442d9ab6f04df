// Part of cli/command.h.
// headcount model info | verify, generate: models by hand.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/local.h"
#include "cli/text.h"
#include "models/files/config.h"
#include "models/files/memory_plan.h"
#include "models/tokenizers/chat_template.h"
#include "models/tokenizers/tokenizer.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string directory;
  bool no_fingerprint = false;
};

std::string bytes_text(uint64_t bytes) {
  char text[32];
  const bool big = bytes >= 1'000'000'000;
  std::snprintf(text, sizeof text, big ? "%.2f GB" : "%.1f MB",
                static_cast<double>(bytes) / (big ? 1e9 : 1e6));
  return text;
}

constexpr const char* kDtypes[] = {"float64", "float32", "bfloat16", "float16"};

uint64_t weight_bytes(const models::Config& config, const std::string& dtype) {
  return static_cast<uint64_t>(models::parameter_count(config) * models::dtype_bytes(dtype));
}

/// What differs from a plain Llama, in words.
std::string block_text(const models::Config& c) {
  std::string text = c.norm == models::NormKind::kRms ? "RMS norm" : "LayerNorm";
  text += c.norm_weight ? "" : " without weights";
  if (c.qk_norm) text += ", queries and keys normed";
  if (c.n_turning() > 0) {
    text += c.rotary == models::RotaryStyle::kInterleaved ? ", interleaved rotary" : ", rotary";
    text += " " + std::to_string(c.n_turning()) + " of " + std::to_string(c.d_head);
    if (c.rope_scaling.factor != 1) text += " (llama3 scaling)";
  }
  if (c.n_learned_positions > 0) text += ", learned positions";
  if (c.n_time_steps > 0) text += ", learned noise levels";
  if (c.window > 0) text += ", window of " + std::to_string(c.window);
  if (c.qkv_bias || c.o_bias || c.mlp_bias || c.head_bias) text += ", biases";
  if (c.residual != models::Residual::kSequential) text += ", attention and MLP in parallel";
  text += c.gated_mlp ? ", gated MLP" : ", plain MLP";
  if (c.shifted) text += ", logit j predicts token j + 1";
  return text;
}

/// "byte-level BPE, 50257 tokens ...", or why it cannot be opened.
std::string tokenizer_text(const models::ModelFiles& files) {
  if (files.tokenizer.empty()) return "none";
  try {
    return models::Tokenizer::open(files.tokenizer).description();
  } catch (const Error& error) {
    return std::string("cannot be used: ") + error.what();
  }
}

/// The chat template's name; empty where there is none, or one that is not known.
std::string chat_name(const models::ModelFiles& files) {
  try {
    return models::chat_format(files.directory, "").name;
  } catch (const Error&) {
    return "";
  }
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Json info_json(const models::ModelFiles& files, const std::string& fingerprint) {
  const models::Config& config = files.config;
  Json bytes;
  for (const char* dtype : kDtypes) bytes[dtype] = weight_bytes(config, dtype);
  const std::string chat = chat_name(files);
  return {{"directory", files.directory},
          {"family", config.family},
          {"fingerprint", fingerprint.empty() ? Json() : Json(fingerprint)},
          {"weights", models::parameter_count(config)},
          {"weight_bytes", bytes},
          {"n_layers", config.n_layers},
          {"n_heads", config.n_heads},
          {"n_kv_heads", config.n_kv_heads},
          {"d_model", config.d_model},
          {"d_head", config.d_head},
          {"d_mlp", config.d_mlp},
          {"vocab_size", config.vocab_size},
          {"max_positions", config.max_positions},
          {"block", block_text(config)},
          {"causal", config.causal},
          {"shifted", config.shifted},
          {"mask_id", config.mask_id},
          {"stop_ids", config.stop_ids},
          {"tied_head", config.tied_head},
          {"tokenizer", tokenizer_text(files)},
          {"chat_template", chat.empty() ? Json() : Json(chat)},
          {"extra", files.extra}};
}

std::string info_text(const models::ModelFiles& files, const std::string& fingerprint) {
  const models::Config& config = files.config;
  const auto number = [](int64_t value) { return std::to_string(value); };
  std::string memory;
  for (const char* dtype : kDtypes)
    memory += (memory.empty() ? "" : ", ") + std::string(dtype) + " " +
              bytes_text(weight_bytes(config, dtype));
  const std::string chat = chat_name(files);
  return "directory    " + files.directory + "\nfamily       " + config.family +
         (config.causal ? ", causal" : ", bidirectional") +
         (config.masked() ? ", masked diffusion (mask token " + number(config.mask_id) + ")" : "") +
         "\nshape        " + number(config.n_layers) + " layers, " + number(config.n_heads) +
         " heads of " + number(config.d_head) + ", " + number(config.n_kv_heads) +
         " key/value heads, width " + number(config.d_model) + ", MLP " + number(config.d_mlp) +
         "\nblock        " + block_text(config) + "\nvocabulary   " + number(config.vocab_size) +
         ", up to " + number(config.max_positions) + " positions\nweights      " +
         grouped(models::parameter_count(config)) +
         (config.tied_head ? ", head tied to the embedding" : "") + "\nmemory       " + memory +
         "\ntokenizer    " + tokenizer_text(files) +
         (chat.empty() ? "" : "\nchat         template " + chat) +
         (files.extra.empty() ? "" : "\nunused       " + joined(files.extra)) +
         (fingerprint.empty() ? "" : "\nfingerprint  " + fingerprint);
}

int info(const Session& session, const Options& options) {
  const models::ModelFiles files =
      read_input([&] { return models::open_model(options.directory); });
  const std::string fingerprint =
      options.no_fingerprint ? "" : read_input([&] { return models::fingerprint(files); });
  emit(session.common, session.common.json()    ? info_json(files, fingerprint).dump()
                       : session.common.quiet() ? fingerprint
                                                : info_text(files, fingerprint));
  return kOk;
}

/// Hands what follows the command's name to headcount-runner.
int hand_to_runner(const std::string& command, const CLI::App& app) {
  std::vector<std::string> arguments = {command};
  for (const std::string& argument : app.remaining()) arguments.push_back(argument);
  become_runner(arguments);
}

}  // namespace

void add_model_commands(CLI::App& app, Session& session) {
  CLI::App* family = app.add_subcommand("model", "models on disk: info, verify");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* about =
      add_command(*family, session, "info",
                  "family, shape, memory, tokenizer, fingerprint; every weight's place is checked",
                  "  headcount model info builtin:addition\n  headcount model info "
                  "/models/LLaDA-8B --format json",
                  [&session, options] { return info(session, *options); });
  about->add_option("model", options->directory, "a model directory or builtin:NAME")->required();
  about->add_flag("--no-fingerprint", options->no_fingerprint,
                  "do not read the weights: a first fingerprint takes about a second per GB");
  add_output(*about, session, {"text", "json", "quiet"});

  CLI::App* verified =
      family->add_subcommand("verify",
                             "compare with golden.json beside the weights (logits, losses, gate "
                             "gradients), by headcount-runner; without one, look for NaN");
  verified->footer(
      "Examples:\n  headcount model verify DIR --golden golden.json --dtype float64\nFlags are "
      "headcount-runner's: "
      "headcount-runner verify --help");
  verified->prefix_command();
  verified->set_help_flag();  // --help is the runner's
  verified->callback([&session, verified] {
    session.command = [verified] { return hand_to_runner("verify", *verified); };
  });

  CLI::App* generated = app.add_subcommand(
      "generate",
      "text from a model, by headcount-runner (its flags: headcount-runner generate --help)");
  generated->footer("Examples:\n  headcount generate --model DIR --prompt \"Once upon a time\"");
  generated->prefix_command();
  generated->set_help_flag();
  generated->callback([&session, generated] {
    session.command = [generated] { return hand_to_runner("generate", *generated); };
  });
}

}  // namespace headcount::cli
