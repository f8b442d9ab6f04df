// Text to token ids and back, exactly as each model's own tokenizer does it. Formats:
// tokenizer.json (byte-level BPE, BPE with byte fallback, WordPiece), vocab.json + merges.txt
// (GPT-2's pre-tokenizer), *.tiktoken (Qwen2's) and a tiktoken tokenizer.model (Llama 3's), a
// SentencePiece tokenizer.model, vocab.txt (WordPiece, as uncased BERT), llama2.c's tok*.bin.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headcount::models {

/// One format's work behind Tokenizer; immutable, so any number of threads may use it at once.
class TokenizerModel;
/// Its decoding, id by id.
class TokenStream;

/// A value: copies share what was read. encode and decode may be called from any thread.
class Tokenizer {
 public:
  /// `path`: a tokenizer file, or a folder holding one (tokenizer.json before vocab.json +
  /// merges.txt before tokenizer.model before *.tiktoken before vocab.txt before tok*.bin). Throws
  /// Error in one sentence naming the file: missing, truncated, oversized (above 64 MiB), not what
  /// its name says, an unknown component (named), a merge whose parts or result are not in the
  /// vocabulary, an id given twice.
  static Tokenizer open(const std::string& path);

  /// Invalid UTF-8 in `text` counts as U+FFFD. With `add_special_tokens` what the file's
  /// post-processor adds (BOS for the SentencePiece and llama2.c formats).
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = false) const;

  /// Ids outside the vocabulary decode to nothing. Always valid UTF-8: bytes that are not become
  /// U+FFFD as the original library does it. `skip_special_tokens` leaves out special tokens.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  /// One more than the largest id.
  int64_t size() const;
  /// The id of a token written as the vocabulary (or an added token) writes it.
  std::optional<int32_t> id_of(std::string_view token) const;
  /// "byte-level BPE, 50257 tokens, tokenizer.json": for `headcount model info`.
  std::string description() const;

 private:
  friend class StreamDecoder;
  explicit Tokenizer(std::shared_ptr<const TokenizerModel> model);
  std::shared_ptr<const TokenizerModel> model_;
};

/// Text as it grows, token by token: push returns what this id adds that can be shown, holding back
/// bytes of a character still incomplete; finish returns the rest. All pieces together are
/// decode(all ids).
class StreamDecoder {
 public:
  StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens);
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;
  ~StreamDecoder();
  std::string push(int32_t id);
  /// Once, at the end.
  std::string finish();

 private:
  Tokenizer tokenizer_;  // keeps alive what stream_ reads
  std::unique_ptr<TokenStream> stream_;
};

}  // namespace headcount::models
