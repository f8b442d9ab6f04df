// Part of models/tokenizers/tokenizer_model.h.
// Vocabularies without a description: vocab.json + merges.txt (GPT-2's words, or Qwen2's where
// tokenizer_config.json names its class) and vocab.txt (uncased BERT), with the added tokens that
// stand in files beside them.
#include <algorithm>
#include <filesystem>
#include <set>

#include "models/tokenizers/pipeline/formats.h"
#include "models/tokenizers/pipeline/json_components.h"
#include "models/tokenizers/pipeline/merges.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

namespace fs = std::filesystem;

/// What stands beside vocab.json: the added tokens of tokenizer_config.json, added_tokens.json and
/// special_tokens_map.json, each once, in this order of trust.
class Beside {
 public:
  Beside(const fs::path& folder, const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
    const auto config = read(folder / "tokenizer_config.json");
    const auto added = read(folder / "added_tokens.json");
    const auto special = read(folder / "special_tokens_map.json");
    if (config) {
      tokenizer_class_ = (*config)["tokenizer_class"].string_or("");
      if (const JsonValue tokens = (*config)["added_tokens_decoder"]; !tokens.is_null())
        tokens.each([&](const std::string& id, const JsonValue& token) { decoder(id, token); });
    }
    if (added) {
      added->each([&](const std::string& content, const JsonValue& id) {
        if (seen_.insert(content).second)
          tokens_.push_back(
              read_added_token(JsonValue::parse("{}", added->file()), content, id.integer()));
      });
    }
    if (special) mark_special(*special);
    if (config) mark_special(*config);
    if (config && (*config)["add_bos_token"].boolean(false)) {
      if (const auto bos = id(text_of((*config)["bos_token"]))) before_.push_back(*bos);
    }
    if (!special && !config) {  // GPT-2's and GPT-NeoX's own, which nothing else names then
      for (const char* token : {"<|endoftext|>", "<|padding|>"}) mark_special_text(token);
    }
    if (tokens_.empty()) {
      if (const auto end = vocabulary.id("<|endoftext|>"))
        tokens_.push_back(special_token("<|endoftext|>", *end));
    }
  }

  bool is_qwen2() const {
    return tokenizer_class_.starts_with("Qwen2") || tokenizer_class_.starts_with("Dream");
  }
  /// GPT-NeoX's, by its class or by the padding token only it adds.
  bool is_gpt_neox() const {
    return tokenizer_class_.starts_with("GPTNeoX") || seen_.contains("<|padding|>");
  }
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  const std::vector<int32_t>& before() const { return before_; }

 private:
  static std::optional<JsonValue> read(const fs::path& path) {
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) return std::nullopt;
    const JsonValue value = JsonValue::parse(read_tokenizer_file(path.string()), path.string());
    if (!value.is_object()) value.refuse("is no JSON object");
    return value;
  }

  /// A token as a string or as {"content"}; empty where there is none.
  static std::string text_of(const JsonValue& token) {
    if (token.is_string()) return token.string();
    return token.has("content") ? token["content"].string() : "";
  }

  void decoder(const std::string& id, const JsonValue& token) {
    const bool number =
        !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
    if (!number) token.refuse("has the key \"" + id + "\", which is no id");
    const std::string& content = token["content"].string();
    if (!seen_.insert(content).second) token.refuse("holds \"" + content + "\" twice");
    tokens_.push_back(read_added_token(token, content, std::stoll(id)));
  }

  std::optional<int32_t> id(const std::string& content) const {
    for (const AddedToken& token : tokens_) {
      if (token.content == content) return token.id;
    }
    return vocabulary_.id(content);
  }

  void mark_special(const JsonValue& map) {
    map.each([&](const std::string& key, const JsonValue& value) {
      if (key == "additional_special_tokens" && value.is_array()) {
        for (const JsonValue& item : value.items()) mark_special_token(item);
      } else if (key.ends_with("_token")) {
        mark_special_token(value);
      }
    });
  }

  /// The token where it was not known as an added one before.
  AddedToken* mark_special_text(const std::string& content) {
    for (AddedToken& token : tokens_) {
      if (token.content == content) {
        token.special = true;
        return nullptr;
      }
    }
    const auto known = vocabulary_.id(content);
    if (!known) return nullptr;
    return &tokens_.emplace_back(special_token(content, *known));
  }

  void mark_special_token(const JsonValue& value) {
    const std::string content = text_of(value);
    AddedToken* const token = content.empty() ? nullptr : mark_special_text(content);
    if (token == nullptr || !value.is_object()) return;
    token->lstrip = value["lstrip"].boolean(false);
    token->rstrip = value["rstrip"].boolean(false);
    token->single_word = value["single_word"].boolean(false);
  }

  const Vocabulary& vocabulary_;
  std::string tokenizer_class_;
  std::vector<AddedToken> tokens_;
  std::set<std::string> seen_;
  std::vector<int32_t> before_;
};

}  // namespace

