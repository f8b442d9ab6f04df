// Part of models/tokenizers/pipeline/regex.h.
// Oniguruma's Ruby dialect for PCRE2. What differs: \s \w \h \v and word boundaries, \uHHHH, the
// meaning of (?m), {,n}; sets inside sets, {n}+ and {n}? and what only one of them knows is
// refused. ^ and $ stand at every line in both (PCRE2_MULTILINE).
#include <cctype>

#include "models/tokenizers/pipeline/regex.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

// White_Space, and all the rest, as the inside of a set; PCRE2's own \s also takes U+180E.
constexpr std::string_view kSpace = R"(\x{9}-\x{d}\x{85}\p{Z})";
constexpr std::string_view kNoSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kHex = "0-9A-Fa-f";

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& file) : pattern_(pattern), file_(file) {}

  std::string run() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\')
        escape(false);
      else if (c == '[')
        set();
      else if (c == '(')
        group();
      else if (c == '{')
        braces();
      else
        copy(1);
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error(file_ + " has a pattern this program cannot run, \"" + std::string(pattern_) +
                "\": " + what);
  }
  void copy(size_t n) {
    out_ += pattern_.substr(at_, n);
    at_ += n;
  }
  bool starts(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  /// \x, outside or inside a set.
  void escape(bool in_set) {
    if (at_ + 1 >= pattern_.size()) refuse("it ends in a backslash");
    const char c = pattern_[at_ + 1];
    const auto put = [&](std::string_view inside, bool negated) {
      if (in_set && negated) refuse(std::string("\\") + c + " inside a set");
      out_ += in_set ? std::string(inside) : (negated ? "[^" : "[") + std::string(inside) + "]";
      at_ += 2;
    };
    switch (c) {
      case 's':
        return put(kSpace, false);
      case 'S':
        return put(kNoSpace, false);
      case 'w':
        return put(kWord, false);
      case 'W':
        return put(kWord, true);
      case 'h':
        return put(kHex, false);
      case 'H':
        return put(kHex, true);
      case 'v':
        return put("\\x{b}", false);
      case 'u':
        return unicode();
      case 'b':
      case 'B':
        if (in_set && c == 'B') refuse("\\B inside a set");
        return in_set ? copy(2) : boundary(c == 'b');
      case 'p':
      case 'P':
        return property();
      default:
        break;
    }
    const auto byte = static_cast<unsigned char>(c);
    constexpr std::string_view kSame = "dDnrtfaexAzZGRXKk0123456789";
    constexpr std::string_view kSameInSet = "dDnrtfaex01234567";
    if (std::isalnum(byte) && (in_set ? kSameInSet : kSame).find(c) == std::string_view::npos)
      refuse(std::string("\\") + c);
    copy(2);
  }

  void boundary(bool at_one) {
    const std::string word = "[" + std::string(kWord) + "]";
    out_ += at_one ? "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))"
                   : "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))";
    at_ += 2;
  }

  void unicode() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    for (const char c : digits) {
      if (!std::isxdigit(static_cast<unsigned char>(c))) refuse("\\u without four hex digits");
    }
    if (digits.size() < 4) refuse("\\u without four hex digits");
    out_ += "\\x{" + std::string(digits) + "}";
    at_ += 6;
  }

  void property() {
    if (at_ + 2 >= pattern_.size() || pattern_[at_ + 2] != '{') refuse("\\p without {name}");
    const size_t end = pattern_.find('}', at_);
    if (end == std::string_view::npos) refuse("\\p without {name}");
    copy(end + 1 - at_);
  }

  void set() {
    copy(1);
    if (starts("^")) copy(1);
    if (starts("]")) copy(1);
    while (true) {
      if (at_ >= pattern_.size()) refuse("a set that does not end");
      const char c = pattern_[at_];
      if (c == ']') return copy(1);
      if (c == '[') refuse("a set inside a set");
      if (starts("&&")) refuse("&& inside a set");
      if (c == '\\')
        escape(true);
      else
        copy(1);
    }
  }

  void group() {
    if (starts("(*")) refuse("(*");
    if (!starts("(?")) return copy(1);
    for (const std::string_view same : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?#"}) {
      if (starts(same)) return copy(same.size());
    }
    if (starts("(?<") && at_ + 3 < pattern_.size() &&
        (std::isalpha(static_cast<unsigned char>(pattern_[at_ + 3])) || pattern_[at_ + 3] == '_'))
      return copy(3);
    flags();
  }

  /// (?im-x) and (?im-x:...): m is PCRE2's s.
  void flags() {
    const bool first = at_ == 0;
    std::string translated = "(?";
    size_t i = at_ + 2;
    for (; i < pattern_.size() && pattern_[i] != ')' && pattern_[i] != ':'; ++i) {
      const char c = pattern_[i];
      if (c != 'i' && c != 'm' && c != '-') refuse("(?" + std::string(1, c));
      translated += c == 'm' ? 's' : c;
    }
    if (i >= pattern_.size()) refuse("a group that does not end");
    if (pattern_[i] == ')' && !first) refuse("flags for the rest of a group");
    out_ += translated + pattern_[i];
    at_ = i + 1;
  }

  void braces() {
    size_t i = at_ + 1;
    const auto digits = [&] {
      const size_t begin = i;
      while (i < pattern_.size() && std::isdigit(static_cast<unsigned char>(pattern_[i]))) ++i;
      return i > begin;
    };
    const bool low = digits();
    const bool comma = i < pattern_.size() && pattern_[i] == ',';
    if (comma) ++i;
    const bool high = comma && digits();
    if ((!low && !high) || i >= pattern_.size() || pattern_[i] != '}') {
      out_ += "\\{";
      ++at_;
      return;
    }
    const std::string_view behind = pattern_.substr(i + 1);
    if (behind.starts_with("+")) refuse("{}+");
    if (!comma && behind.starts_with("?")) refuse("{n}?");
    out_ += low ? "{" : "{0";
    out_ += pattern_.substr(at_ + 1, i - at_);
    at_ = i + 1;
  }

  std::string_view pattern_;
  const std::string& file_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_pattern(std::string_view pattern, const std::string& file) {
  return Translator(pattern, file).run();
}

}  // namespace headcount::models
