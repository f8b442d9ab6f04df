// Reading the merges of a byte-pair encoding, and added tokens, from any of the files that hold
// them.
#pragma once

#include <string>
#include <string_view>

#include "models/tokenizers/merge.h"
#include "models/tokenizers/pipeline/added_tokens.h"
#include "models/tokenizers/pipeline/json_object.h"

namespace headcount::models {

/// Merges in their order, each checked: both parts and the result are tokens.
class MergeReader {
 public:
  /// `vocabulary` must outlive this; a second part loses `continuing_prefix` in the result.
  MergeReader(const Vocabulary& vocabulary, std::string continuing_prefix, std::string file);

  void add(std::string_view left, std::string_view right);
  /// "left right".
  void add(std::string_view line);
  Merges take() { return std::move(merges_); }

 private:
  const Vocabulary& vocabulary_;
  std::string continuing_prefix_, file_;
  Merges merges_;
  uint32_t n_ = 0;
};

/// {"lstrip", "rstrip", "single_word", "normalized", "special"} of a token; what is absent is
/// false, but normalized where the token is not special.
AddedToken read_added_token(const JsonValue& flags, const std::string& content, int64_t id);

}  // namespace headcount::models
