// What one shard's computation yields: named float64 arrays, and their SHA-256.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/sha256.h"

namespace headcount {

/// Row-major; a scalar has an empty shape.
struct NamedArray {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<double> data;
  bool operator==(const NamedArray&) const = default;
};

/// Arrays in name order.
struct Result {
  std::vector<NamedArray> arrays;
  bool operator==(const Result&) const = default;
};

/// The array of that name; throws Error naming it when absent.
const NamedArray& array(const Result& result, std::string_view name);

/// Format: "HCR1", u32 count, then per array: u16 name size, name, u8 rank, rank x i64, data as
/// f64; little endian.
std::string encode(const Result& result);
/// Throws Error on anything malformed; never takes more memory than the bytes given.
Result decode_result(std::string_view bytes);
/// SHA-256 of encode(result); what two workers must agree on.
Digest digest(const Result& result);

/// Name and shape of an array a shard must yield.
struct ArrayPlan {
  std::string name;
  std::vector<int64_t> shape;
};
/// Empty when `result` has exactly the planned arrays, all finite; else one sentence saying what
/// differs.
std::string mismatch(const Result& result, const std::vector<ArrayPlan>& planned);

}  // namespace headcount
