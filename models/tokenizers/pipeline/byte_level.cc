#include "models/tokenizers/pipeline/byte_level.h"

#include <array>

#include "models/tokenizers/utf8.h"

namespace headcount::models::byte_level {
namespace {

constexpr size_t kEnd = 0x100 + 68;  // 68 bytes are not written as themselves

struct Alphabet {
  std::array<std::string, 256> written;
  std::array<int, kEnd> byte{};

  Alphabet() {
    byte.fill(-1);
    char32_t other = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      const bool visible = (b >= 33 && b <= 126) || (b >= 161 && b != 173);
      const char32_t c = visible ? b : other++;
      utf8::append(written[b], c);
      byte[c] = static_cast<int>(b);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet only;
  return only;
}

}  // namespace

void append(std::string& out, std::string_view bytes) {
  const auto& written = alphabet().written;
  for (const char byte : bytes) out += written[static_cast<unsigned char>(byte)];
}

std::string from_bytes(std::string_view bytes) {
  std::string out;
  append(out, bytes);
  return out;
}

std::optional<std::string> to_bytes(std::string_view token) {
  const auto& byte = alphabet().byte;
  std::string out;
  for (size_t at = 0; at < token.size();) {
    const char32_t c = utf8::next(token, at);
    if (c >= kEnd || byte[c] < 0) return std::nullopt;
    out += static_cast<char>(byte[c]);
  }
  return out;
}

}  // namespace headcount::models::byte_level
