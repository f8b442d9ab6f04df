#include "models/tokenizers/pipeline/normalizer.h"

#include "models/tokenizers/pipeline/byte_level.h"
#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models {
namespace {

using unicode::Form;

/// The code points of `text` that `keep` keeps, each as `map` makes it.
template <class Keep, class Map>
std::string mapped(std::string_view text, Keep keep, Map map) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = utf8::next(text, at);
    if (keep(c)) utf8::append(out, map(c));
  }
  return out;
}

template <class Keep>
std::string kept(std::string_view text, Keep keep) {
  return mapped(text, keep, [](char32_t c) { return c; });
}

/// As BERT's code has them; the range from U+2B920 is its own slip.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_control(char32_t c) { return c != '\t' && c != '\n' && c != '\r' && unicode::is_other(c); }

std::string cleaned(std::string_view text) {
  return mapped(
      text, [](char32_t c) { return c != 0 && c != 0xFFFD && !is_control(c); },
      [](char32_t c) { return unicode::is_white_space(c) ? U' ' : c; });
}

std::string spaced_chinese(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = utf8::next(text, at);
    const bool apart = c >= 0x3400 && is_chinese(c);
    if (apart) out += ' ';
    utf8::append(out, c);
    if (apart) out += ' ';
  }
  return out;
}

std::string without_control(std::string_view text) {
  const auto keep = [](char32_t c) {
    return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
             c == 0x9F);
  };
  const auto map = [](char32_t c) {
    const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    return space ? U' ' : c;
  };
  return mapped(text, keep, map);
}

std::string stripped(std::string_view text, const StripSpace& strip) {
  size_t begin = 0, end = text.size();
  for (size_t at = 0; strip.left && begin < end; begin = at) {
    if (!unicode::is_white_space(utf8::next(text, at))) break;
  }
  for (size_t at = end; strip.right && begin < end; end = at) {
    if (!unicode::is_white_space(utf8::previous(text, at))) break;
  }
  return std::string(text.substr(begin, end - begin));
}

struct Apply {
  std::string text;

  std::string operator()(Form form) const { return unicode::normalized(text, form); }
  std::string operator()(const Lowercase&) const { return unicode::lower(text); }
  std::string operator()(const StripAccents&) const {
    return kept(text, [](char32_t c) { return !unicode::is_mark(c); });
  }
  std::string operator()(const Nmt&) const { return without_control(text); }
  std::string operator()(const ByteLevelNormalizer&) const { return byte_level::from_bytes(text); }
  std::string operator()(const Prepend& prepend) const {
    return text.empty() ? text : prepend.text + text;
  }
  std::string operator()(const StripSpace& strip) const { return stripped(text, strip); }
  std::string operator()(const Replace& replace) const { return replace(text); }
  std::string operator()(const BertNormalizer& bert) const {
    std::string out = bert.clean_text ? cleaned(text) : text;
    if (bert.chinese) out = spaced_chinese(out);
    if (bert.strip_accents)
      out = kept(unicode::normalized(out, Form::kNfd),
                 [](char32_t c) { return !unicode::is_mark_nonspacing(c); });
    return bert.lowercase ? unicode::lower(out) : out;
  }
};

}  // namespace

void check_growth(size_t size, size_t original_size) {
  constexpr size_t kBesides = size_t{4} << 20, kTimes = 64;
  if (size > kBesides + kTimes * original_size)
    throw Error("the tokenizer's replacements turn a text of " + std::to_string(original_size) +
                " bytes into one of more than " + std::to_string(size) +
                "; its tokenizer.json is no use for texts");
}

std::string Replace::operator()(std::string_view text) const {
  if (!regex && literal.empty()) return std::string(text);
  std::string out;
  size_t copied = 0, from = 0;
  bool matched = false;
  while (from <= text.size()) {
    std::optional<Regex::Match> match;
    if (regex) {
      match = regex->find(text, from);
    } else if (const size_t at = text.find(literal, from); at != std::string_view::npos) {
      match = Regex::Match{at, at + literal.size()};
    }
    if (!match) break;
    if (match->begin == match->end && matched && match->end == copied) {
      // Nothing right behind a match is none: look again from the next code point.
      from += from < text.size() ? utf8::size_of(text[from]) : 1;
      continue;
    }
    out += text.substr(copied, match->begin - copied);
    out += content;
    check_growth(out.size(), text.size());
    copied = from = match->end;
    matched = true;
  }
  out += text.substr(copied);
  return out;
}

std::string normalized(const std::vector<Normalizer>& normalizers, std::string_view text) {
  Apply state{std::string(text)};
  for (const Normalizer& normalizer : normalizers) {
    state.text = std::visit(state, normalizer);
    check_growth(state.text.size(), text.size());
  }
  return std::move(state.text);
}

}  // namespace headcount::models