PipelineParts byte_level_parts(Bpe bpe, std::string_view pattern, const std::string& file) {
  PipelineParts parts{.normalizers = {},
                      .added = {},
                      .pre_tokenizers = {},
                      .model = std::move(bpe),
                      .before = {},
                      .after = {},
                      .decoders = {ByteLevelDecoder{}},
                      .truncation = {},
                      .padding = {},
                      .description = "byte-level BPE",
                      .file = fs::path(file).filename().string()};
  parts.pre_tokenizers.push_back(ByteLevel{false, Regex(pattern, file)});
  return parts;
}

AddedToken special_token(std::string content, int32_t id) {
  return {.content = std::move(content),
          .id = id,
          .single_word = false,
          .lstrip = false,
          .rstrip = false,
          .normalized = false,
          .special = true};
}

TokenizerModelPtr open_vocab_merges(const std::string& folder) {
  const fs::path vocab = fs::path(folder) / "vocab.json", merges = fs::path(folder) / "merges.txt";
  const JsonValue json = JsonValue::parse(read_tokenizer_file(vocab.string()), vocab.string());
  const std::string lines = read_tokenizer_file(merges.string());
  Vocabulary vocabulary;
  const size_t n = json.is_object() ? json.size() : 0;
  json.each([&](const std::string& token, const JsonValue& id) {
    vocabulary.add(vocab.string(), token, id.integer(), n);
  });
  MergeReader reader(vocabulary, "", merges.string());
  each_line(lines, [&](std::string_view line) {
    if (!line.starts_with("#version")) reader.add(line);
  });
  const Beside beside(folder, vocabulary);
  std::vector<Normalizer> normalizers;
  if (beside.is_qwen2() || beside.is_gpt_neox()) normalizers.emplace_back(unicode::Form::kNfc);
  AddedTokens added(beside.tokens(), vocabulary, normalizers, folder);
  PipelineParts parts =
      byte_level_parts(Bpe(std::move(vocabulary), reader.take(), BpeOptions{}),
                       beside.is_qwen2() ? kQwen2Pattern : kGpt2Pattern, vocab.string());
  parts.normalizers = std::move(normalizers);
  parts.added = std::move(added);
  parts.before = beside.before();
  parts.file = "vocab.json + merges.txt";
  return std::make_unique<Pipeline>(std::move(parts));
}

TokenizerModelPtr open_vocab_txt(const std::string& path) {
  const std::string text = read_tokenizer_file(path);
  Vocabulary vocabulary;
  const auto n = static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) + 1;
  int64_t next_id = 0;
  each_line(text, [&](std::string_view line) {
    if (!utf8::is_valid(line))
      throw Error(path + " is no vocabulary: token " + std::to_string(next_id) + " is not UTF-8");
    vocabulary.add(path, std::string(line), next_id++, n);
  });
  const auto unk = vocabulary.id("[UNK]");
  if (!unk) throw Error(path + " is no WordPiece vocabulary: it has no [UNK]");
  bool lowercase = true;
  const fs::path config = fs::path(path).parent_path() / "tokenizer_config.json";
  std::error_code ignored;
  if (fs::is_regular_file(config, ignored))
    lowercase =
        JsonValue::parse(read_tokenizer_file(config.string()), config.string())["do_lower_case"]
            .boolean(true);
  std::vector<AddedToken> special;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) {
    if (const auto id = vocabulary.id(token)) special.push_back(special_token(token, *id));
  }
  const auto cls = vocabulary.id("[CLS]"), sep = vocabulary.id("[SEP]");
  AddedTokens added(std::move(special), vocabulary, {}, path);
  PipelineParts parts{
      .normalizers = {BertNormalizer{.strip_accents = lowercase, .lowercase = lowercase}},
      .added = std::move(added),
      .pre_tokenizers = {},
      .model = WordPiece(std::move(vocabulary), {.unk = *unk}),
      .before = {},
      .after = {},
      .decoders = {WordPieceDecoder{"##", true}},
      .truncation = {},
      .padding = {},
      .description = lowercase ? "WordPiece, lower case" : "WordPiece",
      .file = "vocab.txt"};
  add_bert_pre_tokenizer(parts.pre_tokenizers);
  if (cls) parts.before.push_back(*cls);
  if (sep) parts.after.push_back(*sep);
  return std::make_unique<Pipeline>(std::move(parts));
}

}  // namespace headcount::models
