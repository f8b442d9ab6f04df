// GPT-2's alphabet: every byte written as one visible code point (33..126, 161..172 and 174..255 as
// themselves, the others from U+0100 on), so that a vocabulary of byte strings is text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace headcount::models::byte_level {

void append(std::string& out, std::string_view bytes);
std::string from_bytes(std::string_view bytes);

/// The bytes a token written in this alphabet stands for; none where a code point is not of it.
std::optional<std::string> to_bytes(std::string_view token);

}  // namespace headcount::models::byte_level
