// utf8proc's own sorting of combining marks takes quadratic time, so its parts are called one by
// one: decompose, sort, compose.
#include "models/tokenizers/pipeline/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "models/tokenizers/utf8.h"
#include "schemas/error.h"

namespace headcount::models::unicode {
namespace {

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

/// Appends the normal form of a stretch whose ends nothing composes or sorts across.
void append_normalized(std::string& out, std::string_view text, bool compatible, bool compose,
                       std::vector<utf8proc_int32_t>& points) {
  const auto decompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                        (compatible ? UTF8PROC_COMPAT : 0));
  constexpr size_t kLongestDecomposition = 32;
  points.clear();
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<utf8proc_int32_t>(utf8::next(text, at));
    const size_t n = points.size();
    points.resize(n + kLongestDecomposition);
    int last_bound_class = 0;
    const auto made = utf8proc_decompose_char(c, points.data() + n, kLongestDecomposition,
                                              decompose, &last_bound_class);
    HC_CHECK(made >= 0 && static_cast<size_t>(made) <= kLongestDecomposition);
    points.resize(n + static_cast<size_t>(made));
  }
  const auto combining = [](utf8proc_int32_t c) {
    return utf8proc_get_property(c)->combining_class;
  };
  for (auto begin = points.begin(); begin != points.end();) {
    begin = std::find_if(begin, points.end(), combining);
    const auto end = std::find_if_not(begin, points.end(), combining);
    std::stable_sort(begin, end, [&](auto a, auto b) { return combining(a) < combining(b); });
    begin = end;
  }
  if (compose && !points.empty()) {
    const auto n = utf8proc_normalize_utf32(
        points.data(), static_cast<utf8proc_ssize_t>(points.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    HC_CHECK(n >= 0);
    points.resize(static_cast<size_t>(n));
  }
  for (const utf8proc_int32_t c : points) utf8::append(out, static_cast<char32_t>(c));
}

bool is_ascii(char c) { return static_cast<unsigned char>(c) < 0x80; }

}  // namespace

std::string normalized(std::string_view text, Form form) {
  const bool compose = form == Form::kNfc || form == Form::kNfkc;
  const bool compatible = form == Form::kNfkc || form == Form::kNfkd;
  std::string out;
  out.reserve(text.size());
  std::vector<utf8proc_int32_t> points;
  size_t copied = 0;
  for (size_t at = 0; at < text.size();) {
    if (is_ascii(text[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    bool changes = form != Form::kNfc;  // below U+0300 all text is in NFC
    for (; end < text.size() && !is_ascii(text[end]); ++end)
      changes |= static_cast<unsigned char>(text[end]) >= 0xCC;
    if (changes) {
      const size_t begin = at > copied ? at - 1 : at;  // an ASCII letter takes the mark behind it
      out += text.substr(copied, begin - copied);
      append_normalized(out, text.substr(begin, end - begin), compatible, compose, points);
      copied = end;
    }
    at = end;
  }
  out += text.substr(copied);
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = utf8::next(text, at);
    if (c < 0x80) {
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    } else if (c == 0x130) {
      out += "i\u0307";  // the one letter whose lower case is two code points
    } else {
      utf8::append(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  }
  return out;
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
  if (c == 0x85) return true;
  const auto of = category(c);
  return of == UTF8PROC_CATEGORY_ZS || of == UTF8PROC_CATEGORY_ZL || of == UTF8PROC_CATEGORY_ZP;
}

bool is_punctuation(char32_t c) {
  if (c < 0x80)
    return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
           (c >= 123 && c <= 126);
  const auto of = category(c);
  return of >= UTF8PROC_CATEGORY_PC && of <= UTF8PROC_CATEGORY_PO;
}

bool is_numeric(char32_t c) {
  const auto of = category(c);
  return of >= UTF8PROC_CATEGORY_ND && of <= UTF8PROC_CATEGORY_NO;
}

bool is_mark(char32_t c) {
  const auto of = category(c);
  return of >= UTF8PROC_CATEGORY_MN && of <= UTF8PROC_CATEGORY_ME;
}

bool is_mark_nonspacing(char32_t c) { return category(c) == UTF8PROC_CATEGORY_MN; }

bool is_other(char32_t c) { return category(c) >= UTF8PROC_CATEGORY_CC; }

}  // namespace headcount::models::unicode
