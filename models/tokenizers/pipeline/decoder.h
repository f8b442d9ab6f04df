// What tokenizer.json does to turn tokens back into text: a chain of steps, each of which takes
// tokens and gives tokens, run token by token.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "models/tokenizers/pipeline/normalizer.h"

namespace headcount::models {

struct ByteLevelDecoder {};  // GPT-2's alphabet back to bytes, all tokens as one
struct ByteFallback {};      // runs of <0x00> .. <0xFF> to text, or U+FFFD each
struct Fuse {};              // all tokens as one
struct JoinBySpace {};       // where tokenizer.json has no decoder
struct StripChar {
  std::string content;  // one code point, off the ends of each token, so many times
  size_t start = 0, stop = 0;
};
struct MetaspaceDecoder {
  std::string mark;
  bool drop_first = true;  // marks of the first token are dropped, not made spaces
};
struct WordPieceDecoder {
  std::string prefix;
  bool cleanup = true;  // no spaces before punctuation and English contractions
};
struct BpeDecoder {
  std::string suffix;  // ends a word
};

using DecoderStep = std::variant<ByteLevelDecoder, ByteFallback, Fuse, JoinBySpace, StripChar,
                                 MetaspaceDecoder, WordPieceDecoder, BpeDecoder, Replace>;

/// One text on its way through the steps, which must outlive it.
class DecoderChain {
 public:
  explicit DecoderChain(const std::vector<DecoderStep>& steps);

  void push(std::string_view token) { push(0, token, true); }
  void finish();
  /// The text so far that nothing later can change; handed out once.
  std::string take();

 private:
  struct Stage {
    const DecoderStep* step = nullptr;
    bool streams = false;  // the steps behind it take a token in parts
    std::string held;
    size_t n_tokens = 0;
    size_t n_stripped = 0;
    bool open = false;  // still at the start of a token
  };
  struct Push;
  struct Finish;

  /// `begins`: a new token; else more of the one before.
  void push(size_t stage, std::string_view token, bool begins);

  std::vector<Stage> stages_;
  std::string text_;
};

}  // namespace headcount::models
