// A tokenizer as tokenizer.json describes one, and what the other byte-level and WordPiece formats
// become too: added tokens, normalizers, pre-tokenizers, a model, special tokens around, decoders.
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "models/tokenizers/bpe.h"
#include "models/tokenizers/pipeline/added_tokens.h"
#include "models/tokenizers/pipeline/decoder.h"
#include "models/tokenizers/pipeline/normalizer.h"
#include "models/tokenizers/pipeline/pre_tokenizer.h"
#include "models/tokenizers/pipeline/wordpiece.h"
#include "models/tokenizers/tokenizer_model.h"

namespace headcount::models {

/// A text longer than this, special tokens included, loses its end or (`left`) its beginning.
struct Truncation {
  size_t max_length = 0;
  bool left = false;
};

/// A shorter text is filled up to `length`, or to its own length, rounded up to a multiple.
struct Padding {
  std::optional<size_t> length;
  size_t multiple = 1;
  bool left = false;
  int32_t id = 0;
};

struct PipelineParts {
  std::vector<Normalizer> normalizers;
  AddedTokens added;
  std::vector<PreTokenizer> pre_tokenizers;
  std::variant<Bpe, WordPiece> model;
  std::vector<int32_t> before, after;  // special tokens around a text
  std::vector<DecoderStep> decoders;
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
  std::string description;  // without the number of tokens: "byte-level BPE"
  std::string file;         // tokenizer.json
};

class Pipeline : public TokenizerModel {
 public:
  explicit Pipeline(PipelineParts parts) : parts_(std::move(parts)) {}

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override;
  std::unique_ptr<TokenStream> stream(bool skip_special_tokens) const override;
  int64_t size() const override;
  std::optional<int32_t> id_of(std::string_view token) const override;
  std::string description() const override;

 private:
  class Stream;
  const Vocabulary& vocabulary() const;
  void encode_text(std::string_view text, bool first, BpeWorkspace& work,
                   std::vector<int32_t>& ids) const;

  PipelineParts parts_;
  mutable Pool<BpeWorkspace> workspaces_;
};

}  // namespace headcount::models
