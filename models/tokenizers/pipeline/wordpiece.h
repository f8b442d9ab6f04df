// WordPiece: the longest token a word begins with, then the longest the rest begins with, written
// with a prefix; a word that cannot be written so is unknown as a whole.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizers/vocabulary.h"

namespace headcount::models {

struct WordPieceOptions {
  int32_t unk = 0;
  std::string continuing_prefix = "##";
  size_t max_word_code_points = 100;  // longer words are unknown
};

class WordPiece {
 public:
  WordPiece(Vocabulary vocabulary, WordPieceOptions options);

  /// Appends the ids of one word (valid UTF-8).
  void encode(std::string_view word, std::vector<int32_t>& ids) const;
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  WordPieceOptions options_;
  size_t longest_ = 0;  // bytes of the longest token
};

}  // namespace headcount::models
