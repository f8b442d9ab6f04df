// Unicode's normal forms, categories and letter case, by utf8proc.
#pragma once

#include <string>
#include <string_view>

namespace headcount::models::unicode {

enum class Form { kNfc, kNfd, kNfkc, kNfkd };

/// `text` is valid UTF-8. Time linear in its size (n log n in a run of combining marks).
std::string normalized(std::string_view text, Form form);

/// Each code point alone, so a final sigma stays σ.
std::string lower(std::string_view text);

bool is_white_space(char32_t c);
/// ASCII's !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~ or a category P.
bool is_punctuation(char32_t c);
bool is_numeric(char32_t c);          // category N
bool is_mark(char32_t c);             // category M
bool is_mark_nonspacing(char32_t c);  // category Mn
bool is_other(char32_t c);            // category C, but not an unassigned code point

}  // namespace headcount::models::unicode
