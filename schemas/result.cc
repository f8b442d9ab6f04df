#include "schemas/result.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "schemas/error.h"

namespace headcount {
namespace {

static_assert(std::endian::native == std::endian::little,
              "results are written as this machine stores numbers");
constexpr std::string_view kMark = "HCR1";

template <class T>
void append(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Takes from the front of `bytes`; throws when there is too little left.
std::string_view take(std::string_view& bytes, size_t n) {
  if (n > bytes.size()) throw Error("malformed result: it ends too early");
  const auto taken = bytes.substr(0, n);
  bytes.remove_prefix(n);
  return taken;
}

template <class T>
T take(std::string_view& bytes) {
  T value;
  std::memcpy(&value, take(bytes, sizeof value).data(), sizeof value);
  return value;
}

NamedArray take_array(std::string_view& bytes) {
  NamedArray array;
  array.name = take(bytes, take<uint16_t>(bytes));
  uint64_t n = 1;
  for (int rank = take<uint8_t>(bytes); rank > 0; --rank) {
    const auto size = take<int64_t>(bytes);
    if (size < 0) throw Error("malformed result: a negative size");
    array.shape.push_back(size);
    // The numbers must be in `bytes`: this bounds the product before it can overflow.
    if (size > 0 && n > bytes.size() / static_cast<uint64_t>(size)) {
      throw Error("malformed result: an array larger than the bytes that are left");
    }
    n *= static_cast<uint64_t>(size);
  }
  if (n > bytes.size() / sizeof(double)) throw Error("malformed result: it ends too early");
  const auto data = take(bytes, static_cast<size_t>(n) * sizeof(double));
  array.data.resize(static_cast<size_t>(n));
  if (n > 0) std::memcpy(array.data.data(), data.data(), data.size());
  return array;
}

std::string to_string(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace

const NamedArray& array(const Result& result, std::string_view name) {
  for (const auto& candidate : result.arrays) {
    if (candidate.name == name) return candidate;
  }
  throw Error("the result has no array named " + std::string(name));
}

std::string encode(const Result& result) {
  std::string out(kMark);
  append(out, static_cast<uint32_t>(result.arrays.size()));
  for (const auto& array : result.arrays) {
    append(out, static_cast<uint16_t>(array.name.size()));
    out += array.name;
    append(out, static_cast<uint8_t>(array.shape.size()));
    for (const int64_t size : array.shape) append(out, size);
    out.append(reinterpret_cast<const char*>(array.data.data()),
               array.data.size() * sizeof(double));
  }
  return out;
}

Result decode_result(std::string_view bytes) {
  if (!bytes.starts_with(kMark)) throw Error("malformed result: it does not begin with HCR1");
  bytes.remove_prefix(kMark.size());
  Result result;
  for (auto n = take<uint32_t>(bytes); n > 0; --n) result.arrays.push_back(take_array(bytes));
  if (!bytes.empty()) throw Error("malformed result: bytes after its end");
  return result;
}

Digest digest(const Result& result) { return sha256(encode(result)); }

std::string mismatch(const Result& result, const std::vector<ArrayPlan>& planned) {
  if (result.arrays.size() != planned.size()) {
    return "expected " + std::to_string(planned.size()) + " arrays, found " +
           std::to_string(result.arrays.size());
  }
  for (const auto& plan : planned) {
    const NamedArray* found = nullptr;
    for (const auto& array : result.arrays) {
      if (array.name == plan.name) found = &array;
    }
    if (!found) return "the array " + plan.name + " is missing";
    if (found->shape != plan.shape) {
      return "the array " + plan.name + " has shape " + to_string(found->shape) + ", expected " +
             to_string(plan.shape);
    }
    for (const double value : found->data) {
      if (!std::isfinite(value))
        return "the array " + plan.name + " holds a number that is not finite";
    }
  }
  return "";
}

}  // namespace headcount
