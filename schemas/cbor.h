// CBOR (RFC 8949), the deterministic subset we write: definite lengths, shortest heads, doubles
// always 8 bytes, no tags. Readers here are told by their caller what comes next, so nothing
// recurses, no tree is built and no memory is taken that the bytes at hand do not back: hostile
// nesting or a huge length is an Error at its first byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace headcount::cbor {

/// Appends items to `out`.
class Writer {
 public:
  void array(uint64_t n) { head(4, n); }  // followed by n items
  void map(uint64_t n) { head(5, n); }    // followed by n pairs
  void integer(int64_t value);
  void natural(uint64_t value) { head(0, value); }
  void number(double value);
  void boolean(bool value) { out.push_back(static_cast<char>(value ? 0xf5 : 0xf4)); }
  void text(std::string_view value);
  void bytes(std::string_view value);

  std::string out;

 private:
  void head(int major, uint64_t value);
};

enum class Type { kInteger, kNumber, kBoolean, kText, kBytes, kArray, kMap };

/// Reads what a Writer wrote. `what` names the bytes in errors ("a message from worker X"). Views
/// point into `bytes`. Every member throws Error when the next item is of another type, truncated,
/// not in its shortest form, or announces more elements than there are bytes left.
class Reader {
 public:
  Reader(std::string_view bytes, std::string_view what) : bytes_(bytes), what_(what) {}

  Type peek() const;
  uint64_t array();
  void array_of(uint64_t n);  // exactly n elements
  uint64_t map();
  int64_t integer();
  uint64_t natural();
  double number();
  double finite();  // refuses NaN and infinities
  bool boolean();
  std::string_view text();
  std::string_view bytes();
  /// Nothing may follow.
  void end() const;
  size_t left() const { return bytes_.size() - at_; }
  /// Throws Error: "`what` is malformed at byte N: `why`".
  [[noreturn]] void fail(std::string_view why) const;

 private:
  uint64_t head(int major, std::string_view expected);
  uint64_t argument(uint8_t first);
  uint64_t container(int major, std::string_view expected, uint64_t bytes_per_element);
  std::string_view take(uint64_t n);
  std::string_view bytes_;
  std::string_view what_;
  size_t at_ = 0;
};

}  // namespace headcount::cbor
