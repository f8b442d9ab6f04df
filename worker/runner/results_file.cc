// Reading never takes more memory than the file has bytes.
#include "worker/runner/results_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "schemas/new_file.h"

namespace headcount::runner {
namespace {

constexpr std::string_view kMagic = "HCRF";
constexpr uint32_t kFormat = 1;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// Takes bytes off the front of a file's content.
class Cursor {
 public:
  Cursor(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {}
  std::string_view take(uint64_t size) {
    if (size > bytes_.size()) throw Error(path_ + " is cut short: it is no whole results file");
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  const std::string& path_;
};

/// Sums over all shards of one array.
struct Sums {
  double max_absolute = 0, max_relative = 0, difference = 0, norm = 0;
  std::vector<double> mean_first, mean_second;  // of the elements behind the first axis
};

void add(const NamedArray& a, const NamedArray& b, Sums& sums) {
  const size_t rows = a.shape.empty() ? 1 : static_cast<size_t>(a.shape[0]);
  const size_t width = rows == 0 ? 0 : a.data.size() / rows;
  // Blocks of other widths (choices of other rows) have no common mean; the first width counts.
  const bool meant = sums.mean_first.empty() || sums.mean_first.size() == width;
  if (sums.mean_first.empty()) {
    sums.mean_first.resize(width);
    sums.mean_second.resize(width);
  }
  for (size_t i = 0; i < a.data.size(); ++i) {
    const double x = a.data[i], y = b.data[i], apart = std::abs(x - y);
    sums.max_absolute = std::max(sums.max_absolute, apart);
    if (apart > 0)
      sums.max_relative = std::max(sums.max_relative, apart / std::max(std::abs(x), std::abs(y)));
    sums.difference += apart * apart;
    sums.norm += y * y;
    if (!meant) continue;
    sums.mean_first[i % width] += x;
    sums.mean_second[i % width] += y;
  }
}

double relative(double difference, double norm) {
  if (difference == 0) return 0;
  return norm > 0 ? std::sqrt(difference / norm) : 1;
}

ArrayDifference finish(const std::string& name, const Sums& sums) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < sums.mean_first.size(); ++i) {
    const double apart = sums.mean_first[i] - sums.mean_second[i];
    difference += apart * apart;
    norm += sums.mean_second[i] * sums.mean_second[i];
  }
  return {.name = name,
          .max_absolute = sums.max_absolute,
          .max_relative = sums.max_relative,
          .relative_l2 = relative(sums.difference, sums.norm),
          .mean_relative_l2 = relative(difference, norm)};
}

}  // namespace

void write_results(const std::string& path, const ResultsFile& file) {
  std::string bytes(kMagic);
  put(bytes, kFormat);
  put(bytes, static_cast<uint32_t>(file.tag.size()));
  bytes += file.tag;
  put(bytes, static_cast<uint64_t>(file.results.size()));
  for (const auto& [shard, result] : file.results) {
    const std::string encoded = encode(result);
    bytes += as_bytes(shard);
    put(bytes, static_cast<uint64_t>(encoded.size()));
    bytes += encoded;
  }
  write_file(path, bytes);
}

ResultsFile read_results(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error("cannot read " + path + ": " + std::strerror(errno));
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!bytes.starts_with(kMagic)) throw Error(path + " is no results file of headcount-runner run");
  Cursor cursor(bytes, path);
  cursor.take(kMagic.size());
  if (const auto format = cursor.number<uint32_t>(); format != kFormat)
    throw Error(path + " is a results file of format " + std::to_string(format) +
                ", this program reads format " + std::to_string(kFormat));
  ResultsFile file;
  file.tag = cursor.take(cursor.number<uint32_t>());
  const auto count = cursor.number<uint64_t>();
  for (uint64_t i = 0; i < count; ++i) {
    const ShardKey shard = digest_from_bytes(cursor.take(32));
    file.results.emplace_back(shard, decode_result(cursor.take(cursor.number<uint64_t>())));
  }
  if (!cursor.empty()) throw Error(path + " goes on after its last result");
  return file;
}

Comparison compare(const ResultsFile& first, const ResultsFile& second) {
  std::map<ShardKey, const Result*> others;
  for (const auto& [shard, result] : second.results) others[shard] = &result;
  Comparison comparison;
  std::map<std::string, Sums> sums;
  for (const auto& [shard, result] : first.results) {
    const auto other = others.find(shard);
    if (other == others.end()) {
      ++comparison.only_first;
      continue;
    }
    ++comparison.shards;
    std::vector<ArrayPlan> planned;
    for (const NamedArray& a : result.arrays) planned.push_back({a.name, a.shape});
    if (const std::string sentence = mismatch(*other->second, planned); !sentence.empty())
      throw Error("the results of shard " + to_hex(shard).substr(0, 12) +
                  " differ in shape: " + sentence);
    comparison.equal_bytes = comparison.equal_bytes && encode(result) == encode(*other->second);
    for (const NamedArray& a : result.arrays) add(a, array(*other->second, a.name), sums[a.name]);
  }
  comparison.only_second = static_cast<int64_t>(second.results.size()) - comparison.shards;
  for (const auto& [name, sum] : sums) comparison.arrays.push_back(finish(name, sum));
  return comparison;
}

std::string to_json(const Comparison& comparison) {
  nlohmann::ordered_json arrays = nlohmann::ordered_json::object();
  for (const ArrayDifference& a : comparison.arrays)
    arrays[a.name] = {{"max_absolute", a.max_absolute},
                      {"max_relative", a.max_relative},
                      {"relative_l2", a.relative_l2},
                      {"mean_relative_l2", a.mean_relative_l2}};
  return nlohmann::ordered_json{{"shards", comparison.shards},
                                {"only_first", comparison.only_first},
                                {"only_second", comparison.only_second},
                                {"equal_bytes", comparison.equal_bytes},
                                {"arrays", arrays}}
      .dump();
}

}  // namespace headcount::runner
