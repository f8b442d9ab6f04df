// UTF-8 by hand where a library would cost more than it saves: reading and writing code points, and
// the repair of invalid text (each maximal invalid part becomes one U+FFFD, as the Unicode Standard
// recommends in section 3.9 and the published tokenizers do).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace headcount::models::utf8 {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Bytes of the code point that begins with `lead`, which is valid.
inline size_t size_of(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

/// The code point at `at` of valid text; `at` moves behind it.
char32_t next(std::string_view text, size_t& at);

/// The code point that ends before `at` > 0 of valid text; `at` moves to its first byte.
char32_t previous(std::string_view text, size_t& at);

void append(std::string& out, char32_t code_point);

bool is_valid(std::string_view text);

/// Code points in valid text.
size_t length(std::string_view text);

/// What becomes one U+FFFD: a maximal invalid part, or each byte of it (SentencePiece).
enum class Invalid { kPart, kByte };

/// Appends `bytes` with what is invalid replaced. Returns how many bytes were used: all of them,
/// unless `more` may follow and the last ones begin a code point.
size_t append_valid(std::string& out, std::string_view bytes, bool more,
                    Invalid invalid = Invalid::kPart);

std::string to_valid(std::string_view bytes);

}  // namespace headcount::models::utf8
