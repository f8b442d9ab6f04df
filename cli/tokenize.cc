// Part of cli/command.h.
// headcount tokenize: texts as token ids, and ids as text, by any tokenizer file.

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "models/files/config.h"
#include "models/tokenizers/tokenizer.h"

namespace headcount::cli {
namespace {

using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

struct Options {
  std::string tokenizer, text;
  bool stdin0 = false, jsonl = false, special = false;
};

/// The tokenizer of PATH: a tokenizer file, a folder holding one, or builtin:NAME.
models::Tokenizer open_tokenizer(const std::string& path) {
  if (!path.starts_with("builtin:")) return models::Tokenizer::open(path);
  const models::ModelFiles model = models::open_model(path);
  if (model.tokenizer.empty()) throw BadInput(path + " has no tokenizer");
  return models::Tokenizer::open(model.tokenizer);
}

std::string ids_text(const Ids& ids) {
  std::string text;
  for (const int32_t id : ids) text += (text.empty() ? "" : " ") + std::to_string(id);
  return text;
}

/// A line of --jsonl: a string, {"text", "add_special_tokens"} or {"ids"}.
Ids ids_of_line(const models::Tokenizer& tokenizer, const std::string& line, int64_t number,
                bool special) {
  const Json json = Json::parse(line, nullptr, false);
  const auto refuse = [&](const std::string& why) {
    throw BadInput("line " + std::to_string(number) + " of stdin: " + why);
  };
  if (json.is_discarded()) refuse("not valid JSON");
  if (json.is_string()) return tokenizer.encode(json.get<std::string>(), special);
  if (!json.is_object() || json.contains("text") == json.contains("ids"))
    refuse(R"(expected a string, {"text": ...} or {"ids": [...]})");
  if (json.contains("text")) {
    if (!json["text"].is_string()) refuse("\"text\" must be a string");
    if (json.contains("add_special_tokens")) {
      if (!json["add_special_tokens"].is_boolean())
        refuse("\"add_special_tokens\" must be true or false");
      special = json["add_special_tokens"].get<bool>();
    }
    return tokenizer.encode(json["text"].get<std::string>(), special);
  }
  Ids ids;
  if (!json["ids"].is_array()) refuse("\"ids\" must be a list of token ids");
  for (const Json& id : json["ids"]) {
    const bool fits = id.is_number_integer() && id.get<int64_t>() >= INT32_MIN &&
                      id.get<int64_t>() <= INT32_MAX &&
                      !(id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX);
    if (!fits) refuse("\"ids\" holds " + id.dump() + ", which is no token id");
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

std::string answer(const models::Tokenizer& tokenizer, const Ids& ids) {
  return Json{{"ids", ids},
              {"decoded", tokenizer.decode(ids, false)},
              {"decoded_skip", tokenizer.decode(ids, true)}}
      .dump();
}

int tokenize(const Session& session, const Options& options, bool one_text) {
  const models::Tokenizer tokenizer = read_input([&] { return open_tokenizer(options.tokenizer); });
  const bool json = session.common.json() || options.jsonl;
  const bool to_file = !session.common.output.empty();
  std::string kept;  // a file is written whole or not at all; stdout as lines come
  const auto put = [&](const Ids& ids) {
    const std::string line = (json ? answer(tokenizer, ids) : ids_text(ids)) + "\n";
    to_file ? void(kept += line) : void(std::cout << line);
  };
  if (one_text) {
    put(tokenizer.encode(options.text, options.special));
  } else {
    std::string text;
    for (int64_t n = 1; std::getline(std::cin, text, options.stdin0 ? '\0' : '\n'); ++n) {
      put(options.jsonl ? ids_of_line(tokenizer, text, n, options.special)
                        : tokenizer.encode(text, options.special));
    }
  }
  if (to_file) emit(session.common, kept);
  if (!std::cout.flush()) throw Error("cannot write to stdout");
  return kOk;
}

}  // namespace

void add_tokenize_command(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* cut = add_command(
      app, session, "tokenize", "texts as token ids: one line of stdin, one line of ids",
      "  headcount tokenize --tokenizer tokenizer.json --text \"Once upon a time\"\n"
      "  headcount tokenize --tokenizer MODEL_DIR < texts.txt\n"
      "  printf 'two\\nlines\\0another text\\0' | headcount tokenize --tokenizer MODEL_DIR "
      "--stdin0\n"
      "  echo '{\"ids\": [1, 2, 3]}' | headcount tokenize --tokenizer MODEL_DIR --jsonl\n"
      "A text's line of ids is empty where the text is. No special tokens are added unless asked "
      "for.",
      nullptr);
  cut->add_option(
         "--tokenizer", options->tokenizer,
         "tokenizer.json, vocab.json, tokenizer.model, *.tiktoken, vocab.txt, tok*.bin, or "
         "a folder with one of them")
      ->required()
      ->type_name("PATH");
  CLI::Option* text = cut->add_option("--text", options->text, "this text instead of stdin");
  CLI::Option* stdin0 =
      cut->add_flag("--stdin0", options->stdin0,
                    "texts on stdin end with a NUL byte, not a newline; the last may lack it");
  cut->add_flag(
         "--jsonl", options->jsonl,
         "lines are JSON: a string, {\"text\", \"add_special_tokens\"} or {\"ids\"}; answers "
         "are {\"ids\", \"decoded\", \"decoded_skip\"}, the last without special tokens")
      ->excludes(stdin0);
  cut->add_flag("--special", options->special,
                "add the special tokens the tokenizer puts around a text");
  add_output(*cut, session, {"text", "json"});
  cut->callback([&session, options, text] {
    session.command = [&session, options, text] {
      return tokenize(session, *options, text->count() > 0);
    };
  });
}

}  // namespace headcount::cli
