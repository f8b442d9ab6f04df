// SHA-256 (FIPS 180-4) and the content keys made of it.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace headcount {

/// 32 bytes; ordered and hashable, printed as 64 lower-case hex digits.
struct Digest {
  std::array<uint8_t, 32> bytes{};
  auto operator<=>(const Digest&) const = default;
};

/// Streaming SHA-256: update any number of times, then finish once.
class Sha256 {
 public:
  Sha256();
  void update(std::string_view bytes);
  Digest finish();

 private:
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> buffer_;
  uint64_t size_ = 0;
};

Digest sha256(std::string_view bytes);
std::string to_hex(const Digest& digest);
/// Throws Error unless `hex` is 64 hex digits.
Digest digest_from_hex(std::string_view hex);
/// The 32 raw bytes, as SQLite and the wire carry them; throws Error unless there are 32.
Digest digest_from_bytes(std::string_view bytes);
inline std::string_view as_bytes(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.bytes.data()), digest.bytes.size()};
}

}  // namespace headcount

template <>
struct std::hash<headcount::Digest> {
  size_t operator()(const headcount::Digest& digest) const noexcept {
    size_t head = 0;
    for (int i = 0; i < 8; ++i) head = head << 8 | digest.bytes[static_cast<size_t>(i)];
    return head;  // a digest is already uniform
  }
};
