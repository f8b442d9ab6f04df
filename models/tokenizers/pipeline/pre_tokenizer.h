// What tokenizer.json does to cut a text into the words its model sees.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "models/tokenizers/pipeline/regex.h"

namespace headcount::models {

/// A text and the pieces of it that are left, in order.
struct Pieces {
  struct Piece {
    size_t begin = 0, end = 0;
    bool first = false;  // begins where the whole input began
  };
  std::string text;
  std::vector<Piece> list;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

/// What becomes of the matches a text is split at.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

using CharTest = bool (*)(char32_t);

/// `invert`: what lies between the matches counts as matches.
struct Split {
  std::variant<CharTest, std::string, Regex> at;
  Behavior behavior = Behavior::kIsolated;
  bool invert = false;
};

/// Bytes as GPT-2's alphabet; `pattern` cuts into words before.
struct ByteLevel {
  bool add_prefix_space = false;
  std::optional<Regex> pattern;
};

/// ' ' as `mark`, one put before the piece too.
struct Metaspace {
  enum class Prepend { kAlways, kFirst, kNever };
  std::string mark;
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};

using PreTokenizer = std::variant<Split, ByteLevel, Metaspace>;

/// GPT-2's words.
inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// `text` as one piece, cut by all of them.
Pieces pieces(const std::vector<PreTokenizer>& pre_tokenizers, std::string text, bool first);

}  // namespace headcount::models
