// What every tokenizer format does behind Tokenizer, and the files its readers read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace headcount::models {

/// Ids to text, one after the other. All pieces together are valid UTF-8.
class TokenStream {
 public:
  virtual ~TokenStream() = default;
  /// What this id adds that nothing later can change.
  virtual std::string push(int32_t id) = 0;
  virtual std::string finish() = 0;
};

class TokenizerModel {
 public:
  virtual ~TokenizerModel() = default;
  /// `text` is valid UTF-8.
  virtual std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const = 0;
  /// This object must outlive the stream.
  virtual std::unique_ptr<TokenStream> stream(bool skip_special_tokens) const = 0;
  virtual int64_t size() const = 0;
  virtual std::optional<int32_t> id_of(std::string_view token) const = 0;
  virtual std::string description() const = 0;
};

using TokenizerModelPtr = std::unique_ptr<const TokenizerModel>;

inline constexpr uint64_t kMaxTokenizerBytes = uint64_t{64} << 20;

/// The bytes of a tokenizer file; throws Error when it is absent, unreadable, no file, or larger
/// than kMaxTokenizerBytes.
std::string read_tokenizer_file(const std::string& path);

TokenizerModelPtr open_llama2c(const std::string& path);
TokenizerModelPtr open_sentencepiece(const std::string& path);
/// By libsentencepiece; null in programs hc_sentencepiece is not linked into.
[[gnu::weak]] TokenizerModelPtr open_with_sentencepiece_library(const std::string& path);
#ifdef HEADCOUNT_UNICODE
TokenizerModelPtr open_tokenizer_json(const std::string& path);
/// vocab.json + merges.txt of a folder, with the added tokens that stand beside them.
TokenizerModelPtr open_vocab_merges(const std::string& folder);
/// *.tiktoken (Qwen2's pre-tokenizer) or a tiktoken tokenizer.model (Llama 3's).
TokenizerModelPtr open_tiktoken(const std::string& path, bool llama3);
TokenizerModelPtr open_vocab_txt(const std::string& path);
#endif

}  // namespace headcount::models
