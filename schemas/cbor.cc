#include "schemas/cbor.h"

#include <bit>
#include <cmath>
#include <limits>

#include "schemas/error.h"

namespace headcount::cbor {
namespace {

void append_big_endian(std::string& out, uint64_t value, int n_bytes) {
  for (int shift = 8 * (n_bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xff));
  }
}

}  // namespace

void Writer::head(int major, uint64_t value) {
  const int top = major << 5;
  if (value < 24) {
    out.push_back(static_cast<char>(top | static_cast<int>(value)));
  } else if (value <= 0xff) {
    out.push_back(static_cast<char>(top | 24));
    append_big_endian(out, value, 1);
  } else if (value <= 0xffff) {
    out.push_back(static_cast<char>(top | 25));
    append_big_endian(out, value, 2);
  } else if (value <= 0xffffffff) {
    out.push_back(static_cast<char>(top | 26));
    append_big_endian(out, value, 4);
  } else {
    out.push_back(static_cast<char>(top | 27));
    append_big_endian(out, value, 8);
  }
}

void Writer::integer(int64_t value) {
  if (value >= 0) {
    head(0, static_cast<uint64_t>(value));
  } else {
    head(1, ~static_cast<uint64_t>(value));  // -1 - value
  }
}

void Writer::number(double value) {
  out.push_back(static_cast<char>(0xfb));
  append_big_endian(out, std::bit_cast<uint64_t>(value), 8);
}

void Writer::text(std::string_view value) {
  head(3, value.size());
  out.append(value);
}

void Writer::bytes(std::string_view value) {
  head(2, value.size());
  out.append(value);
}

void Reader::fail(std::string_view why) const {
  throw Error(std::string(what_) + " is malformed at byte " + std::to_string(at_) + ": " +
              std::string(why));
}

Type Reader::peek() const {
  if (at_ >= bytes_.size()) fail("it ends too early");
  const auto first = static_cast<uint8_t>(bytes_[at_]);
  switch (first >> 5) {
    case 0:
    case 1:
      return Type::kInteger;
    case 2:
      return Type::kBytes;
    case 3:
      return Type::kText;
    case 4:
      return Type::kArray;
    case 5:
      return Type::kMap;
    default:
      break;
  }
  if (first == 0xfb) return Type::kNumber;
  if (first == 0xf4 || first == 0xf5) return Type::kBoolean;
  fail("an item we never write");
}

std::string_view Reader::take(uint64_t n) {
  if (n > left()) fail("it ends too early");
  const auto taken = bytes_.substr(at_, n);
  at_ += n;
  return taken;
}

uint64_t Reader::argument(uint8_t first) {
  const int info = first & 0x1f;
  if (info < 24) return static_cast<uint64_t>(info);
  if (info > 27) fail("an indefinite length");
  const int n_bytes = 1 << (info - 24);
  uint64_t value = 0;
  for (char c : take(static_cast<uint64_t>(n_bytes))) value = value << 8 | static_cast<uint8_t>(c);
  const uint64_t smallest = info == 24 ? 24 : uint64_t{1} << (4 * n_bytes);
  if (value < smallest) fail("a number not in its shortest form");
  return value;
}

uint64_t Reader::head(int major, std::string_view expected) {
  if (at_ >= bytes_.size()) fail("it ends too early");
  const auto first = static_cast<uint8_t>(bytes_[at_]);
  if (first >> 5 != major) fail("expected " + std::string(expected));
  ++at_;
  return argument(first);
}

uint64_t Reader::container(int major, std::string_view expected, uint64_t bytes_per_element) {
  const uint64_t n = head(major, expected);
  if (n > left() / bytes_per_element) fail("more elements announced than there are bytes");
  return n;
}

uint64_t Reader::array() { return container(4, "a list", 1); }

void Reader::array_of(uint64_t n) {
  if (array() != n) fail("a list of another size than expected");
}

uint64_t Reader::map() { return container(5, "a map", 2); }

int64_t Reader::integer() {
  if (at_ >= bytes_.size()) fail("it ends too early");
  const auto first = static_cast<uint8_t>(bytes_[at_]);
  if (first >> 5 > 1) fail("expected an integer");
  ++at_;
  const uint64_t value = argument(first);
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    fail("an integer too large");
  return first >> 5 == 0 ? static_cast<int64_t>(value) : -1 - static_cast<int64_t>(value);
}

uint64_t Reader::natural() { return head(0, "a natural number"); }

double Reader::number() {
  if (peek() != Type::kNumber) fail("expected a number");
  ++at_;
  uint64_t bits = 0;
  for (char c : take(8)) bits = bits << 8 | static_cast<uint8_t>(c);
  return std::bit_cast<double>(bits);
}

double Reader::finite() {
  const double value = number();
  if (!std::isfinite(value)) fail("a number that is not finite");
  return value;
}

bool Reader::boolean() {
  if (peek() != Type::kBoolean) fail("expected true or false");
  return static_cast<uint8_t>(bytes_[at_++]) == 0xf5;
}

std::string_view Reader::text() { return take(head(3, "a text")); }

std::string_view Reader::bytes() { return take(head(2, "bytes")); }

void Reader::end() const {
  if (left() != 0) fail("bytes follow its end");
}

}  // namespace headcount::cbor
