// Regular expressions as tokenizer.json writes them (Oniguruma's Ruby dialect, Unicode), run by
// PCRE2 (UTF, UCP, JIT). Where the dialects differ the pattern is translated, and refused where
// that cannot be done.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace headcount::models {

/// The same pattern for PCRE2. Throws Error naming `file` and what cannot be translated.
std::string translate_pattern(std::string_view pattern, const std::string& file);

/// A compiled pattern; immutable, any number of threads may search with it.
class Regex {
 public:
  /// Throws Error naming `file` and the pattern.
  Regex(std::string_view pattern, const std::string& file);

  struct Match {
    size_t begin = 0, end = 0;
  };
  /// The first match in `text` (valid UTF-8) that begins at `from` or later. Throws Error where the
  /// pattern backtracks without end.
  std::optional<Match> find(std::string_view text, size_t from) const;

 private:
  struct Code;
  std::shared_ptr<const Code> code_;
};

}  // namespace headcount::models
