// Byte-pair encoding of words as the published tokenizers library does it: code points as first
// symbols (with a prefix or suffix inside or at the end of a word), bytes or an unknown token for
// those that have none, then the merges in their order.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "models/tokenizers/merge.h"
#include "models/tokenizers/vocabulary.h"
#include "models/tokenizers/word_cache.h"

namespace headcount::models {

struct BpeOptions {
  bool byte_fallback = false;  // code points without a token become tokens <0x00> to <0xFF>
  bool fuse_unk = false;       // neighbours without a token become one unknown token
  bool ignore_merges = false;  // a word that is a token is taken whole
  int32_t unk = -1;            // -1: code points without a token vanish
  std::string missing_unk;     // instead: named by the file, but no token; an Error when needed
  std::string continuing_prefix, end_suffix;
};

/// What one thread needs to encode words.
struct BpeWorkspace {
  WordCache cache;
  MergeWorkspace merge;
  std::vector<int32_t> symbols;
};

class Bpe {
 public:
  /// `merges`: pairs of tokens with ranks, as merge() takes them.
  Bpe(Vocabulary vocabulary, Merges merges, BpeOptions options);

  /// Appends the ids of one word (valid UTF-8).
  void encode(std::string_view word, BpeWorkspace& work, std::vector<int32_t>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  /// The token of a code point alone, or -1.
  int32_t symbol(char32_t code_point) const;
  void encode_part(std::string_view part, BpeWorkspace& work, std::vector<int32_t>& ids) const;
  void first_symbols(std::string_view word, std::vector<int32_t>& symbols) const;

  Vocabulary vocabulary_;
  Merges merges_;
  BpeOptions options_;
  std::array<int32_t, 256> byte_ids_{};     // of byte fallback, -1 where there is none
  std::array<int32_t, 0x200> low_symbols_;  // symbol() of the first code points
  PairMap high_symbols_;                    // (code point, 0) -> symbol() of the others
  bool may_cut_ = false;
  Junctions junctions_;
};

}  // namespace headcount::models
