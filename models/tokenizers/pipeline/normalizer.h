// What tokenizer.json does to a text before it is cut: normal forms, letter case, replacements.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "models/tokenizers/pipeline/regex.h"
#include "models/tokenizers/pipeline/unicode.h"

namespace headcount::models {

/// Every match of a string or of a regular expression by `content`.
struct Replace {
  std::string literal;  // used where there is no regex; empty: nothing is replaced
  std::optional<Regex> regex;
  std::string content;

  std::string operator()(std::string_view text) const;
};

struct Lowercase {};
struct StripAccents {};
struct Nmt {};  // control characters dropped, odd white space to ' '
struct ByteLevelNormalizer {};
struct Prepend {
  std::string text;  // not before an empty text
};
struct StripSpace {
  bool left = true, right = true;
};
/// BERT's: control characters dropped, white space to ' ', spaces around Chinese characters,
/// accents off, lower case.
struct BertNormalizer {
  bool clean_text = true, chinese = true, strip_accents = true, lowercase = true;
};

using Normalizer = std::variant<unicode::Form, Lowercase, StripAccents, Nmt, ByteLevelNormalizer,
                                Prepend, StripSpace, Replace, BertNormalizer>;

/// Throws Error where the text would grow beyond any use.
std::string normalized(const std::vector<Normalizer>& normalizers, std::string_view text);

/// Throws Error for a text far longer than what it was made of.
void check_growth(size_t size, size_t original_size);

}  // namespace headcount::models
