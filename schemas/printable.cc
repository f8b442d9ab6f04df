#include "schemas/printable.h"

#include <algorithm>
#include <cstdint>

namespace headcount {
namespace {

uint8_t byte_at(std::string_view text, size_t i) {
  return i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
}

// Bytes of the character `text` begins with; 0: it is a control character or not UTF-8.
size_t printable_size(std::string_view text) {
  const uint8_t first = byte_at(text, 0), second = byte_at(text, 1);
  if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
  const size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return 0;
  for (size_t i = 1; i < size; ++i) {
    if ((byte_at(text, i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool outside = (first == 0xed && second > 0x9f) || (first == 0xf4 && second > 0x8f);
  const bool control = first == 0xc2 && second < 0xa0;
  return overlong || outside || control ? 0 : size;
}

std::string escaped(char c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  if (c == '\n') return "\\n";
  if (c == '\t') return "\\t";
  const auto byte = static_cast<uint8_t>(c);
  return {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
}

std::string written_out(std::string_view text, size_t max_bytes, std::string_view kept) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    const size_t size = kept.find(text[i]) != std::string_view::npos ? 1 : printable_size(rest);
    const std::string next = size == 0 ? escaped(text[i]) : std::string(rest.substr(0, size));
    if (out.size() + next.size() > max_bytes) {
      return out + " ... (" + std::to_string(text.size() - i) + " bytes more)";
    }
    out += next;
    i += std::max<size_t>(size, 1);
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text, size_t max_bytes) {
  return written_out(text, max_bytes, "");
}

std::string printable_lines(std::string_view text, size_t max_bytes) {
  return written_out(text, max_bytes, "\n\t");
}

}  // namespace headcount
