#include "models/tokenizers/utf8.h"

namespace headcount::models::utf8 {
namespace {

enum class Form { kValid, kInvalid, kCut };

struct Part {
  Form form;
  size_t size;
};

/// The code point, maximal invalid part or unfinished code point `text` (not empty) begins with.
Part first_part(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {Form::kValid, 1};
  if (lead < 0xC2 || lead > 0xF4) return {Form::kInvalid, 1};
  const size_t n = size_of(text[0]);
  for (size_t i = 1; i < n; ++i) {
    if (i == text.size()) return {Form::kCut, i};
    const auto byte = static_cast<unsigned char>(text[i]);
    unsigned low = 0x80, high = 0xBF;
    if (i == 1) {  // no overlong forms, surrogates, or code points above U+10FFFF
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    }
    if (byte < low || byte > high) return {Form::kInvalid, i};
  }
  return {Form::kValid, n};
}

}  // namespace

char32_t next(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[i]));
  };
  const char32_t lead = byte(at);
  const size_t n = size_of(text[at]);
  char32_t value = n == 1 ? lead : lead & (0xFFu >> (n + 1));
  for (size_t i = 1; i < n; ++i) value = value << 6 | (byte(at + i) & 0x3F);
  at += n;
  return value;
}

char32_t previous(std::string_view text, size_t& at) {
  do --at;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  size_t behind = at;
  return next(text, behind);
}

void append(std::string& out, char32_t c) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

bool is_valid(std::string_view text) {
  while (!text.empty()) {
    const Part part = first_part(text);
    if (part.form != Form::kValid) return false;
    text.remove_prefix(part.size);
  }
  return true;
}

size_t length(std::string_view text) {
  size_t n = 0;
  for (const char byte : text) n += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  return n;
}

size_t append_valid(std::string& out, std::string_view bytes, bool more, Invalid invalid) {
  size_t at = 0;
  while (at < bytes.size()) {
    const Part part = first_part(bytes.substr(at));
    if (part.form == Form::kCut && more) break;
    const bool valid = part.form == Form::kValid;
    out += valid ? bytes.substr(at, part.size) : kReplacement;
    at += valid || invalid == Invalid::kPart ? part.size : 1;
  }
  return at;
}

std::string to_valid(std::string_view bytes) {
  std::string out;
  append_valid(out, bytes, false);
  return out;
}

}  // namespace headcount::models::utf8
