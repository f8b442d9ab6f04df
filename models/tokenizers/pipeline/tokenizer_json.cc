// Part of models/tokenizers/tokenizer_model.h.
// tokenizer.json: {"added_tokens", "normalizer", "pre_tokenizer", "model", "post_processor",
// "decoder", "truncation", "padding"}. Where "model" has no "type", its keys decide.
#include <array>

#include "models/tokenizers/pipeline/json_components.h"
#include "models/tokenizers/pipeline/merges.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr int64_t kLongestPadded = 1 << 20;

std::vector<AddedToken> read_added_tokens(const JsonValue& list) {
  std::vector<AddedToken> tokens;
  for (const JsonValue& item : list.items()) {
    if (!item.is_object()) item.refuse("holds something that is no token");
    tokens.push_back(read_added_token(item, item["content"].string(), item["id"].integer()));
  }
  return tokens;
}

std::string model_type(const JsonValue& model) {
  if (!model.is_object()) model.refuse(model.is_null() ? "is missing" : "is no JSON object");
  if (!model["type"].is_null()) return model["type"].string();
  if (model.has("merges")) return "BPE";
  if (model["vocab"].is_array()) return "Unigram";
  if (model.has("continuing_subword_prefix") || model.has("max_input_chars_per_word"))
    return "WordPiece";
  model.refuse("has no \"type\", nor the keys of a BPE or WordPiece model");
}

Vocabulary read_vocabulary(const JsonValue& vocab, size_t n_added) {
  if (!vocab.is_object()) vocab.refuse(vocab.is_null() ? "is missing" : "is no JSON object");
  Vocabulary vocabulary;
  const size_t n = vocab.size();
  vocabulary.reserve(n);
  vocab.each([&](const std::string& token, const JsonValue& id) {
    vocabulary.add(vocab.file(), token, id.integer(), n + n_added);
  });
  return vocabulary;
}

Bpe read_bpe(const JsonValue& model, Vocabulary vocabulary) {
  BpeOptions options{.byte_fallback = model["byte_fallback"].boolean(false),
                     .fuse_unk = model["fuse_unk"].boolean(false),
                     .ignore_merges = model["ignore_merges"].boolean(false),
                     .unk = -1,
                     .missing_unk = "",
                     .continuing_prefix = model["continuing_subword_prefix"].string_or(""),
                     .end_suffix = model["end_of_word_suffix"].string_or("")};
  if (!model["dropout"].is_zero()) model["dropout"].refuse("is not 0; this program has no dropout");
  if (!model["unk_token"].is_null()) {
    const std::string& unk = model["unk_token"].string();
    options.unk = vocabulary.id(unk).value_or(-1);
    if (options.unk < 0)
      options.missing_unk = model.file() + ": the text needs the unknown token \"" + unk +
                            "\", which the vocabulary does not have";
  }
  MergeReader reader(vocabulary, options.continuing_prefix, model.file());
  if (!model["merges"].is_array()) model["merges"].refuse("is no list");
  for (const JsonValue& merge : model["merges"].items()) {
    if (merge.is_string()) {
      reader.add(merge.string());
      continue;
    }
    const auto parts = merge.items();
    if (parts.size() != 2) merge.refuse("holds a merge that is not two parts");
    reader.add(parts[0].string(), parts[1].string());
  }
  Merges merges = reader.take();
  return Bpe(std::move(vocabulary), std::move(merges), std::move(options));
}

WordPiece read_wordpiece(const JsonValue& model, Vocabulary vocabulary) {
  const std::string unk = model["unk_token"].string_or("[UNK]");
  const auto id = vocabulary.id(unk);
  if (!id) model["unk_token"].refuse("is \"" + unk + "\", which the vocabulary does not have");
  WordPieceOptions options{.unk = *id,
                           .continuing_prefix = model["continuing_subword_prefix"].string_or("##"),
                           .max_word_code_points = 100};
  if (const JsonValue most = model["max_input_chars_per_word"]; !most.is_null()) {
    if (most.integer() < 0) most.refuse("is negative");
    options.max_word_code_points = static_cast<size_t>(most.integer());
  }
  return WordPiece(std::move(vocabulary), std::move(options));
}

