// Rows do not say where in the file they come from, so the ends themselves are compared, by a
// polynomial hash that grows at either end: every end of a row costs one multiplication.
#include "experiments/kinds/windows.h"

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace headcount::experiments {
namespace {

using Ends = std::vector<uint64_t>;

constexpr uint64_t kBase = 0x9E3779B97F4A7C15;  // odd

uint64_t digit(int32_t id) { return static_cast<uint64_t>(id) + 1; }

/// Hashes of all that a row begins with, from its first token or its second, short of the whole.
Ends beginnings(const Row& row) {
  Ends ends;
  for (const size_t first : {0u, 1u}) {
    uint64_t hash = 0;
    for (size_t i = first; i + 1 < row.ids.size(); ++i) {
      hash = hash * kBase + digit(row.ids[i]);
      if (static_cast<int64_t>(i + 1 - first) >= kLeastOverlap) ends.push_back(hash);
    }
  }
  return ends;
}

/// Of all that a row ends with, short of the whole.
Ends endings(const Row& row) {
  Ends ends;
  uint64_t hash = 0, power = 1;
  for (size_t length = 1; length < row.ids.size(); ++length) {
    hash += digit(row.ids[row.ids.size() - length]) * power;
    power *= kBase;
    if (static_cast<int64_t>(length) >= kLeastOverlap) ends.push_back(hash);
  }
  return ends;
}

}  // namespace

int64_t n_overlapping(const datasets::Dataset& windows, const datasets::Dataset& others) {
  std::unordered_set<uint64_t> begin, end;
  for (const Row& row : others.rows) {
    for (const uint64_t hash : beginnings(row)) begin.insert(hash);
    for (const uint64_t hash : endings(row)) end.insert(hash);
  }
  const auto any_in = [](const Ends& ends, const std::unordered_set<uint64_t>& of_others) {
    return std::any_of(ends.begin(), ends.end(),
                       [&](uint64_t hash) { return of_others.count(hash) > 0; });
  };
  return std::count_if(windows.rows.begin(), windows.rows.end(), [&](const Row& row) {
    return any_in(beginnings(row), end) || any_in(endings(row), begin);
  });
}

}  // namespace headcount::experiments
