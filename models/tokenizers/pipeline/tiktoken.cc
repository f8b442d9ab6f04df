// Part of models/tokenizers/tokenizer_model.h.
// tiktoken's rank files, "base64 rank" a line: Qwen's *.tiktoken and Llama 3's tokenizer.model.
// They name neither pre-tokenizer nor special tokens; both are those of the models that publish
// them.
#include <algorithm>
#include <map>

#include "models/tokenizers/pipeline/byte_level.h"
#include "models/tokenizers/pipeline/formats.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  while (text.ends_with('=')) text.remove_suffix(1);
  std::string bytes;
  uint32_t bits = 0, n_bits = 0;
  for (const char c : text) {
    const int digit = base64_digit(c);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    bytes += static_cast<char>(bits >> n_bits & 0xFF);
  }
  return bytes;
}

/// The tokens of a rank file, in bytes, in the order of their ranks.
std::map<int64_t, std::string> read_ranks(const std::string& path) {
  std::map<int64_t, std::string> tokens;
  size_t number = 0;
  const std::string text = read_tokenizer_file(path);
  each_line(text, [&](std::string_view line) {
    ++number;
    const size_t space = std::min(line.find(' '), line.size());
    const auto bytes = from_base64(line.substr(0, space));
    const std::string_view digits = line.substr(std::min(space + 1, line.size()));
    if (!bytes || bytes->empty() || digits.empty() || digits.size() > 9 ||
        digits.find_first_not_of("0123456789") != std::string_view::npos)
      throw Error(path + " line " + std::to_string(number) +
                  " is not \"base64 rank\", as tiktoken writes them");
    const int64_t rank = std::stoll(std::string(digits));
    if (!tokens.emplace(rank, *bytes).second)
      throw Error(path + " gives the rank " + std::to_string(rank) + " to two tokens");
  });
  if (tokens.empty()) throw Error(path + " holds no tokens");
  return tokens;
}

/// tiktoken joins the adjacent pair whose bytes are the token of lowest rank: every way to cut a
/// token into two tokens is a merge of its rank.
Merges merges_of(const std::map<int64_t, std::string>& tokens, const std::string& path) {
  std::unordered_map<std::string_view, uint32_t> ranks;
  for (const auto& [rank, bytes] : tokens) {
    if (!ranks.emplace(bytes, static_cast<uint32_t>(rank)).second)
      throw Error(path + " holds a token twice, the second time with rank " + std::to_string(rank));
  }
  Merges merges;
  for (const auto& [rank, text] : tokens) {
    const std::string_view bytes = text;
    for (size_t cut = 1; cut < bytes.size(); ++cut) {
      const auto left = ranks.find(bytes.substr(0, cut));
      if (left == ranks.end()) continue;
      const auto right = ranks.find(bytes.substr(cut));
      if (right == ranks.end()) continue;
      merges.set(left->second, right->second,
                 {static_cast<uint32_t>(rank), static_cast<uint32_t>(rank)});
    }
  }
  return merges;
}

/// Llama 3's 256 special tokens, from the first id behind the vocabulary on.
std::vector<AddedToken> llama3_tokens(int32_t first) {
  const std::map<int32_t, std::string> named = {{0, "<|begin_of_text|>"},
                                                {1, "<|end_of_text|>"},
                                                {6, "<|start_header_id|>"},
                                                {7, "<|end_header_id|>"},
                                                {9, "<|eot_id|>"}};
  std::vector<AddedToken> tokens;
  int reserved = 0;
  for (int32_t i = 0; i < 256; ++i) {
    const auto name = named.find(i);
    tokens.push_back(special_token(
        name != named.end() ? name->second
                            : "<|reserved_special_token_" + std::to_string(reserved++) + "|>",
        first + i));
  }
  return tokens;
}

std::vector<AddedToken> qwen_tokens(int32_t first) {
  return {special_token("<|endoftext|>", first), special_token("<|im_start|>", first + 1),
          special_token("<|im_end|>", first + 2)};
}

}  // namespace

TokenizerModelPtr open_tiktoken(const std::string& path, bool llama3) {
  const auto tokens = read_ranks(path);
  Merges merges = merges_of(tokens, path);
  Vocabulary vocabulary;
  for (const auto& [rank, bytes] : tokens)
    vocabulary.add(path, byte_level::from_bytes(bytes), rank, tokens.size());
  const auto first = static_cast<int32_t>(vocabulary.size());
  AddedTokens added(llama3 ? llama3_tokens(first) : qwen_tokens(first), vocabulary, {}, path);
  BpeOptions options;
  options.ignore_merges = true;
  PipelineParts parts =
      byte_level_parts(Bpe(std::move(vocabulary), std::move(merges), std::move(options)),
                       llama3 ? kLlama3Pattern : kQwen2Pattern, path);
  parts.added = std::move(added);
  if (llama3)
    parts.before = {first};
  else
    parts.normalizers.emplace_back(unicode::Form::kNfc);
  return std::make_unique<Pipeline>(std::move(parts));
}

}  // namespace headcount::models