bool read_left(const JsonValue& direction) {
  const std::string name = direction.string_or("Right");
  if (name != "Left" && name != "Right") direction.refuse("is \"" + name + "\", not Left or Right");
  return name == "Left";
}

std::optional<Truncation> read_truncation(const JsonValue& truncation, size_t n_around) {
  if (truncation.is_null()) return std::nullopt;
  const int64_t length = truncation["max_length"].integer();
  if (length < static_cast<int64_t>(n_around))
    truncation["max_length"].refuse("is " + std::to_string(length) +
                                    ", less than the special tokens around a text");
  const std::string strategy = truncation["strategy"].string_or("LongestFirst");
  if (strategy != "LongestFirst" && strategy != "OnlyFirst")
    truncation["strategy"].refuse("is \"" + strategy + "\", not LongestFirst or OnlyFirst");
  return Truncation{static_cast<size_t>(length), read_left(truncation["direction"])};
}

std::optional<Padding> read_padding(const JsonValue& padding) {
  if (padding.is_null()) return std::nullopt;
  const auto length = [](const JsonValue& value) {
    const int64_t n = value.integer();
    if (n < 0 || n > kLongestPadded)
      value.refuse("is " + std::to_string(n) + ", not 0 to " + std::to_string(kLongestPadded));
    return static_cast<size_t>(n);
  };
  Padding out{.length = std::nullopt,
              .multiple = 1,
              .left = read_left(padding["direction"]),
              .id = static_cast<int32_t>(length(padding["pad_id"]))};
  if (padding["strategy"].has("Fixed"))
    out.length = length(padding["strategy"]["Fixed"]);
  else if (padding["strategy"].string_or("BatchLongest") != "BatchLongest")
    padding["strategy"].refuse("is neither \"BatchLongest\" nor {\"Fixed\": n}");
  if (!padding["pad_to_multiple_of"].is_null())
    out.multiple = std::max<size_t>(1, length(padding["pad_to_multiple_of"]));
  return out;
}

std::string describe(const PipelineParts& parts, const JsonValue& model) {
  if (std::holds_alternative<WordPiece>(parts.model)) return "WordPiece";
  for (const PreTokenizer& step : parts.pre_tokenizers) {
    if (std::holds_alternative<ByteLevel>(step)) return "byte-level BPE";
  }
  for (const Normalizer& step : parts.normalizers) {
    if (std::holds_alternative<ByteLevelNormalizer>(step)) return "byte-level BPE";
  }
  return model["byte_fallback"].boolean(false) ? "BPE with byte fallback" : "BPE";
}

}  // namespace

TokenizerModelPtr open_tokenizer_json(const std::string& path) {
  const JsonValue root = JsonValue::parse(read_tokenizer_file(path), path);
  const JsonValue model = root["model"];
  const std::string type = model_type(model);
  if (type != "BPE" && type != "WordPiece")
    throw Error(path + " has a model of type \"" + type +
                "\", which this program does not have (BPE, WordPiece)");
  std::vector<Normalizer> normalizers;
  read_normalizer(root["normalizer"], normalizers);
  std::vector<AddedToken> added = read_added_tokens(root["added_tokens"]);
  Vocabulary vocabulary = read_vocabulary(model["vocab"], added.size());
  AddedTokens found(std::move(added), vocabulary, normalizers, path);
  PipelineParts parts{
      .normalizers = std::move(normalizers),
      .added = std::move(found),
      .pre_tokenizers = {},
      .model = type == "BPE" ? std::variant<Bpe, WordPiece>(read_bpe(model, std::move(vocabulary)))
                             : read_wordpiece(model, std::move(vocabulary)),
      .before = {},
      .after = {},
      .decoders = {},
      .truncation = {},
      .padding = {},
      .description = "",
      .file = "tokenizer.json"};
  read_pre_tokenizer(root["pre_tokenizer"], parts.pre_tokenizers);
  read_post_processor(root["post_processor"], parts.before, parts.after);
  read_decoder(root["decoder"], parts.decoders);
  if (parts.decoders.empty()) parts.decoders.push_back(JoinBySpace{});
  parts.truncation = read_truncation(root["truncation"], parts.before.size() + parts.after.size());
  parts.padding = read_padding(root["padding"]);
  parts.description = describe(parts, model);
  return std::make_unique<Pipeline>(std::move(parts));
}

}  // namespace headcount::models
