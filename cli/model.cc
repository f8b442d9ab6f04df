// headcount model info | verify, tokenize, generate: models and tokenizers by hand.

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/local.h"
#include "cli/text.h"
#include "models/files/config.h"
#include "models/tokenizers/tokenizer.h"

namespace headcount::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options {
  std::string directory, tokenizer, text;
  bool stdin0 = false, jsonl = false, bos = false;
};

int64_t n_weights(const models::ModelFiles& files) {
  int64_t n = 0;
  for (const models::TensorPlace& tensor : files.tensors) {
    int64_t size = 1;
    for (const int64_t d : tensor.shape) size *= d;
    n += size;
  }
  return n;
}

int info(const Session& session, const Options& options) {
  const models::ModelFiles files = models::open_model(options.directory);
  const models::Config& config = files.config;
  const std::string fingerprint = models::fingerprint(files);
  if (session.common.json()) {
    emit(session.common, Json{{"directory", files.directory},
                              {"family", config.family},
                              {"fingerprint", fingerprint},
                              {"weights", n_weights(files)},
                              {"n_layers", config.n_layers},
                              {"n_heads", config.n_heads},
                              {"n_kv_heads", config.n_kv_heads},
                              {"d_model", config.d_model},
                              {"d_head", config.d_head},
                              {"d_mlp", config.d_mlp},
                              {"vocab_size", config.vocab_size},
                              {"max_positions", config.max_positions},
                              {"causal", config.causal},
                              {"mask_id", config.mask_id},
                              {"tied_head", config.tied_head},
                              {"tokenizer", files.tokenizer}}
                             .dump());
    return kOk;
  }
  if (session.common.quiet()) {
    emit(session.common, fingerprint);
    return kOk;
  }
  const auto number = [](int64_t value) { return std::to_string(value); };
  emit(session.common,
       "directory    " + files.directory + "\nfamily       " + config.family +
           (config.causal ? ", causal" : ", bidirectional") +
           (config.masked() ? ", masked diffusion (mask token " + number(config.mask_id) + ")"
                            : "") +
           "\nshape        " + number(config.n_layers) + " layers, " + number(config.n_heads) +
           " heads of " + number(config.d_head) + ", " + number(config.n_kv_heads) +
           " key/value heads, width " + number(config.d_model) + ", MLP " + number(config.d_mlp) +
           "\nvocabulary   " + number(config.vocab_size) + ", up to " +
           number(config.max_positions) + " positions\nweights      " + grouped(n_weights(files)) +
           (config.tied_head ? ", head tied to the embedding" : "") + "\ntokenizer    " +
           (files.tokenizer.empty() ? "none" : files.tokenizer) + "\nfingerprint  " + fingerprint);
  return kOk;
}

/// Hands what follows the command's name to headcount-runner.
int hand_to_runner(const std::string& command, const CLI::App& app) {
  std::vector<std::string> arguments = {command};
  for (const std::string& argument : app.remaining()) arguments.push_back(argument);
  become_runner(arguments);
}

/// The tokenizer of PATH: a tokenizer file, a folder holding one, or builtin:NAME.
models::Tokenizer open_tokenizer(const Options& options) {
  const std::string& path = options.tokenizer;
  if (!path.starts_with("builtin:")) return models::Tokenizer::open(path);
  const models::ModelFiles model = models::open_model(path);
  if (model.tokenizer.empty()) throw BadInput(path + " has no tokenizer");
  return models::Tokenizer::open(model.tokenizer);
}

std::string ids_text(const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

/// The text of one line of --jsonl: a string, or an object's "text".
std::string line_text(const std::string& line, int64_t number) {
  const Json json = Json::parse(line, nullptr, false);
  if (json.is_string()) return json.get<std::string>();
  if (json.is_object() && json.contains("text") && json["text"].is_string()) {
    return json["text"].get<std::string>();
  }
  throw BadInput("line " + std::to_string(number) +
                 " of stdin: expected a JSON string or an object with \"text\"");
}

int tokenize(const Session& session, const Options& options, bool one_text) {
  const models::Tokenizer tokenizer = open_tokenizer(options);
  const bool json = session.common.json() || options.jsonl;
  std::string out;
  const auto add = [&](const std::string& text) {
    const std::vector<int32_t> ids = tokenizer.encode(text, options.bos);
    out += (json ? Json{{"ids", ids}}.dump() : ids_text(ids)) + "\n";
  };
  if (one_text) {
    add(options.text);
  } else {
    std::string text;
    for (int64_t n = 1; std::getline(std::cin, text, options.stdin0 ? '\0' : '\n'); ++n) {
      add(options.jsonl ? line_text(text, n) : text);
    }
  }
  emit(session.common, out);
  return kOk;
}

}  // namespace

void add_model_commands(CLI::App& app, Session& session) {
  CLI::App* family = app.add_subcommand("model", "models on disk: info, verify");
  family->require_subcommand(1);
  const auto options = std::make_shared<Options>();

  CLI::App* about = add_command(*family, session, "info",
                                "family, shape, fingerprint; every weight's place is checked",
                                "  headcount model info builtin:addition\n  headcount model info "
                                "/models/LLaDA-8B --format json",
                                [&session, options] { return info(session, *options); });
  about->add_option("model", options->directory, "a model directory or builtin:NAME")->required();
  add_output(*about, session, {"text", "json", "quiet"});

  CLI::App* verified = family->add_subcommand(
      "verify", "read every weight by headcount-runner and look for NaN and infinities");
  verified->footer(
      "Examples:\n  headcount model verify builtin:addition\nFlags are headcount-runner's: "
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

  CLI::App* cut = add_command(
      app, session, "tokenize", "texts as token ids: one line of stdin, one line of ids",
      "  headcount tokenize --tokenizer tok512.bin --text \"Once upon a time\"\n"
      "  headcount tokenize --tokenizer MODEL_DIR --bos < texts.txt\n"
      "  find . -name '*.txt' -exec cat {} + | headcount tokenize --tokenizer MODEL_DIR --stdin0",
      nullptr);
  cut->add_option("--tokenizer", options->tokenizer, "a tokenizer file or a model directory")
      ->required()
      ->type_name("PATH");
  CLI::Option* text = cut->add_option("--text", options->text, "this text instead of stdin");
  CLI::Option* stdin0 = cut->add_flag("--stdin0", options->stdin0,
                                      "texts on stdin end with a NUL byte, not a newline");
  cut->add_flag("--jsonl", options->jsonl,
                "lines are JSON: a string or {\"text\": ...}; answers are {\"ids\": [...]}")
      ->excludes(stdin0);
  cut->add_flag("--bos", options->bos, "begin with the beginning-of-text token");
  add_output(*cut, session, {"text", "json"});
  cut->callback([&session, options, text] {
    session.command = [&session, options, text] {
      return tokenize(session, *options, text->count() > 0);
    };
  });
}

}  // namespace headcount::cli
